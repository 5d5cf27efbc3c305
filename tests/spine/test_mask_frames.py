"""Frames of vertebrae from their masks: at the frames of the phantom, whole, cut off, coarse and noisy."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from tests.support.segmentations import LEVELS, labels, phantom

from cspine.core.typing import Floats, Labels
from cspine.localization.segmented.segmented_vertebrae import occupancy_templates
from cspine.spine.mask_frames import PosePrior, VertebraMask, fit_frame, grid_mask


def mask_of(numbers: Labels, level: str, affine: Floats | None = None) -> VertebraMask:
    index = np.argwhere(numbers == LEVELS.index(level) + 1)
    return grid_mask(index, numbers.shape, phantom().affine_lps if affine is None else affine)


def errors(level: str, frame: Floats) -> tuple[float, float]:
    """Return the distance of the origin in mm and the angle of the axes in degrees from the phantom's frame."""
    truth = phantom().frames[level]
    cosine = (np.trace(truth[:3, :3].T @ frame[:3, :3]) - 1.0) / 2.0
    return float(np.linalg.norm(frame[:3, 3] - truth[:3, 3])), float(np.degrees(np.arccos(min(cosine, 1.0))))


@cache
def whole(level: str) -> Floats:
    return fit_frame(mask_of(labels(), level), occupancy_templates()[level]).pose.frame_lps


@pytest.mark.parametrize("level", LEVELS[:8])
def test_a_mask_gives_the_frame(level: str) -> None:
    origin_mm, angle_deg = errors(level, whole(level))

    assert origin_mm < 1.2
    assert angle_deg < 4.0


def test_eroded_masks_give_almost_the_same_frame() -> None:
    eroded = np.where(ndimage.binary_erosion(labels() == 4, np.ones((1, 3, 3), np.bool_)), 4, 0).astype(np.uint8)

    fit = fit_frame(mask_of(eroded, "C4"), occupancy_templates()["C4"])

    assert np.linalg.norm(fit.pose.frame_lps[:3, 3] - whole("C4")[:3, 3]) < 1.5


def test_a_cut_vertebra_is_placed_by_what_is_left_of_it() -> None:
    numbers, affine = labels(), phantom().affine_lps.copy()
    heights = np.flatnonzero((numbers == 5).any(axis=(1, 2)))
    cut = (heights[0] + heights[-1]) // 2
    affine[:3, 3] += affine[:3, 0] * cut
    mask = mask_of(numbers[cut:], "C5", affine)

    fit = fit_frame(mask, occupancy_templates()["C5"])

    assert mask.is_cut
    assert not mask_of(numbers, "C5").is_cut
    origin_mm, angle_deg = errors("C5", fit.pose.frame_lps)
    assert origin_mm < 3.0
    assert angle_deg < 8.0


def test_what_is_expected_of_a_sliver_holds_it() -> None:
    numbers = labels()
    top = np.flatnonzero((numbers == 6).any(axis=(1, 2)))[-1]
    affine = phantom().affine_lps.copy()
    affine[:3, 3] += affine[:3, 0] * (top - 1)
    mask = mask_of(numbers[top - 1 :], "C6", affine)

    fit = fit_frame(mask, occupancy_templates()["C6"], PosePrior(frame_lps=phantom().frames["C6"]))

    assert errors("C6", fit.pose.frame_lps)[0] < 3.0


def test_grids_average_voxels_and_know_what_was_segmented() -> None:
    index = np.argwhere(np.ones((8, 6, 6), np.bool_))
    affine = np.array([[0, 0, 0.5, 10.0], [0, 0.5, 0, 20.0], [0.5, 0, 0, 30.0], [0, 0, 0, 1.0]])

    mask = grid_mask(index, (40, 6, 6), affine)

    assert mask.volume_mm3 == pytest.approx(8 * 6 * 6 * 0.125)
    np.testing.assert_allclose(mask.centroid_lps_mm, affine[:3] @ [3.5, 2.5, 2.5, 1.0], atol=0.3)
    assert mask.known.sum() * abs(np.linalg.det(mask.affine_lps[:3, :3])) < 40 * 36 * 0.125 + 1e-3
    assert mask.is_cut  # at the bottom and on all sides
