"""Remodelled bodies are low, deep, wedged and dense, and leave all else as it is."""

from dataclasses import replace

import numpy as np
import pytest

from cspine.phantom import PhantomSettings
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.disorders.disorders import Disorders
from cspine.phantom.disorders.remodelling import RemodelledBodies, draw_remodelled_bodies
from cspine.phantom.disorders.settings import NO_DISORDERS, DisorderSettings
from cspine.phantom.geometry.parts import distance_at
from cspine.phantom.geometry.points import PointCloud
from cspine.phantom.sampler import draw_fractured_neck

SETTINGS = PhantomSettings(prevalence=0.0, disorders=NO_DISORDERS)


def neck_with(disorder: RemodelledBodies | None) -> Neck:
    disorders = Disorders(() if disorder is None else (disorder,))
    return draw_neck(np.random.default_rng(6), changes=disorders)


@pytest.mark.parametrize("seed", range(4))
def test_bodies_are_low_and_deep_at_their_levels_alone(seed: int) -> None:
    drawn = draw_remodelled_bodies(np.random.default_rng(seed))
    changed, plain = neck_with(drawn).person.measures, neck_with(None).person.measures

    assert 1 <= len(drawn.shapes) <= 3
    for level in SUBAXIAL:
        height, depth = (changed[level][name] / plain[level][name] for name in ("body height", "body depth above"))
        if level in drawn.shapes:
            assert 0.72 <= height <= 0.98
            assert 1.0 <= depth <= 1.16
        else:
            assert (height, depth) == (1.0, 1.0)


def test_a_wedge_takes_the_anterior_corner_and_leaves_the_posterior_wall() -> None:
    drawn = draw_remodelled_bodies(np.random.default_rng(0))
    level = min(drawn.shapes)
    plain_shape = replace(drawn.shapes[level], wedge=(0.0, 0.0))
    plain, wedged = (
        neck_with(replace(drawn, shapes={level: replace(plain_shape, wedge=wedge)})) for wedge in ((0, 0), (1, 0))
    )
    top, back = plain.person.measures[level]["body height"] / 2 - 1.0, landmarks_of(plain.person, level).body_back_y

    def depth_mm(neck: Neck, y: float) -> float:
        point = PointCloud(*(np.full((1, 1, 1), value, np.float32) for value in (0.0, y, top)))
        return float(-distance_at(neck.vertebra_parts(level), point)[0, 0, 0])

    assert depth_mm(wedged, -back + 1.5) < depth_mm(plain, -back + 1.5) - 0.5
    assert depth_mm(wedged, back - 1.5) == pytest.approx(depth_mm(plain, back - 1.5), abs=0.05)


def test_endplates_and_marrow_are_denser() -> None:
    drawn = draw_remodelled_bodies(np.random.default_rng(0))
    level = min(drawn.shapes)
    shape = replace(drawn.shapes[level], endplates_hu=800.0, endplates_mm=2.0, marrow_hu=500.0)

    lesions = neck_with(replace(drawn, shapes={level: shape})).lesions[level]

    assert [lesion.hu for lesion in lesions] == [800.0, 800.0, 500.0]
    assert all(lesion.only_raises for lesion in lesions)


def test_they_are_drawn_by_their_fraction_and_change_no_other_draw() -> None:
    plain, _ = draw_fractured_neck(5, 0, SETTINGS)
    changed, _ = draw_fractured_neck(5, 0, SETTINGS.model_copy(update={"remodelled_fraction": 1.0}))
    added = set(changed.variants.names) - set(plain.variants.names)

    assert added
    assert all(name.startswith("remodelled body ") for name in added)
    assert changed.person.bone == plain.person.bone
    assert [mimic.name for mimic in changed.mimics] == [mimic.name for mimic in plain.mimics]


def test_children_have_none() -> None:
    children = DisorderSettings(**dict.fromkeys(DisorderSettings.model_fields, 0.0) | {"child": 1.0})
    settings = SETTINGS.model_copy(update={"remodelled_fraction": 1.0, "disorders": children})

    neck, _ = draw_fractured_neck(5, 0, settings)

    assert not [name for name in neck.variants.names if name.startswith("remodelled")]
