"""Remodelled bodies are low, deep, wedged and dense, and leave fractures and all else as they are."""

from dataclasses import replace

import numpy as np
import pytest

from cspine.phantom import PhantomSettings
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.disorders.disorders import DRAW, Disorders
from cspine.phantom.disorders.remodelling import BodyShape, RemodelledBodies, draw_remodelled_bodies
from cspine.phantom.disorders.settings import NO_DISORDERS, DisorderSettings
from cspine.phantom.geometry.parts import distance_at
from cspine.phantom.geometry.points import PointCloud
from cspine.phantom.sampler import draw_fractured_neck

SETTINGS = PhantomSettings(prevalence=0.0, disorders=NO_DISORDERS)
ALWAYS = SETTINGS.model_copy(update={"remodelled_fraction": 1.0})
PLAIN = BodyShape(
    height_factor=1.0, depth_factor=1.0, wedge=(0.0, 0.0), endplates_hu=0.0, endplates_mm=2.0, marrow_hu=0.0
)


def neck_with(shape: BodyShape | None = None) -> Neck:
    """Return a neck whose C5 has a shape."""
    disorders = Disorders(() if shape is None else (RemodelledBodies.of({"C5": shape}),))
    return draw_neck(np.random.default_rng(6), changes=disorders)


def depth_mm(neck: Neck, x: float, y: float, z: float) -> float:
    """Return how far below the surface of C5 a point lies."""
    point = PointCloud(*(np.full((1, 1, 1), value, np.float32) for value in (x, y, z)))
    return float(-distance_at(neck.vertebra_parts("C5"), point)[0, 0, 0])


@pytest.mark.parametrize("seed", range(4))
def test_bodies_are_low_and_deep_at_their_levels_alone(seed: int) -> None:
    drawn = draw_remodelled_bodies(np.random.default_rng(seed))
    plain = neck_with().person

    changed = drawn.person(plain)

    assert 1 <= len(drawn.shapes) <= 3
    for level in SUBAXIAL:
        shape = drawn.shapes.get(level, PLAIN)
        factors = {name: changed.measures[level][name] / plain.measures[level][name] for name in plain.measures[level]}
        assert factors["body height"] == pytest.approx(shape.height_factor)
        assert factors["body depth above"] == pytest.approx(shape.depth_factor)
        assert factors["body depth below"] == pytest.approx(shape.depth_factor)
        assert factors["canal depth"] == 1.0
    assert all(0.72 <= shape.height_factor <= 0.98 <= shape.depth_factor <= 1.16 for shape in drawn.shapes.values())


@pytest.mark.parametrize(("wedge", "up"), [((1.0, 0.0), 1.0), ((0.0, 1.0), -1.0)])
def test_a_wedge_takes_one_anterior_corner_and_leaves_the_posterior_wall(wedge: tuple[float, float], up: float) -> None:
    plain, wedged = neck_with(PLAIN), neck_with(replace(PLAIN, wedge=wedge))
    height, back = plain.person.measures["C5"]["body height"], landmarks_of(plain.person, "C5").body_back_y

    def lost_mm(y: float, side: float) -> float:
        point = 0.0, y, side * (height / 2 - 1.0)
        return depth_mm(plain, *point) - depth_mm(wedged, *point)

    assert lost_mm(-back + 1.5, up) > 0.5
    assert lost_mm(-back + 1.5, -up) < 0.3
    assert abs(lost_mm(back - 1.5, up)) < 0.05


def test_dense_bone_lies_within_both_endplates_and_in_the_middle() -> None:
    neck = neck_with(replace(PLAIN, endplates_hu=800.0, endplates_mm=2.0, marrow_hu=500.0))

    upper, lower, marrow = neck.lesions["C5"]

    assert (upper.hu, lower.hu, marrow.hu) == (800.0, 800.0, 500.0)
    assert all(lesion.only_raises for lesion in (upper, lower, marrow))
    for lesion, inward in ((upper, -1.0), (lower, 1.0)):
        middle = lesion.center_mm[2]
        assert abs(depth_mm(neck, 0.0, 0.0, middle)) < 0.8  # at the endplate, hollow or not
        assert depth_mm(neck, 0.0, 0.0, middle + inward * 1.5) > 0.7
    assert not neck_with(PLAIN).lesions.get("C5")


def test_they_are_drawn_by_their_fraction_and_change_no_other_draw() -> None:
    for index in range(3):
        plain, scanner = draw_fractured_neck(5, index, SETTINGS)
        changed, same_scanner = draw_fractured_neck(5, index, ALWAYS)
        added = set(changed.variants.names) - set(plain.variants.names)

        assert added
        assert all(name.startswith("remodelled body ") for name in added)
        assert plain.mimics
        assert [mimic.name for mimic in changed.mimics] == [mimic.name for mimic in plain.mimics]
        assert (changed.person.bone, changed.person.traits) == (plain.person.bone, plain.person.traits)
        assert (same_scanner.mtf50_per_mm, same_scanner.noise_hu) == (scanner.mtf50_per_mm, scanner.noise_hu)


def test_fractured_vertebrae_are_none_and_keep_their_fractures() -> None:
    fractured = {"prevalence": 1.0, "p_additional_fracture": 0.5}
    n_remodelled = 0
    for index in range(8):
        plain, _ = draw_fractured_neck(5, index, SETTINGS.model_copy(update=fractured))
        changed, _ = draw_fractured_neck(5, index, ALWAYS.model_copy(update=fractured))
        remodelled = {name.split()[-1] for name in changed.variants.names if name.startswith("remodelled")}
        n_remodelled += len(remodelled)

        assert not remodelled & set(changed.fractures)
        assert set(changed.fractures) == set(plain.fractures)
        for level, surfaces in plain.fractures.items():
            for one, other in zip(surfaces, changed.fractures[level], strict=True):
                np.testing.assert_array_equal(one.center_mm, other.center_mm)
    assert n_remodelled


def test_bodies_that_are_fused_or_replaced_are_none() -> None:
    for name in ("corpectomy", "congenital_block"):
        disorder = DRAW[name](np.random.default_rng(1))
        bodies = RemodelledBodies.of(dict.fromkeys(SUBAXIAL, PLAIN))

        combined = Disorders((disorder,)).with_remodelled(bodies, spared=("C7",))

        levels = {each.split()[-1] for each in combined.names if each.startswith("remodelled")}
        named = {level for each in disorder.names for level in SUBAXIAL if level in each}
        assert named
        assert levels == set(SUBAXIAL) - named - {"C7"}


def test_children_have_none() -> None:
    children = DisorderSettings(**dict.fromkeys(DisorderSettings.model_fields, 0.0) | {"child": 1.0})

    neck, _ = draw_fractured_neck(5, 0, ALWAYS.model_copy(update={"disorders": children}))

    assert not [name for name in neck.variants.names if name.startswith("remodelled")]
