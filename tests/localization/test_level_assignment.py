"""Vertebrae in a row have levels in a row, and what lies beside the row is none."""

import numpy as np
import numpy.typing as npt
import pytest

from cspine.localization.level_assignment import LEVELS, assign_levels, confidence

Floats = npt.NDArray[np.float64]


def sure_of(*levels: int, chance: float = 0.9) -> Floats:
    """Chances of vertebrae that each hold for one level."""
    chances = np.full((len(levels), LEVELS), (1 - chance) / (LEVELS - 1))
    chances[np.arange(len(levels)), levels] = chance
    return chances


def column(*gaps_mm: float) -> Floats:
    """Frames that stand below each other."""
    frames = np.tile(np.eye(4), (len(gaps_mm) + 1, 1, 1))
    frames[1:, 2, 3] = -np.cumsum(gaps_mm)
    return frames


WORTH = np.full(20, 5.0)


def test_agreeing_vertebrae_keep_their_levels() -> None:
    chances, frames = sure_of(0, 1, 2, 3, 4, 5, 6, 7, 7), column(18, 17, 15, 15, 15, 15, 17, 19)

    members, levels = assign_levels(chances, frames, WORTH[:9])

    assert members.tolist() == list(range(9))
    assert levels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7]
    assert confidence(chances, frames, levels).min() > 0.99


def test_one_that_errs_is_overruled_by_its_neighbours() -> None:
    members, levels = assign_levels(sure_of(1, 2, 2, 4, 5), column(17, 15, 15, 15), WORTH[:5])

    assert members.tolist() == [0, 1, 2, 3, 4]
    assert levels.tolist() == [1, 2, 3, 4, 5]


def test_rows_that_might_be_shifted_are_unsure() -> None:
    chances = np.zeros((3, LEVELS))
    chances[[0, 1, 2], [2, 3, 4]] = 0.5
    chances[[0, 1, 2], [3, 4, 5]] = 0.5

    _, levels = assign_levels(chances, column(14.5, 14.5), WORTH[:3])

    assert np.diff(levels).tolist() == [1, 1]
    np.testing.assert_allclose(confidence(chances, column(14.5, 14.5), levels), 0.5, atol=0.05)


def test_a_vertebra_may_be_missing_where_there_is_room_for_it() -> None:
    chances = sure_of(1, 3, 4)

    assert assign_levels(chances, column(32, 15), WORTH[:3])[1].tolist() == [1, 3, 4]
    assert assign_levels(sure_of(1, 3, 3, chance=0.6), column(16, 15), WORTH[:3])[1].tolist() == [1, 2, 3]


@pytest.mark.parametrize("aside", [(0.0, -40.0), (35.0, 0.0), (-60.0, 10.0)])
def test_bone_beside_the_row_is_no_vertebra(aside: tuple[float, float]) -> None:
    frames = np.insert(column(15, 15, 15), 2, column(22)[1], axis=0)
    frames[2, :2, 3] = aside

    members, levels = assign_levels(sure_of(2, 3, 4, 4, 5), frames, WORTH[:5])

    assert members.tolist() == [0, 1, 3, 4]
    assert levels.tolist() == [2, 3, 4, 5]


def test_what_lies_upon_c1_does_not_shift_the_row() -> None:
    chances = sure_of(0, 0, 1, 2, 3)
    frames = column(15, 18, 17, 15)

    members, levels = assign_levels(chances, frames, np.array([1.0, 5, 5, 5, 5]))

    assert members.tolist() == [1, 2, 3, 4]
    assert levels.tolist() == [0, 1, 2, 3]


def test_one_vertebra_is_a_row() -> None:
    chances = sure_of(4, chance=0.7)

    members, levels = assign_levels(chances, column(), WORTH[:1])

    assert (members.tolist(), levels.tolist()) == ([0], [4])
    assert confidence(chances, column(), levels) == pytest.approx([0.7], abs=0.05)


def test_what_follows_c7_is_thoracic() -> None:
    assert assign_levels(sure_of(6, 7, 6), column(17, 19), WORTH[:3])[1].tolist() == [6, 7, 7]
