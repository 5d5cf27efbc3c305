"""Samples of real scans of which the frames of vertebrae are known, and no segmentation.

Which voxels belong to a vertebra follows from its frame, the occupancy template of its level, and the attenuation.
Where the three do not agree, the voxel is left out of the loss.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRA_NUMBERS
from cspine.core.typing import Bools, Floats, Floats32, Indices, Labels
from cspine.localization.coarse import CoarseVolume
from cspine.localization.scan import Scan
from cspine.spine.occupancy_template import CELL_MM, OccupancyTemplate
from cspine.training.localizer.examples import UNKNOWN_LABEL, LocalizerSample, to_sample

_BONE_HU: Final = 130
"""Attenuation from which on a voxel of 3 mm is bone; the spongy bone of the aged has less."""

_SOFT_HU: Final = 60
"""Attenuation below which a voxel is no bone."""

_MIN_OCCUPANCY: Final = 0.25
"""Occupancy of the template from which on bone belongs to the vertebra."""

_CERTAIN_OCCUPANCY: Final = 0.7
"""Occupancy from which on also spongy bone of low attenuation does."""

_MIN_DOUBTFUL_OCCUPANCY: Final = 0.03

_BEYOND_MM: Final = 10.0
_HALF_WIDTH_MM: Final = 50.0
"""Bone of the column beyond the outermost annotated vertebra: from this distance along it, and within this of it."""


def annotated_sample(
    scan: Scan,
    frames: Mapping[str, Floats],
    templates: Mapping[str, OccupancyTemplate],
    spacing_mm: float,
    box_lps_mm: tuple[Floats, Floats] | None = None,
    *,
    has_all_levels: bool = False,
) -> LocalizerSample:
    """Return a sample of a real scan.

    Parameters
    ----------
    scan : Scan
        The scan.
    frames : dict
        Level to the affine from the frame of the vertebra to LPS mm, of vertebrae that a reader has marked.
    templates : dict
        Level to the occupancy template of such vertebrae.
    spacing_mm : float
        Side of a voxel.
    box_lps_mm : ((3,), (3,)), optional
        Corners of a part of the scan; all of it where omitted.
    has_all_levels : bool
        Whether every vertebra of the scan is marked; otherwise bone of the column beyond the outermost is left out.
    """
    coarse = scan.coarsen(spacing_mm, box_lps_mm)
    labels = _label_voxels(coarse, frames, templates)
    if frames and not has_all_levels:
        labels[_column_beyond(coarse, frames) & (coarse.hu > _BONE_HU)] = UNKNOWN_LABEL
    return to_sample(coarse, labels, frames)


def _label_voxels(
    coarse: CoarseVolume, frames: Mapping[str, Floats], templates: Mapping[str, OccupancyTemplate]
) -> Labels:
    best = np.zeros(coarse.hu.shape, np.float32)
    labels = np.zeros(coarse.hu.shape, np.uint8)
    for level, frame in frames.items():
        template = templates.get(level)
        if template is None:
            continue
        index, occupancy = _occupancy_at(coarse, frame, template)
        better = occupancy > best[index]
        voxels = tuple(axis[better] for axis in index)
        best[voxels], labels[voxels] = occupancy[better], VERTEBRA_NUMBERS[level]
    hu = coarse.hu
    is_bone = ((hu > _BONE_HU) & (best >= _MIN_OCCUPANCY)) | ((hu > _SOFT_HU) & (best >= _CERTAIN_OCCUPANCY))
    is_doubtful = (hu > _SOFT_HU) & (best >= _MIN_DOUBTFUL_OCCUPANCY) & ~is_bone
    return np.where(is_bone, labels, np.where(is_doubtful, UNKNOWN_LABEL, 0)).astype(np.uint8)


def _occupancy_at(
    coarse: CoarseVolume, frame: Floats, template: OccupancyTemplate
) -> tuple[tuple[Indices, ...], Floats32]:
    """Return the voxels in the template's box, as indices along k, j and i, and the occupancy there."""
    cells = np.array(template.cells)
    low, high = cells[:, :3].min(axis=0), cells[:, :3].max(axis=0) + 1
    grid = np.zeros((high - low).astype(int), np.float32)
    grid[tuple((cells[:, :3] - low).astype(int).T)] = cells[:, 3]
    reach = np.abs(CELL_MM * np.stack([low, high])).max() + coarse.spacing_mm
    center = ((frame[:3, 3] - coarse.origin_lps_mm) / coarse.spacing_mm)[::-1]
    start = np.maximum(np.floor(center - reach / coarse.spacing_mm), 0).astype(int)
    stop = np.minimum(np.ceil(center + reach / coarse.spacing_mm) + 1, coarse.hu.shape).astype(int)
    offsets = np.indices(np.maximum(stop - start, 0)).reshape(3, -1)
    index = offsets + start[:, None]
    lps = coarse.origin_lps_mm[:, None] + coarse.spacing_mm * index[::-1]
    inverse = np.linalg.inv(frame)
    cell = np.floor((inverse[:3, :3] @ lps + inverse[:3, 3:]) / CELL_MM - low[:, None]).astype(int)
    inside = np.all((cell >= 0) & (cell < np.array(grid.shape)[:, None]), axis=0)
    return tuple(index[:, inside]), grid[tuple(cell[:, inside])]


def _column_beyond(coarse: CoarseVolume, frames: Mapping[str, Floats]) -> Bools:
    """Return the voxels about the column below the lowest marked vertebra, and above the highest below C1."""
    levels = sorted(frames, key=VERTEBRA_NUMBERS.__getitem__)
    k, j, i = np.indices(coarse.hu.shape, dtype=np.float32)
    x, y, z = (coarse.origin_lps_mm[axis] + coarse.spacing_mm * index for axis, index in enumerate((i, j, k)))
    beyond = np.zeros(coarse.hu.shape, np.bool_)
    ends = [(levels[-1], -1.0)] + ([(levels[0], 1.0)] if levels[0] != "C1" else [])
    for level, sign in ends:
        frame = frames[level]
        way = x - frame[0, 3], y - frame[1, 3], z - frame[2, 3]
        aside, along = (
            sum(part * axis for part, axis in zip(way, frame[:3, column], strict=True)) for column in (0, 2)
        )
        beyond |= (sign * along > _BEYOND_MM) & (np.abs(aside) < _HALF_WIDTH_MM)
    return beyond
