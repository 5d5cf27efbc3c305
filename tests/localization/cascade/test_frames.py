"""Frames are moved by what the frame network predicts for crops along their own axes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats, Floats32
from cspine.localization.cascade.crops import CROP_CLASSES, CROP_SHAPE, crop_affine
from cspine.localization.cascade.frames import MAX_MOTION_MM, crop_input, refine_frames, refine_near_neck
from cspine.localization.coarse import OFFSET_UNIT_MM
from cspine.localization.scan import Scan

TRUTH_MM = np.array([1.0, -2.0, 3.0])


def scan_with_a_bead() -> Scan:
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = 2.0
    affine[:, 3] = [-59.0, -59.0, -59.0, 1.0]
    hu = np.full((60, 60, 60), 0, np.int16)
    k, j, i = np.indices(hu.shape)
    lps = np.stack([i, j, k], axis=-1) * 2.0 - 59.0
    hu[np.linalg.norm(lps - TRUTH_MM, axis=-1) < 8.0] = 1000
    return Scan(hu, affine)


def look_for_the_bead(crops: Floats32) -> tuple[Floats32, Floats32]:
    """Return the voxels that are brighter than the rest, whose position is relative to their center."""
    voxels = np.zeros((len(crops), 4, *CROP_SHAPE), np.float32)
    for number, crop in enumerate(crops[:, 0]):
        index = np.argwhere(crop > 0.0)
        positions_mm = index @ crop_affine(np.eye(4))[:3, :3].T
        k, j, i = index.T
        voxels[number, 0, k, j, i] = 1.0
        voxels[number][1:, k, j, i] = (positions_mm - positions_mm.mean(axis=0)).T / OFFSET_UNIT_MM
    return np.full((len(crops), len(CROP_CLASSES)), 1 / 12, np.float32), voxels


def frame_at(position_mm: Floats) -> Floats:
    frame = np.eye(4)
    frame[:3, :3] = Rotation.from_euler("zyx", [10, -20, 15], degrees=True).as_matrix()
    frame[:3, 3] = position_mm
    return frame


@pytest.mark.parametrize("error_mm", [2.0, 8.0])
def test_frames_are_moved_in_their_own_axes(error_mm: float) -> None:
    frames = np.stack([frame_at(TRUTH_MM + error_mm * axis) for axis in np.eye(3)[[2, 0]]])

    refined = refine_frames(frames, scan_with_a_bead(), look_for_the_bead)

    np.testing.assert_allclose(refined.frames[:, :3, 3], [TRUTH_MM, TRUTH_MM], atol=0.3)
    np.testing.assert_allclose(refined.frames[:, :3, :3], frames[:, :3, :3])
    assert refined.probabilities.shape == (2, len(CROP_CLASSES))


def test_the_network_sees_vertebrae_enlarged() -> None:
    seen: list[Floats32] = []

    def look(crops: Floats32) -> tuple[Floats32, Floats32]:
        seen.append(crops)
        return look_for_the_bead(crops)

    scan, frame = scan_with_a_bead(), frame_at(TRUTH_MM)
    refine_frames(frame[None], scan, look)

    at_its_size = (crop_input(frame, scan)[0] > 0.0).sum()
    assert (seen[0][0, 0] > 0.0).sum() == pytest.approx(1.15**3 * at_its_size, rel=0.1)


def test_frames_that_move_far_are_looked_at_once_more() -> None:
    calls: list[int] = []

    def look(crops: Floats32) -> tuple[Floats32, Floats32]:
        calls.append(len(crops))
        return look_for_the_bead(crops)

    refine_frames(np.stack([frame_at(TRUTH_MM), frame_at(TRUTH_MM + 5.0 * np.eye(3)[2])]), scan_with_a_bead(), look)

    assert calls == [2, 1]


def test_frames_stay_where_no_vertebra_is_seen_or_it_is_too_far() -> None:
    def see_nothing(crops: Floats32) -> tuple[Floats32, Floats32]:
        probabilities, voxels = look_for_the_bead(crops)
        return probabilities, 0.4 * voxels

    far = frame_at(TRUTH_MM + (MAX_MOTION_MM + 3.0) * np.eye(3)[2])
    near = frame_at(TRUTH_MM + np.eye(3)[2])

    np.testing.assert_allclose(refine_frames(far[None], scan_with_a_bead(), look_for_the_bead).frames[0], far)
    np.testing.assert_allclose(refine_frames(near[None], scan_with_a_bead(), see_nothing).frames[0], near)


def test_crops_say_what_was_not_scanned() -> None:
    image = crop_input(frame_at(np.array([-50.0, 0.0, 0.0])), scan_with_a_bead())

    assert image.shape == (2, *CROP_SHAPE)
    assert 0.2 < image[1].mean() < 0.8
    assert (image[0][image[1] == 0.0] == -1.0).all()


def test_vertebrae_far_from_the_neck_stay_and_say_nothing_about_levels() -> None:
    frames = np.stack([frame_at(TRUTH_MM + 2.0), frame_at(TRUTH_MM + 2.0)])

    refined = refine_near_neck(frames, np.array([True, False]), scan_with_a_bead(), look_for_the_bead)
    none_near = refine_near_neck(frames, np.array([False, False]), scan_with_a_bead(), look_for_the_bead)

    assert np.linalg.norm(refined.frames[0, :3, 3] - TRUTH_MM) < 0.3
    np.testing.assert_array_equal(refined.frames[1], frames[1])
    np.testing.assert_array_equal(none_near.frames, frames)
    assert refined.probabilities[1, 0] == 0.5
    assert np.ptp(refined.probabilities[1, 1:]) == 0.0
