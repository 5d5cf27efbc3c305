"""Vertebrae in a row have levels in a row."""

import numpy as np
import pytest

from cspine.detect.order import LEVELS, order_levels


def sure_of(*levels: int, chance: float = 0.9) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Chances of vertebrae that each hold for one level."""
    chances = np.full((len(levels), LEVELS), (1 - chance) / (LEVELS - 1))
    chances[np.arange(len(levels)), levels] = chance
    return chances


def test_agreeing_vertebrae_keep_their_levels() -> None:
    levels, confidence = order_levels(sure_of(0, 1, 2, 3, 4, 5, 6, 7, 7), np.full(8, 16.0))

    assert levels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7]
    assert confidence.min() > 0.999


def test_one_that_errs_is_overruled_by_its_neighbours() -> None:
    levels, confidence = order_levels(sure_of(1, 2, 2, 4, 5), np.full(4, 16.0))

    assert levels.tolist() == [1, 2, 3, 4, 5]
    assert confidence.min() > 0.9


def test_rows_that_might_be_shifted_are_unsure() -> None:
    chances = np.zeros((3, LEVELS))
    chances[[0, 1, 2], [2, 3, 4]] = 0.5
    chances[[0, 1, 2], [3, 4, 5]] = 0.5

    levels, confidence = order_levels(chances, np.full(2, 16.0))

    assert np.diff(levels).tolist() == [1, 1]
    np.testing.assert_allclose(confidence, 0.5, atol=1e-3)


@pytest.mark.parametrize(("gap", "expected"), [(33.0, [1, 3, 4]), (16.0, [1, 2, 3])])
def test_a_vertebra_may_be_missing_where_there_is_room_for_it(gap: float, expected: list[int]) -> None:
    said = np.vstack([sure_of(1, chance=0.99), sure_of(3, 4, chance=0.8)])
    if expected == [1, 2, 3]:
        said = np.vstack([sure_of(1, chance=0.99), sure_of(3, 3, chance=0.6)])

    assert order_levels(said, np.array([gap, 16.0]))[0].tolist() == expected


def test_one_vertebra_is_a_row() -> None:
    levels, confidence = order_levels(sure_of(4, chance=0.7), np.empty(0))

    assert levels.tolist() == [4]
    assert confidence == pytest.approx([0.7])


def test_what_follows_c7_is_thoracic() -> None:
    assert order_levels(sure_of(6, 7, 6), np.full(2, 18.0))[0].tolist() == [6, 7, 7]
