"""The masks of vertebrae on one coarse grid along the patient's axes, as the localizer's."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.core.typing import Floats, Floats32
from cspine.localization.coarse import coarse_affine
from cspine.localization.segmented.placed_column import PlacedVertebra
from cspine.models.metadata import COARSE_MM
from cspine.spine.mask_frames import VertebraMask
from cspine.spine.spine_map import VertebraLabelMap


def draw_label_map(placed: Sequence[PlacedVertebra]) -> VertebraLabelMap | None:
    """Return the masks of vertebrae on voxels of `COARSE_MM`; None without vertebrae.

    A voxel belongs to the vertebra that fills most of it, where one fills at least half.
    """
    points = [each.mask.points_lps_mm()[0] for each in placed if each.level in SEGMENT_NUMBERS]
    if not points:
        return None
    low = np.min([part.min(axis=0) for part in points], axis=0) - COARSE_MM
    high = np.max([part.max(axis=0) for part in points], axis=0) + COARSE_MM
    shape = np.ceil((high - low) / COARSE_MM).astype(int)[::-1] + 1
    labels, fraction = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    for each, part in zip([each for each in placed if each.level in SEGMENT_NUMBERS], points, strict=True):
        first = np.maximum(np.floor((part.min(axis=0) - low) / COARSE_MM).astype(int)[::-1] - 1, 0)
        last = np.minimum(np.ceil((part.max(axis=0) - low) / COARSE_MM).astype(int)[::-1] + 2, shape)
        window = tuple(slice(start, stop) for start, stop in zip(first.tolist(), last.tolist(), strict=True))
        filled = _fill(each.mask, low + COARSE_MM * first[::-1], last - first)
        is_most = (filled >= 0.5) & (filled > fraction[window])
        labels[window][is_most] = SEGMENT_NUMBERS[each.level]
        fraction[window][is_most] = filled[is_most]
    return VertebraLabelMap(labels, np.minimum(fraction, np.float32(1.0)), coarse_affine(low))


def _fill(mask: VertebraMask, origin_lps_mm: Floats, shape: Floats) -> Floats32:
    """Return which fraction of each voxel of a coarse grid a vertebra fills, (k, j, i)."""
    sides_mm = np.linalg.norm(mask.affine_lps[:3, :3], axis=0)
    sigma = np.sqrt(np.maximum(COARSE_MM**2 / 12 - sides_mm**2 / 4, 0.0)) / sides_mm
    smooth = ndimage.gaussian_filter(mask.occupancy, sigma)
    index = np.indices(tuple(shape.tolist())).reshape(3, -1)
    to_mask = np.linalg.inv(mask.affine_lps) @ coarse_affine(origin_lps_mm)
    values = ndimage.map_coordinates(smooth, to_mask[:3, :3] @ index + to_mask[:3, 3:], np.float32, order=1)
    return np.asarray(values.reshape(tuple(shape.tolist())))
