"""Solids tell distances that are right at their surface, and are sampled alike in pieces and as a whole."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from cspine.phantom.anatomy.grid import Grid, Part, sample
from cspine.phantom.anatomy.solids import (
    Cloud,
    Column,
    Cropped,
    Ellipsoid,
    Pillar,
    Ring,
    Rod,
    Shell,
    Solid,
    intersect,
    smoothstep,
    unite,
)  # fmt: skip

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
    "cropped": Cropped(Ellipsoid((0.0, 0.0, 0.0), (7.0, 7.0, 7.0)), np.array([[-9.0, -9.0, 0.0], [9.0, 9.0, 9.0]])),
}
by_name = pytest.mark.parametrize("solid", SOLIDS.values(), ids=SOLIDS)


def lattice(step: float, reach: float, turn: npt.NDArray[Any] = TURN) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = turn * step
    affine[:3, 3] = -turn @ np.full(3, reach)
    count = round(2 * reach / step) + 1
    return Grid(affine, (count, count, count))


@by_name
def test_the_box_holds_the_solid(solid: Solid) -> None:
    grid = lattice(0.5, 16.0)
    x, y, z = grid.points().coordinates((0, 0, 0))
    inside = solid.distance(grid.points()) < 0

    low, high = solid.box()
    assert inside.any()
    for values, least, most in zip((x, y, z), low, high, strict=True):
        held = np.broadcast_to(values, inside.shape)[inside]
        assert held.min() >= least - 1e-3
        assert held.max() <= most + 1e-3


@by_name
def test_distances_have_a_slope_of_one_at_the_surface(solid: Solid) -> None:
    grid = lattice(0.2, 10.0)
    field = np.asarray(solid.distance(grid.points()))

    slope = np.sqrt(sum(part**2 for part in np.gradient(field, 0.2)))
    near = slope[np.abs(field) < 0.3]
    assert len(near) > 500
    assert np.median(near) == pytest.approx(1.0, abs=0.12)


def test_a_ball_is_exact() -> None:
    ball, grid = SOLIDS["ball"], lattice(1.0, 9.0)
    x, y, z = grid.points().coordinates((1.0, 2.0, -1.0))

    np.testing.assert_allclose(ball.distance(grid.points()), np.sqrt(x * x + y * y + z * z) - 4.0, atol=1e-4)


@by_name
def test_points_of_a_lattice_and_single_points_give_the_same(solid: Solid) -> None:
    grid = lattice(1.3, 9.0)
    x, y, z = (np.ascontiguousarray(np.broadcast_to(v, grid.shape)) for v in grid.points().coordinates((0, 0, 0)))

    np.testing.assert_allclose(solid.distance(grid.points()), solid.distance(Cloud(x, y, z)), atol=2e-4)


def test_sampling_in_windows_is_sampling_the_whole() -> None:
    parts = [
        Part(SOLIDS["ellipsoid"]),
        Part(SOLIDS["rod"], 1.5),
        Part(SOLIDS["column"], 1.0, cut=True),
        Part(Rod((6.0, 0.0, 0.0), (9.0, 3.0, 3.0), (1.0, 1.0))),
    ]
    grid = lattice(0.7, 15.0)
    points = grid.points()
    whole = np.full(grid.shape, 3.0, np.float32)
    for part in parts:
        distance = part.solid.distance(points)
        if part.cut:
            whole = intersect(whole, -distance, part.blend_mm)
        else:
            whole = np.where(distance < 3.0, unite(whole, distance, part.blend_mm), whole)

    found = sample(parts, grid)

    near = (np.abs(whole) < 1.5) | (found < 1.5)
    np.testing.assert_allclose(found[near], whole[near], atol=1e-3)
    np.testing.assert_array_equal(found < 0, whole < 0)


def test_a_part_beside_the_lattice_changes_nothing() -> None:
    grid = lattice(1.0, 5.0)

    assert grid.window(np.array([[90.0, 90.0, 90.0], [95.0, 95.0, 95.0]]), 2.0) is None
    assert (sample([Part(Ellipsoid((90.0, 90.0, 90.0), (3.0, 3.0, 3.0)))], grid) == 3.0).all()


def test_a_part_of_a_lattice_has_its_points() -> None:
    grid = lattice(1.0, 5.0)
    window = (slice(2, 5), slice(1, 9), slice(4, 6))

    for whole, part in zip(
        grid.points().coordinates((1, 0, 0)), grid.part(window).points().coordinates((1, 0, 0)), strict=True
    ):
        np.testing.assert_allclose(np.broadcast_to(whole, grid.shape)[window], part, atol=1e-5)


def test_seams_are_rounded_but_touch_nothing_far_off() -> None:
    one, other = np.array([0.0, -1.0, 5.0], np.float32), np.array([0.0, 3.0, -2.0], np.float32)

    assert unite(one, other, 2.0).tolist() == [-0.5, -1.0, -2.0]
    assert unite(one, other, 0.0).tolist() == [0.0, -1.0, -2.0]
    assert smoothstep(np.array([-1.0, 0.5, 2.0], np.float32), 0.0, 1.0).tolist() == [0.0, 0.5, 1.0]
