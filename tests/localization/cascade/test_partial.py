"""Vertebrae that the scan cuts off are placed with the help of their neighbors."""

import numpy as np
import pytest

from cspine.core.typing import Floats
from cspine.localization.cascade.partial import place_by_neighbors
from cspine.spine.level_settings import expected_distance_mm

LEVELS = ("C3", "C4", "C5")
BEND = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(0.2), -np.sin(0.2)], [0.0, np.sin(0.2), np.cos(0.2)]])


def column(size: float = 1.0) -> Floats:
    """Return frames of a straight spine that leans, (n, 4, 4), `size` times an adult's."""
    frames = np.tile(np.eye(4), (len(LEVELS), 1, 1))
    frames[:, :3, :3] = BEND
    for frame, level in zip(frames, LEVELS, strict=True):
        frame[:3, 3] = -size * expected_distance_mm(LEVELS[0], level) * BEND[:, 2] if level != LEVELS[0] else 0.0
    return frames


def test_a_vertebra_that_is_cut_off_and_placed_too_far_outward_moves_back() -> None:
    for size in (0.8, 1.2):
        for at, outward in ((0, BEND[:, 2]), (2, -BEND[:, 2])):
            frames, true = column(size), column(size)
            frames[at, :3, 3] += 4.0 * outward
            fractions = np.ones(3)
            fractions[at] = 0.0

            moved = place_by_neighbors(frames, LEVELS, fractions)

            others = np.arange(3) != at
            np.testing.assert_array_equal(moved[others], frames[others])
            error_mm = (moved[at] - true[at])[:3, 3] @ outward
            assert error_mm == pytest.approx((1.0 - 0.37) * 4.0 - 1.6)
            np.testing.assert_allclose((moved[at] - true[at])[:3, 3], error_mm * outward, atol=1e-9)
            np.testing.assert_array_equal(moved[at, :3, :3], frames[at, :3, :3])


def test_the_more_was_scanned_the_less_a_frame_moves() -> None:
    frames = column()
    frames[0, :3, 3] += [3.0, 0.0, 0.0]

    moved = [
        place_by_neighbors(frames, LEVELS, np.array([fraction, 1.0, 1.0]))[0, :3, 3] for fraction in (0.0, 0.2, 0.9)
    ]
    across, along = [abs(float(origin[0])) for origin in moved], [-float(origin @ BEND[:, 2]) for origin in moved]

    assert across == sorted(across)
    assert along[0] > along[1] == pytest.approx(along[2], abs=0.1)
    np.testing.assert_array_equal(place_by_neighbors(frames, LEVELS, np.array([0.98, 1.0, 1.0])), frames)


def test_frames_stay_without_a_neighbor_or_a_number() -> None:
    frames = column()
    frames[2, :3, 3] += [0.0, 0.0, 6.0]
    cut = np.array([1.0, 1.0, 0.2])

    np.testing.assert_array_equal(place_by_neighbors(frames, LEVELS, np.array([0.4, 0.5, 0.2])), frames)
    np.testing.assert_array_equal(place_by_neighbors(frames, ("T", "T", "T"), cut), frames)
    np.testing.assert_array_equal(place_by_neighbors(frames, LEVELS, np.array([1.0, 0.4, 1.0])), frames)


def test_a_place_that_disagrees_by_far_does_not_move_a_frame_across_its_axis() -> None:
    frames = column()
    frames[2, :3, 3] += [20.0, 0.0, 0.0]

    way = place_by_neighbors(frames, LEVELS, np.array([1.0, 1.0, 0.2]))[2, :3, 3] - frames[2, :3, 3]

    np.testing.assert_allclose(way - (way @ BEND[:, 2]) * BEND[:, 2], 0.0, atol=1e-9)
    assert np.linalg.norm(way) <= 6.0 * 0.37
