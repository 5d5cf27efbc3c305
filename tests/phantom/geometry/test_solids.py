"""Distance fields of solids are exact at their surface, and do not depend on the windows they are sampled in."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from cspine.phantom.geometry.distance_fields import smooth_intersection, smooth_union, smoothstep
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part, distance_at, sample_distance
from cspine.phantom.geometry.points import PointCloud
from cspine.phantom.geometry.solids import Column, CroppedSolid, Ellipsoid, Pillar, Ring, Rod, Shell, Solid

TURN = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
SOLIDS: dict[str, Solid] = {
    "ball": Ellipsoid((1.0, 2.0, -1.0), (4.0, 4.0, 4.0)),
    "ellipsoid": Ellipsoid((0.0, 1.0, 0.0), (6.0, 3.0, 4.0), TURN),
    "rod": Rod((-4.0, 1.0, 0.0), (5.0, 2.0, 3.0), (1.5, 2.5)),
    "flat rod": Rod((-4.0, 1.0, 0.0), (5.0, 2.0, 3.0), (1.5, 2.0), 2.5),
    "upright rod": Rod((0.0, 0.0, -4.0), (0.0, 0.0, 4.0), (2.0, 2.0), 1.5),
    "column": Column((1.0, -1.0), (3.0, 4.0), (-5.0, 5.0)),
    "ring": Ring((0.0, 0.0, 0.0), (5.0, 6.0), 3.0, 4.0, (-20.0, 2.0)),
    "pillar": Pillar((0.0, 0.0, 0.0), (4.0, 4.0), 9.0, 45.0),
    "shell": Shell(Ellipsoid((0.0, 0.0, 0.0), (7.0, 7.0, 7.0)), 2.0),
    "cropped": CroppedSolid(
        Ellipsoid((0.0, 0.0, 0.0), (7.0, 7.0, 7.0)), np.array([[-9.0, -9.0, 0.0], [9.0, 9.0, 9.0]])
    ),
}
by_name = pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)


def oblique_grid(step: float, reach: float, turn: npt.NDArray[Any] = TURN) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = turn * step
    affine[:3, 3] = -turn @ np.full(3, reach)
    count = round(2 * reach / step) + 1
    return Grid(affine, (count, count, count))


@by_name
def test_bounding_box_contains_the_solid(solid: Solid) -> None:
    grid = oblique_grid(0.5, 16.0)
    x, y, z = grid.points().coordinates((0, 0, 0))
    inside = solid.signed_distance(grid.points()) < 0

    low, high = solid.bounding_box()
    assert inside.any()
    for values, minimum, maximum in zip((x, y, z), low, high, strict=True):
        within = np.broadcast_to(values, inside.shape)[inside]
        assert within.min() >= minimum - 1e-3
        assert within.max() <= maximum + 1e-3


@by_name
def test_distance_has_a_gradient_of_one_at_the_surface(solid: Solid) -> None:
    grid = oblique_grid(0.2, 10.0)
    field = np.asarray(solid.signed_distance(grid.points()))

    gradient = np.sqrt(sum(part**2 for part in np.gradient(field, 0.2)))
    near = gradient[np.abs(field) < 0.3]
    assert len(near) > 500
    assert np.median(near) == pytest.approx(1.0, abs=0.12)


def test_distance_to_a_ball_is_exact() -> None:
    ball, grid = SOLIDS["ball"], oblique_grid(1.0, 9.0)
    x, y, z = grid.points().coordinates((1.0, 2.0, -1.0))

    np.testing.assert_allclose(ball.signed_distance(grid.points()), np.sqrt(x * x + y * y + z * z) - 4.0, atol=1e-4)


@by_name
def test_grids_and_point_clouds_give_the_same_distance(solid: Solid) -> None:
    grid = oblique_grid(1.3, 9.0)
    x, y, z = (np.ascontiguousarray(np.broadcast_to(v, grid.shape)) for v in grid.points().coordinates((0, 0, 0)))

    np.testing.assert_allclose(
        solid.signed_distance(grid.points()), solid.signed_distance(PointCloud(x, y, z)), atol=2e-4
    )


def test_sampling_in_windows_equals_evaluation_at_all_points() -> None:
    parts = [
        Part(SOLIDS["ellipsoid"]),
        Part(SOLIDS["rod"], 1.5),
        Part(SOLIDS["column"], 1.0, is_cutout=True),
        Part(Rod((6.0, 0.0, 0.0), (9.0, 3.0, 3.0), (1.0, 1.0))),
    ]
    grid = oblique_grid(0.7, 15.0)
    points = grid.points()
    expected = np.full(grid.shape, 3.0, np.float32)
    for part in parts:
        distance = part.solid.signed_distance(points)
        if part.is_cutout:
            expected = smooth_intersection(expected, -distance, part.blend_mm)
        else:
            expected = np.where(distance < 3.0, smooth_union(expected, distance, part.blend_mm), expected)

    sampled = sample_distance(parts, grid)

    np.testing.assert_array_equal(distance_at(parts, points), expected)
    near = (np.abs(expected) < 1.5) | (sampled < 1.5)
    np.testing.assert_allclose(sampled[near], expected[near], atol=1e-3)
    np.testing.assert_array_equal(sampled < 0, expected < 0)


def test_part_outside_the_grid_changes_nothing() -> None:
    grid = oblique_grid(1.0, 5.0)

    assert grid.window(np.array([[90.0, 90.0, 90.0], [95.0, 95.0, 95.0]]), 2.0) is None
    assert (sample_distance([Part(Ellipsoid((90.0, 90.0, 90.0), (3.0, 3.0, 3.0)))], grid) == 3.0).all()


def test_cropped_grid_has_the_points_of_its_window() -> None:
    grid = oblique_grid(1.0, 5.0)
    window = (slice(2, 5), slice(1, 9), slice(4, 6))

    for whole, part in zip(
        grid.points().coordinates((1, 0, 0)), grid.crop(window).points().coordinates((1, 0, 0)), strict=True
    ):
        np.testing.assert_allclose(np.broadcast_to(whole, grid.shape)[window], part, atol=1e-5)


def test_smooth_union_rounds_the_seam_only() -> None:
    one, other = np.array([0.0, -1.0, 5.0], np.float32), np.array([0.0, 3.0, -2.0], np.float32)

    assert smooth_union(one, other, 2.0).tolist() == [-0.5, -1.0, -2.0]
    assert smooth_union(one, other, 0.0).tolist() == [0.0, -1.0, -2.0]
    assert smoothstep(np.array([-1.0, 0.5, 2.0], np.float32), 0.0, 1.0).tolist() == [0.0, 0.5, 1.0]
