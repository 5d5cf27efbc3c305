"""Evidence on levels from outside the vertebrae: the skull base above the column."""

import numpy as np
import pytest

from cspine.core.typing import Floats
from cspine.localization.cascade.assembly import find_skull_base, state_fractions, tempered
from cspine.spine.spine_map import coverage_of

FRAME = np.eye(4)
FRAME[:3, 3] = 10.0, -20.0, 100.0


def block(low: tuple[float, float, float], high: tuple[float, float, float]) -> Floats:
    """Return the centers of voxels of 3 mm in a box about the origin of `FRAME`, (n, 3) LPS mm."""
    axes = np.meshgrid(*(np.arange(start, stop, 3.0) for start, stop in zip(low, high, strict=True)), indexing="ij")
    return np.asarray(np.stack(axes, axis=-1).reshape(-1, 3) + FRAME[:3, 3])


CONDYLES = block((-18.0, -6.0, 22.0), (18.0, 18.0, 60.0))
JAW = block((-50.0, -90.0, -20.0), (50.0, -40.0, 40.0))


def test_the_skull_base_is_the_lowest_part_of_the_head_above_the_column() -> None:
    base = find_skull_base(np.concatenate([CONDYLES, JAW]), FRAME)

    assert base is not None
    np.testing.assert_allclose(base[:2], FRAME[:2, 3])
    assert 20.0 <= base[2] - FRAME[2, 3] <= 27.0


def test_it_lies_on_the_axis_of_a_bent_neck() -> None:
    bent = FRAME.copy()
    bent[1:3, 1:3] = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    way = bent[:3, :3]

    base = find_skull_base((CONDYLES - FRAME[:3, 3]) @ way.T + FRAME[:3, 3], bent)

    assert base is not None
    np.testing.assert_allclose(np.cross(base - FRAME[:3, 3], way[:, 2]), 0.0, atol=1e-9)


def test_jaws_and_a_few_voxels_are_no_skull_base() -> None:
    assert find_skull_base(JAW, FRAME) is None
    assert find_skull_base(CONDYLES[:20], FRAME) is None
    assert find_skull_base(np.empty((0, 3)), FRAME) is None


def test_a_vertebra_that_is_cut_off_says_less_about_its_level() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1]] * 3)

    whole, half, outside = tempered(probabilities, np.array([1.0, 0.5, 0.0]))

    np.testing.assert_allclose(whole, probabilities[0])
    assert 1 / 3 < half[0] < 0.7
    np.testing.assert_allclose(outside, 1 / 3)


@pytest.mark.parametrize(
    ("by_frame", "by_voxels", "scanned_mm3", "is_unseen", "coverage"),
    [
        (1.0, 0.9, 9000.0, False, "complete"),
        (1.0, 0.7, 9000.0, False, "partial"),
        (0.9, 1.0, 9000.0, False, "partial"),
        (0.05, 0.0, 200.0, False, "partial"),
        (0.01, 0.0, 700.0, False, "partial"),
        (0.04, 0.3, 690.0, False, "absent"),
        (0.1, 0.1, 800.0, True, "absent"),
        (0.5, 0.5, 4000.0, True, "partial"),
        (np.nan, 0.5, 0.0, True, "partial"),
        (np.nan, 1.0, 0.0, False, "complete"),
    ],
)
def test_coverage_follows_from_the_frame_and_from_the_voxels(
    by_frame: float, by_voxels: float, scanned_mm3: float, is_unseen: bool, coverage: str
) -> None:
    frame, voxels, volume = (np.array([value]) for value in (by_frame, by_voxels, scanned_mm3))

    (fraction,) = state_fractions(frame, voxels, volume, np.array([is_unseen]))

    assert coverage_of(fraction) == coverage
