"""Scaled solids are the solids of points that are scaled back."""

import numpy as np
import pytest

from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part, distance_at
from cspine.phantom.geometry.points import PointCloud, vector
from cspine.phantom.geometry.scaled import GradedScale, GradedSolid, ScaledSolid, scale_parts
from cspine.phantom.geometry.solids import Ellipsoid

GRID = Grid.aligned((-30.0, -30.0, -30.0), 3.0, (21, 21, 21))
UPWARD = GradedScale(np.zeros(3), vector(1.0, 2.0, 3.0), vector(0.0, 0.0, 1.0), (10.0, 50.0), (0.6, 0.9))


def test_a_scaled_sphere_is_a_smaller_sphere() -> None:
    (part,) = scale_parts([Part(Ellipsoid((4.0, 0.0, 10.0), (12.0, 12.0, 12.0)), 2.0)], 0.5)

    small = Ellipsoid((2.0, 0.0, 5.0), (6.0, 6.0, 6.0))
    np.testing.assert_allclose(
        distance_at([part], GRID.points()), distance_at([Part(small, 1.0)], GRID.points()), atol=1e-4
    )
    assert part.blend_mm == 1.0
    np.testing.assert_allclose(part.solid.bounding_box(), small.bounding_box())


def test_a_graded_scale_is_undone() -> None:
    points = np.random.default_rng(0).uniform(-80.0, 80.0, (50, 3))

    moved = np.array([UPWARD.apply(point) for point in points], np.float32)
    before, factor = UPWARD.undo(PointCloud(*moved.T))

    np.testing.assert_allclose(np.column_stack([before.x, before.y, before.z]), points, atol=0.05)
    np.testing.assert_allclose(factor[points[:, 2] < 10.0], 0.6, atol=1e-6)
    np.testing.assert_allclose(factor[points[:, 2] > 50.0], 0.9, atol=1e-6)


@pytest.mark.parametrize("factors", [(0.7, 0.7), (0.6, 0.9)])
def test_a_graded_solid_is_where_its_points_go(factors: tuple[float, float]) -> None:
    scale = GradedScale(np.zeros(3), np.zeros(3), vector(0.0, 0.0, 1.0), (10.0, 50.0), factors)
    sphere = Ellipsoid((0.0, 5.0, 20.0), (15.0, 15.0, 15.0))
    surface = np.array(
        [scale.apply([15.0, 5.0, 20.0]), scale.apply([0.0, 5.0, 35.0]), scale.apply([0.0, -10.0, 20.0])], np.float32
    )

    graded = GradedSolid(sphere, scale)

    np.testing.assert_allclose(graded.signed_distance(PointCloud(*surface.T)), 0.0, atol=0.05)
    low, high = graded.bounding_box()
    assert np.all(surface >= low - 1e-3)
    assert np.all(surface <= high + 1e-3)
    if factors[0] == factors[1]:
        np.testing.assert_allclose(
            graded.signed_distance(GRID.points()),
            ScaledSolid(sphere, 0.7).signed_distance(GRID.points()),
            atol=0.02,
        )


def test_a_graded_scale_has_the_same_effect_in_another_frame() -> None:
    frame = np.eye(4)
    frame[:3, :3] = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    frame[:3, 3] = [3.0, -4.0, 12.0]
    local = vector(5.0, 6.0, 20.0)

    moved = UPWARD.in_frame(frame, frame).apply(local)

    everywhere = frame[:3, :3] @ local + frame[:3, 3]
    np.testing.assert_allclose(frame[:3, :3] @ moved + frame[:3, 3], UPWARD.apply(everywhere))
