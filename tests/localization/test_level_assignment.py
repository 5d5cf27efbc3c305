"""Levels are assigned to a column of vertebrae together; detections beside the column are left out."""

import numpy as np
import pytest

from cspine.core.typing import Floats
from cspine.localization.level_assignment import N_LEVELS, assign_levels, level_confidence


def probabilities_of(*levels: int, probability: float = 0.9) -> Floats:
    """Return level probabilities of vertebrae that each favor one level."""
    probabilities = np.full((len(levels), N_LEVELS), (1 - probability) / (N_LEVELS - 1))
    probabilities[np.arange(len(levels)), levels] = probability
    return probabilities


def column(*distances_mm: float) -> Floats:
    """Return frames straight below each other."""
    frames = np.tile(np.eye(4), (len(distances_mm) + 1, 1, 1))
    frames[1:, 2, 3] = -np.cumsum(distances_mm)
    return frames


LOG_ODDS = np.full(20, 5.0)
"""Log-odds of detections that are vertebrae with near certainty."""


def test_consistent_vertebrae_keep_their_levels() -> None:
    probabilities, frames = probabilities_of(0, 1, 2, 3, 4, 5, 6, 7, 7), column(18, 17, 15, 15, 15, 15, 17, 19)

    members, levels = assign_levels(probabilities, frames, LOG_ODDS[:9])

    assert members.tolist() == list(range(9))
    assert levels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7]
    assert level_confidence(probabilities, frames, levels).min() > 0.99


def test_a_misclassified_vertebra_is_corrected_by_its_neighbors() -> None:
    members, levels = assign_levels(probabilities_of(1, 2, 2, 4, 5), column(17, 15, 15, 15), LOG_ODDS[:5])

    assert members.tolist() == [0, 1, 2, 3, 4]
    assert levels.tolist() == [1, 2, 3, 4, 5]


def test_an_ambiguous_column_has_low_confidence() -> None:
    probabilities, frames = np.zeros((3, N_LEVELS)), column(14.5, 14.5)
    probabilities[[0, 1, 2], [2, 3, 4]] = 0.5
    probabilities[[0, 1, 2], [3, 4, 5]] = 0.5

    _, levels = assign_levels(probabilities, frames, LOG_ODDS[:3])

    assert np.diff(levels).tolist() == [1, 1]
    np.testing.assert_allclose(level_confidence(probabilities, frames, levels), 0.5, atol=0.05)


def test_a_level_is_skipped_only_where_the_distance_leaves_room() -> None:
    _, with_room = assign_levels(probabilities_of(1, 3, 4), column(32, 15), LOG_ODDS[:3])
    _, without_room = assign_levels(probabilities_of(1, 3, 3, probability=0.6), column(16, 15), LOG_ODDS[:3])

    assert with_room.tolist() == [1, 3, 4]
    assert without_room.tolist() == [1, 2, 3]


@pytest.mark.parametrize("offset_mm", [(0.0, -40.0), (35.0, 0.0), (-60.0, 10.0)])
def test_a_detection_beside_the_column_is_left_out(offset_mm: tuple[float, float]) -> None:
    frames = np.insert(column(15, 15, 15), 2, column(22)[1], axis=0)
    frames[2, :2, 3] = offset_mm

    members, levels = assign_levels(probabilities_of(2, 3, 4, 4, 5), frames, LOG_ODDS[:5])

    assert members.tolist() == [0, 1, 3, 4]
    assert levels.tolist() == [2, 3, 4, 5]


def test_a_detection_above_c1_does_not_shift_the_column() -> None:
    probabilities, frames = probabilities_of(0, 0, 1, 2, 3), column(15, 18, 17, 15)

    members, levels = assign_levels(probabilities, frames, np.array([1.0, 5, 5, 5, 5]))

    assert members.tolist() == [1, 2, 3, 4]
    assert levels.tolist() == [0, 1, 2, 3]


def test_a_single_vertebra_is_a_column() -> None:
    probabilities = probabilities_of(4, probability=0.7)

    members, levels = assign_levels(probabilities, column(), LOG_ODDS[:1])

    assert (members.tolist(), levels.tolist()) == ([0], [4])
    assert level_confidence(probabilities, column(), levels) == pytest.approx([0.7], abs=0.05)


def test_vertebrae_below_c7_are_thoracic() -> None:
    _, levels = assign_levels(probabilities_of(6, 7, 6), column(17, 19), LOG_ODDS[:3])

    assert levels.tolist() == [6, 7, 7]
