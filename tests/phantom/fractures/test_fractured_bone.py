"""Every type of fracture is a gap or a loss of height, where the truth says so and nowhere else."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from tests.support.fractures import (
    STEP_MM,
    WIDE,
    grid_around,
    intact_neck,
    line_across,
    plain_fracture,
    sample_vertebra,
)

from cspine.core.anatomy import SEGMENT_NUMBERS, Level
from cspine.core.typing import Floats
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.fractured_bone import Defects, sample_fractured_bone
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.fractures.sites import sites
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.points import PointCloud, vector
from cspine.phantom.scanner.render import RenderedNeck, render

TYPES = [
    (level, site.fracture_type) for level in ("C1", "C2", "C5", "C7") for site in sites(level, intact_neck().person)
]
LOOSE_TYPES = [
    (level, site.fracture_type)
    for level in ("C2", "C5", "C7")
    for site in sites(level, intact_neck().person)
    if site.is_loose
]


@cache
def render_intact(level: Level) -> RenderedNeck:
    """Return the intact vertebra on the grid about it."""
    return render(intact_neck(), grid_around(level))


def bone_points_mm(level: Level, fractures: tuple[Fracture, ...]) -> Floats:
    """Return points within a vertebra, in its frame, (n, 3)."""
    bone, grid = sample_vertebra(level, fractures)
    return np.argwhere(bone.field < 0) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def fragment_sizes_mm3(level: Level, fractures: tuple[Fracture, ...]) -> list[float]:
    """Return the volumes of the components of a vertebra over 30 cubic mm, the largest first."""
    components, _ = ndimage.label(sample_vertebra(level, fractures)[0].field < 0)
    sizes = np.bincount(components.ravel())[1:] * STEP_MM**3
    return sorted((size for size in sizes.tolist() if size > 30.0), reverse=True)


@pytest.mark.parametrize(("level", "fracture_type"), TYPES)
def test_fracture_changes_only_voxels_within_its_box(level: Level, fracture_type: str) -> None:
    neck, grid, surfaces = intact_neck(), grid_around(level), plain_fracture(level, fracture_type)

    intact = render_intact(level)
    fractured = render(replace(neck.with_fractures({level: surfaces}), swelling=()), grid)

    gap = fractured.fracture_mask > 0
    assert set(np.unique(fractured.fracture_mask)) == {0, SEGMENT_NUMBERS[level]}
    assert not intact.fracture_mask.any()
    assert gap.sum() * STEP_MM**3 > 10.0  # mm3
    changed = np.abs(fractured.hu - intact.hu) > 1.0
    within = np.zeros(grid.shape, bool)
    for surface in surfaces:
        window = grid.in_frame(neck.frames[level].affine).window(surface.bounding_box(), 1.0)
        assert window is not None
        within[window] = True
    assert not (changed & ~within).any()
    _check_hu_in_gap(intact, fractured, surfaces)
    np.testing.assert_array_equal(intact.labels == 0, (intact.labels == 0) & ~(intact.labels > 9))
    others = (intact.labels != SEGMENT_NUMBERS[level]) & (fractured.labels != SEGMENT_NUMBERS[level])
    np.testing.assert_array_equal(intact.labels[others], fractured.labels[others])


def _check_hu_in_gap(intact: RenderedNeck, fractured: RenderedNeck, surfaces: tuple[Fracture, ...]) -> None:
    """Check that gaps are darker than intact bone, and impacted bone is denser."""
    gap = fractured.fracture_mask > 0
    is_impacted = [bool(surface.height_loss_mm) for surface in surfaces]
    if all(is_impacted):
        assert fractured.hu[gap].mean() > intact.hu[gap].mean() + 50
    elif any(is_impacted):  # a burst body has both
        lost, dense = np.percentile((fractured.hu - intact.hu)[gap], [5, 95])
        assert lost < -200
        assert dense > 50
    else:
        assert fractured.hu[gap].mean() < intact.hu[gap].mean() - 150


@pytest.mark.parametrize(("level", "fracture_type"), LOOSE_TYPES)
def test_loose_fragment_is_a_separate_component(level: Level, fracture_type: str) -> None:
    (surface,) = plain_fracture(level, fracture_type)
    # Distracted: rough surfaces that slide along each other may touch.
    distracted = replace(surface, translation_mm=2.0 * surface.normal, rotation_rad=np.zeros(3))

    intact, fractured = fragment_sizes_mm3(level, ()), fragment_sizes_mm3(level, (distracted,))

    assert len(intact) == 1
    assert len(fractured) == 2
    assert fractured[1] > 80.0


def test_jefferson_fracture_opens_both_arches_and_spreads_the_lateral_masses() -> None:
    surfaces = plain_fracture("C1", "Jefferson burst")

    intact, fractured = (bone_points_mm("C1", each) for each in ((), surfaces))

    assert len(fragment_sizes_mm3("C1", surfaces)) == 4
    spread_mm = {float(np.sign(each.center_mm[0])): abs(float(each.translation_mm[0])) for each in surfaces}
    assert set(spread_mm) == {-1.0, 1.0}
    for side, distance in spread_mm.items():
        reach = [(side * points[:, 0]).max() for points in (intact, fractured)]
        assert reach[1] - reach[0] == pytest.approx(distance, abs=STEP_MM)


def test_distracted_fragment_opens_a_gap_as_wide_as_its_displacement() -> None:
    (surface,) = plain_fracture("C2", "dens type II")
    moved = replace(
        surface,
        width_mm=0.8,
        translation_mm=3.0 * surface.normal,
        rotation_rad=np.zeros(3),
        roughness=surface.roughness * 0,
    )

    line = line_across(moved, before_mm=2.0, count=301)
    bone = sample_fractured_bone(intact_neck().vertebra_parts("C2"), line, (moved,))

    assert moved.gap_mm == pytest.approx(3.4)
    assert (bone.field[:, 0, 0] > 0).sum() * 0.02 == pytest.approx(moved.gap_mm, abs=0.1)
    assert bone.surface_index[:, 0, 0].sum() * 0.02 == pytest.approx(moved.gap_mm, abs=0.1)


def test_impaction_of_a_facet_ends_smoothly_at_its_box() -> None:
    rng = np.random.default_rng(3)
    surface = next(
        surface
        for _ in range(200)
        if (surface := draw_fractures("C5", intact_neck().person, WIDE, rng, fracture_type="facet")[0]).height_loss_mm
    )
    y = surface.half_extent_mm[1] * np.linspace(-0.999, 0.999, 400)
    points = PointCloud(
        np.full(400, surface.center_mm[0], np.float32),
        (surface.center_mm[1] + y).astype(np.float32),
        np.full(400, surface.center_mm[2], np.float32),
    )

    lost_mm = surface.inverse_warp(points).coordinates(surface.center_mm)[2]

    assert lost_mm.max() > 0.3 * surface.height_loss_mm
    assert abs(lost_mm[0]) < 0.05
    assert np.abs(np.diff(lost_mm)).max() < 0.1


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5, 0.75])
def test_narrow_gap_parallel_to_slices_loses_the_same_hu_at_any_offset(offset: float) -> None:
    surface = replace(
        plain_fracture("C2", "dens type II")[0], width_mm=0.4, translation_mm=np.zeros(3), rotation_rad=np.zeros(3),
        gap_radius_mm=90.0, normal=np.array([0.0, 0.0, 1.0]), roughness=np.zeros((1, 4)),
    )  # fmt: skip
    origin = surface.center_mm - vector(1.1, 1.1, 3.0 + 0.75 * offset)
    local = Grid.aligned(origin, (0.75, 0.22, 0.22), (9, 11, 11))
    neck = intact_neck()
    grid = Grid(neck.frames["C2"].affine @ local.affine, local.shape)

    intact = render(neck, grid, thickness_mm=0.75).hu
    fractured = render(neck.with_fractures({"C2": (surface,)}), grid, thickness_mm=0.75).hu
    lost = (intact - fractured).sum(axis=0) * 0.75

    expected = 0.4 * (intact.mean() - 40.0)  # the gap is filled with blood
    assert lost.mean() == pytest.approx(expected, rel=0.35)


@pytest.mark.parametrize(
    ("level", "fracture_type"), [("C2", "dens type II"), ("C7", "spinous process"), ("C5", "teardrop")]
)
def test_gap_has_the_width_of_the_truth(level: Level, fracture_type: str) -> None:
    (surface,) = plain_fracture(level, fracture_type)
    undisplaced = replace(
        surface, translation_mm=np.zeros(3), rotation_rad=np.zeros(3), roughness=surface.roughness * 0
    )

    line = line_across(surface, before_mm=1.0, count=101)
    bone = sample_fractured_bone(intact_neck().vertebra_parts(level), line, (undisplaced,))

    assert (bone.field[:, 0, 0] > 0).sum() * 0.02 == pytest.approx(surface.width_mm, abs=0.1)


def test_gap_narrower_than_slices_is_marked_throughout_the_bone() -> None:
    (surface,) = plain_fracture("C2", "dens type II")
    narrow = replace(surface, width_mm=0.3, translation_mm=np.zeros(3), rotation_rad=np.zeros(3), gap_radius_mm=90.0)
    grid = Grid.aligned(surface.center_mm - vector(6.0, 6.0, 7.0), (2.0, 0.5, 0.5), (8, 25, 25))

    bone = sample_fractured_bone(intact_neck().vertebra_parts("C2"), grid, (narrow,))

    bone_throughout = np.all(bone.closed_field[1:7] < -0.5, axis=0)
    assert np.count_nonzero(bone_throughout) > 50
    assert np.all(np.any(bone.surface_index, axis=0)[bone_throughout])


def test_loose_fragment_moves_as_a_rigid_body() -> None:
    (surface,) = plain_fracture("C2", "dens type II")
    moved = replace(surface, translation_mm=np.array([2.0, 0.0, 1.0]), rotation_rad=np.zeros(3))
    tip = surface.center_mm + vector(0.0, 1.2, 9.0)
    affine = np.eye(4)
    affine[:3, :3] *= 0.25
    affine[:3, 3] = tip - 4.0
    grid, shifted = Grid(affine, (33, 33, 33)), Grid(affine.copy(), (33, 33, 33))
    shifted.affine[:3, 3] += moved.translation_mm
    parts = intact_neck().vertebra_parts("C2")

    intact = sample_fractured_bone(parts, grid, ()).field
    fractured = sample_fractured_bone(parts, shifted, (moved,)).field

    np.testing.assert_allclose(fractured, intact, atol=1e-3)


def test_compressed_body_loses_height_in_front() -> None:
    (surface,) = plain_fracture("C5", "body compression")
    surface = replace(surface, height_loss_mm=4.0, roughness=surface.roughness * 0)
    height, depth = (intact_neck().person.measures["C5"][name] for name in ("body height", "body depth above"))

    def top_mm(y: float, fractures: tuple[Fracture, ...]) -> float:
        grid = Grid.aligned((0.0, y, 0.0), 0.1, (120, 1, 1))
        inside = sample_fractured_bone(intact_neck().vertebra_parts("C5"), grid, fractures).field[:, 0, 0] < 0
        return 0.1 * float(np.flatnonzero(inside)[-1])

    anterior, posterior = (top_mm(y, ()) - top_mm(y, (surface,)) for y in (-0.38 * depth, 0.38 * depth))

    assert anterior > posterior + 1.5
    assert 3.0 < anterior <= 4.1
    assert top_mm(0.0, ()) == pytest.approx(height / 2, abs=1.0)


def test_surfaces_are_indexed_in_order_and_corticated_gaps_are_not_marked() -> None:
    first, second, old = (plain_fracture("C5", each)[0] for each in ("spinous process", "teardrop", "lamina"))
    grid = grid_around("C5").in_frame(intact_neck().frames["C5"].affine)
    parts = intact_neck().vertebra_parts("C5")

    both = sample_fractured_bone(parts, grid, (first, second), Defects(corticated_gaps=(old,)))
    alone = sample_fractured_bone(parts, grid, (), Defects(corticated_gaps=(old,)))
    intact = sample_fractured_bone(parts, grid)

    assert set(np.unique(both.surface_index)) == {0, 1, 2}
    assert not alone.surface_index.any()
    assert (alone.field > alone.closed_field).any() or not np.array_equal(alone.field, intact.field)
    one = sample_fractured_bone(parts, grid, (first,)).surface_index > 0
    assert (both.surface_index[one] == 1).mean() > 0.5
