"""Mimics have names and places in the truth, change the bone there, and leave fractures as they are."""

from dataclasses import replace

import numpy as np
import pytest

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.fractures.fractured_bone import sample_fractured_bone
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.solids import Ellipsoid
from cspine.phantom.mimics.change import MimicChange, add_mimics
from cspine.phantom.mimics.sampling import DRAW, draw_mimics
from cspine.phantom.mimics.settings import MORE_MIMICS, NO_MIMICS, MimicSettings
from cspine.phantom.scanner.render import RenderedNeck, composite_vertebra
from cspine.phantom.settings import PhantomSettings

ALL = MimicSettings(**dict.fromkeys(MimicSettings.model_fields, 1.0))


@pytest.fixture(scope="module")
def neck() -> Neck:
    return draw_neck(np.random.default_rng(4))


def only(name: str) -> MimicSettings:
    return NO_MIMICS.model_copy(update={name: 1.0})


def bone_about(neck: Neck, level: str, point_mm: np.ndarray) -> np.ndarray:
    """Return the HU of a vertebra over a constant background, in a cube of 16 mm about a point in its frame."""
    grid = Grid.aligned(neck.frames[level].to_lps(point_mm) - 8.0, 0.8, (20, 20, 20))
    empty = [np.zeros(grid.shape, np.uint8) for _ in range(2)]
    rendered = RenderedNeck(np.full(grid.shape, 50.0, np.float32), *empty)
    composite_vertebra(rendered, neck, level, grid, 0.0)
    return rendered.hu


def test_every_mimic_has_settings_in_both_domains() -> None:
    assert set(DRAW) == set(MimicSettings.model_fields)
    more = MORE_MIMICS.model_dump()
    assert all(more[name] > value for name, value in MimicSettings().model_dump().items())


@pytest.mark.parametrize("name", sorted(DRAW))
def test_a_mimic_has_a_name_and_lies_at_a_cervical_vertebra(name: str, neck: Neck) -> None:
    changes = draw_mimics(neck, only(name), np.random.default_rng(1))

    assert changes
    for change in changes:
        assert change.level in VERTEBRAE
        assert change.points_mm or change.bone
        assert all(np.linalg.norm(point) < 70.0 for point in change.points_mm)
    mimics = add_mimics(neck, changes).mimics
    assert [(mimic.name, mimic.level) for mimic in mimics] == [(change.name, change.level) for change in changes]


@pytest.mark.parametrize(
    "name", ["subdental_synchondrosis", "basivertebral_foramen", "dark_spots", "facet_arthrosis", "thin_laminae",
             "narrow_atlantoaxial_joint", "atlas_groove", "coarse_trabeculae"]
)  # fmt: skip
def test_a_mimic_changes_bone_at_its_place(name: str, neck: Neck) -> None:
    changes = draw_mimics(neck, only(name), np.random.default_rng(2))
    changed, at = add_mimics(neck, changes), changes[0]
    point = np.asarray(at.points_mm[0]) if at.points_mm else np.zeros(3)

    difference = np.abs(bone_about(changed, at.level, point) - bone_about(neck, at.level, point))

    assert difference.max() > 100.0


def test_mimics_are_reproducible_and_independent_of_each_other(neck: Neck) -> None:
    few = draw_mimics(neck, only("bone_island"), np.random.default_rng(3))
    every = draw_mimics(neck, ALL, np.random.default_rng(3))

    islands = [each for each in every if each.name == "bone island"]
    assert np.array_equal(
        np.array([each.points_mm[0] for each in islands]), np.array([each.points_mm[0] for each in few])
    )


def test_children_have_no_mimics(neck: Neck) -> None:
    assert draw_mimics(replace(neck, size_factor=0.7), ALL, np.random.default_rng(0)) == ()


@pytest.mark.parametrize("level", ["C1", "C2", "C5"])
def test_mimics_leave_fractures_as_they_are(level: Level, neck: Neck) -> None:
    """Whatever takes bone away keeps its distance: all that is marked as fractured stays marked."""
    settings, n_marked, n_left = PhantomSettings(), 0, 0
    for seed in range(4):
        fractures = draw_fractures(level, neck.person, settings, np.random.default_rng(seed))
        fractured = replace(neck, fractures={level: fractures})
        changes = draw_mimics(fractured, ALL, np.random.default_rng(seed))
        carving = [each for each in changes if each.takes_bone and each.level == level]
        mimicked = add_mimics(fractured, carving)
        grid = Grid.aligned((-34.0, -20.0, -24.0), 1.0, (56, 70, 68))

        before, after = (
            sample_fractured_bone(each.vertebra_parts(level), grid, fractures, each.variants.defects(level))
            for each in (fractured, mimicked)
        )

        marked = before.surface_index > 0
        n_marked, n_left = n_marked + marked.sum(), n_left + (after.surface_index[marked] > 0).sum()
    assert n_marked > 50
    assert n_left >= 0.98 * n_marked


def test_a_canal_within_a_fracture_is_not_clear_of_it(neck: Neck) -> None:
    (surface, *_) = draw_fractures("C2", neck.person, PhantomSettings(), np.random.default_rng(0))
    canal = Part(Ellipsoid(surface.center_mm, (1.0, 1.0, 1.0)), is_cutout=True)
    near = MimicChange(name="near", level="C2", points_mm=(surface.center_mm,), canals=(canal,))
    far = replace(near, points_mm=(surface.center_mm + 60.0,))

    assert not near.is_clear_of([surface])
    assert far.is_clear_of([surface])
