"""Vertebrae that the scan cuts off are placed with the help of their neighbors."""

import numpy as np

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


def test_a_vertebra_that_is_cut_off_moves_toward_its_place_below_the_neighbor() -> None:
    for size in (0.8, 1.2):
        frames, true = column(size), column(size)
        frames[2, :3, 3] += [0.0, 0.0, 6.0]

        moved = place_by_neighbors(frames, LEVELS, np.array([1.0, 1.0, 0.0]))

        np.testing.assert_array_equal(moved[:2], frames[:2])
        np.testing.assert_allclose(moved[2, :3, 3] - true[2, :3, 3], [0.0, 0.0, 0.55 * 6.0], atol=1e-9)
        np.testing.assert_array_equal(moved[2, :3, :3], frames[2, :3, :3])


def test_the_more_was_scanned_the_less_a_neighbor_helps() -> None:
    frames = column()
    frames[0, :3, 3] += [3.0, 0.0, 0.0]

    errors = [
        np.linalg.norm(place_by_neighbors(frames, LEVELS, np.array([fraction, 1.0, 1.0]))[0, :3, 3])
        for fraction in (0.0, 0.5, 0.97, 0.98)
    ]

    assert errors == sorted(errors)
    assert errors[-1] == 3.0


def test_frames_stay_without_a_neighbor_a_number_or_agreement() -> None:
    frames = column()
    frames[2, :3, 3] += [0.0, 0.0, 6.0]
    cut = np.array([1.0, 1.0, 0.2])

    np.testing.assert_array_equal(place_by_neighbors(frames, LEVELS, np.array([0.4, 0.5, 0.2])), frames)
    np.testing.assert_array_equal(place_by_neighbors(frames, ("T", "T", "T"), cut), frames)
    frames[2, :3, 3] += [20.0, 0.0, 0.0]
    np.testing.assert_array_equal(place_by_neighbors(frames, LEVELS, cut), frames)
