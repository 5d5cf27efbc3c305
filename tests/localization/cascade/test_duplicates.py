"""Two instances of one vertebra become one."""

import numpy as np
import pytest

from cspine.core.typing import Floats
from cspine.localization.cascade.crops import CROP_CLASSES
from cspine.localization.cascade.duplicates import merge_duplicates
from cspine.localization.cascade.frames import RefinedFrames
from cspine.localization.instances import Instance


def frames_at(*heights_mm: float) -> Floats:
    frames = np.tile(np.eye(4), (len(heights_mm), 1, 1))
    frames[:, 2, 3] = heights_mm
    return frames


def test_parts_of_one_vertebra_are_merged_to_the_frame_of_the_heavier_one() -> None:
    members = [np.arange(0, 30), np.arange(30, 50), np.arange(50, 90), np.arange(90, 120)]
    instances = [Instance(each, frame, 1.0) for each, frame in zip(members, frames_at(60, 45, 37, 25), strict=True)]
    probabilities = np.eye(len(CROP_CLASSES))[[2, 3, 3, 4]]

    refined = RefinedFrames(frames_at(60, 41, 40, 25), probabilities)
    merged, refined = merge_duplicates(instances, refined, np.ones(120), probabilities[:, 1:])

    assert [len(instance.members) for instance in merged] == [30, 60, 30]
    np.testing.assert_array_equal(merged[1].members, np.arange(30, 90))
    np.testing.assert_array_equal(refined.frames[:, 2, 3], [60, 40, 25])
    np.testing.assert_array_equal(refined.probabilities.argmax(axis=1), [2, 3, 4])


@pytest.mark.parametrize(
    ("distance_mm", "by_crop", "by_voxels", "expected"),
    [
        (9.0, (3, 3), (3, 3), 1),
        (9.0, (3, 3), (3, 4), 1),
        (9.0, (3, 4), (3, 4), 2),
        (5.0, (3, 3), (3, 4), 1),
        (5.0, (3, 4), (3, 3), 1),
        (5.0, (3, 4), (3, 4), 2),
        (3.0, (3, 4), (3, 4), 1),
    ],
)
def test_neighbors_of_a_small_child_are_two_unless_they_look_like_one_level(
    distance_mm: float, by_crop: tuple[int, int], by_voxels: tuple[int, int], expected: int
) -> None:
    frames = frames_at(distance_mm, 0)
    instances = [Instance(np.arange(10), frames[0], 1.0), Instance(np.arange(10, 20), frames[1], 1.0)]
    classes = np.eye(len(CROP_CLASSES))

    merged, _ = merge_duplicates(
        instances, RefinedFrames(frames, classes[list(by_crop)]), np.ones(20), classes[list(by_voxels), 1:]
    )

    assert len(merged) == expected


def test_vertebrae_that_were_not_looked_at_closely_have_no_level_in_common() -> None:
    instances = [Instance(np.arange(10), frames_at(9)[0], 1.0), Instance(np.arange(10, 20), frames_at(0)[0], 1.0)]
    even = np.full((2, len(CROP_CLASSES)), 1.0 / len(CROP_CLASSES))

    merged, _ = merge_duplicates(instances, RefinedFrames(frames_at(9, 0), even), np.ones(20), even[:, 1:])

    assert len(merged) == 2
