"""Lofts follow their cross-sections; what is inflated lies parallel to what it was."""

import numpy as np
import pytest

from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.loft import Block, inflated, loft
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import PointCloud
from cspine.phantom.geometry.solids import Column, Ellipsoid, Rod, Solid

STATIONS = [(0.0, 0.0, -10.0, 10.0, 20.0), (40.0, 4.0, -16.0, 8.0, 30.0)]


def distance(solid: Solid, *point: float) -> float:
    x, y, z = (np.array([value], np.float32) for value in point)
    return float(solid.signed_distance(PointCloud(x, y, z))[0])


def test_loft_passes_through_its_cross_sections_and_between_them() -> None:
    solid = loft(STATIONS)

    assert distance(solid, 20.0, 0.0, 0.1) == pytest.approx(0.0, abs=0.3)
    assert distance(solid, 2.0, -13.0, 20.0) == pytest.approx(0.0, abs=0.3)
    assert distance(solid, 0.0, 0.0, 44.0) == pytest.approx(4.0)
    assert distance(solid, 0.0, 0.0, 20.0) < -8.0


def test_bounding_box_contains_all_that_is_inside() -> None:
    solid = loft(STATIONS, 0.6)
    grid = Grid.aligned((-50.0, -40.0, -20.0), 2.0, (40, 40, 50))

    low, high = solid.bounding_box()
    inside = np.argwhere(solid.signed_distance(grid.points()) < 0) @ grid.affine[:3, :3].T + grid.affine[:3, 3]

    assert len(inside) > 1000
    assert np.all(inside >= low - 1e-3)
    assert np.all(inside <= high + 1e-3)


@pytest.mark.parametrize(
    "solid",
    [
        Ellipsoid((0.0, 0.0, 0.0), (8.0, 6.0, 7.0)),
        Rod((0.0, 0.0, -9.0), (0.0, 0.0, 9.0), (5.0, 6.0), 1.5, (1, 0, 0)),
        loft([(-9.0, 0.0, -6.0, 6.0, 9.0), (9.0, 0.0, -6.0, 6.0, 9.0)]),
    ],
)
@pytest.mark.parametrize("mm", [2.0, -2.0])
def test_surface_of_what_is_inflated_is_parallel(solid: Solid, mm: float) -> None:
    grown = inflated(Part(solid), mm).solid

    for direction in ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)):
        ray = np.array([[*np.multiply(direction, length), 0.5] for length in np.linspace(1.0, 15.0, 281)])
        radii = [ray[np.argmax([distance(one, *point) > 0 for point in ray])] for one in (solid, grown)]
        assert np.linalg.norm(radii[1]) - np.linalg.norm(radii[0]) == pytest.approx(mm, abs=0.3)


def test_block_has_exact_sides_and_other_solids_are_not_inflated() -> None:
    block = Block(np.array([[0.0, 0.0, 0.0], [4.0, 6.0, 8.0]]))

    assert distance(block, 5.0, 3.0, 4.0) == 1.0
    assert distance(block, 2.0, 3.0, 4.0) == -2.0
    with pytest.raises(TypeError, match="Column cannot be inflated"):
        inflated(Part(Column((0.0, 0.0), (1.0, 1.0), (0.0, 1.0))), 1.0)
