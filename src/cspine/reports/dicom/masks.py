"""Masks of vertebrae and of evidence on the voxels of the original slices, whatever their tilt, spacing or order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.anatomy import SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.processors import default_workers
from cspine.core.typing import Floats, Floats32
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import Stack
from cspine.reports.dicom.saliency_grid import SaliencyGrid, pixels_within
from cspine.spine.spine_map import VertebraLabelMap

Mask = npt.NDArray[np.uint8]
"""(slices, rows, columns)"""

_MIN_BONE_PROBABILITY: Final = 0.5

SHOWN_FRACTION: Final = 0.5
"""The evidence of a vertebra is shown where its saliency is at least this fraction of its maximum. Saliency is not
calibrated, so that a fixed threshold would show nothing of one vertebra and all of another."""

_Patch = tuple[slice, slice]
"""Rows and columns of a slice."""


def vertebra_mask(label_map: VertebraLabelMap, headers: Sequence[SliceHeader | None], stack: Stack) -> Mask:
    """Return the vertebra to which each voxel of the slices belongs.

    The localizer segments in voxels of 3 mm. Its probabilities are interpolated trilinearly, and a voxel is bone if
    their sum over all vertebrae exceeds 0.5. Thin laminae and processes are blurred.

    Parameters
    ----------
    label_map : VertebraLabelMap
        Segmentation by the localizer.
    headers : sequence of SliceHeader or None
        The slices of the mask, in order; the mask is empty where a header is None.
    stack : Stack
        Geometry of the slices.

    Returns
    -------
    (slices, rows, columns) uint8
        1 to 7 for C1 to C7, 0 elsewhere.
    """
    to_index = np.linalg.inv(label_map.affine_lps)
    vertebrae = list(_vertebra_probabilities(label_map))

    def label(header: SliceHeader) -> Mask:
        affine, shape = slice_affine(header, stack), _shape(header)
        labels, best, total = np.zeros(shape, np.uint8), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for vertebra in vertebrae:
            patch = _intersect(affine, vertebra.corners_lps, shape, stack.spacing_mm)
            if patch is None:
                continue
            points = _pixels_lps(affine, *_pixel_grid(patch))
            index = np.einsum("ab,rcb->arc", to_index[:3, :3], points) + to_index[:3, 3, None, None]
            probability = ndimage.map_coordinates(vertebra.probability, index, order=1, mode="constant")
            total[patch] += probability
            is_best = probability > best[patch]
            labels[patch][is_best], best[patch][is_best] = vertebra.number, probability[is_best]
        labels[total <= _MIN_BONE_PROBABILITY] = 0
        return labels

    return _map_slices(label, headers)


def evidence_mask(grids: Mapping[str, SaliencyGrid], headers: Sequence[SliceHeader | None], stack: Stack) -> Mask:
    """Return the vertebra whose evidence each voxel of the slices belongs to.

    A voxel belongs to a vertebra where its saliency is at least `SHOWN_FRACTION` of the vertebra's greatest. Where two
    vertebrae claim a voxel, it belongs to the one of whose maximum it has the larger fraction.

    Parameters
    ----------
    grids : mapping of str to SaliencyGrid
        The saliency of the vertebrae that are shown, by level.
    headers, stack
        The same as for `vertebra_mask`.

    Returns
    -------
    (slices, rows, columns) uint8
        1 to 7 for C1 to C7, 0 elsewhere.
    """
    shown = {level: grid.above(SHOWN_FRACTION * grid.strongest) for level, grid in grids.items()}

    def label(header: SliceHeader) -> Mask:
        labels, best = np.zeros(_shape(header), np.uint8), np.zeros(_shape(header), np.float32)
        for level, grid in shown.items():
            rows, columns = pixels_within(grid, header, stack)
            fraction = _plane(grid, header, stack, rows, columns)
            if fraction is None or fraction.max() < SHOWN_FRACTION:
                continue
            patch = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
            claimed = (fraction >= SHOWN_FRACTION) & (fraction > best[patch])
            labels[patch][claimed], best[patch][claimed] = SEGMENT_NUMBERS[level], fraction[claimed]
        return labels

    return _map_slices(label, headers)


def _plane(grid: SaliencyGrid, header: SliceHeader, stack: Stack, rows: range, columns: range) -> Floats32 | None:
    """Return the saliency of a vertebra in a slice, as a fraction of its maximum; None where there is none."""
    if grid.strongest <= 0.0 or not rows or not columns:
        return None
    row_mm, column_mm = stack.pixel_spacing_mm
    values = grid.plane(np.array(header.position_mm), row_mm * np.array(rows), column_mm * np.array(columns))
    return None if values is None else values / np.float32(grid.strongest)


def slice_affine(header: SliceHeader, stack: Stack) -> Floats:
    """Return the (3, 3) matrix from (row, column, 1) of a slice to LPS mm."""
    row_mm, column_mm = stack.pixel_spacing_mm
    position = header.position_mm or (0.0, 0.0, 0.0)
    return np.column_stack([stack.column_direction * row_mm, stack.row_direction * column_mm, position])


@dataclass(frozen=True)
class _VertebraProbability:
    """One vertebra's voxels in the label map, and the corners of their bounding box."""

    number: int
    probability: Floats32
    corners_lps: Floats


def _vertebra_probabilities(label_map: VertebraLabelMap) -> Iterator[_VertebraProbability]:
    """Yield C1 to C7, as far as the label map contains them."""
    for level in VERTEBRAE:
        number = SEGMENT_NUMBERS[level]
        probability = np.where(label_map.labels == number, label_map.probability, 0.0).astype(np.float32)
        if probability.any():
            yield _VertebraProbability(number, probability, _voxel_corners(probability, label_map.affine_lps))


def _map_slices(function: Callable[[SliceHeader], Mask], headers: Sequence[SliceHeader | None]) -> Mask:
    """Return the stack of a function's results, computed in threads; empty slices for headers that are None."""
    with ThreadPoolExecutor(default_workers()) as threads:
        masks = list(threads.map(lambda header: None if header is None else function(header), headers))
    shape = next(mask.shape for mask in masks if mask is not None)
    return np.stack([np.zeros(shape, np.uint8) if mask is None else mask for mask in masks])


def _shape(header: SliceHeader) -> tuple[int, int]:
    return header.rows or 0, header.columns or 0


def _voxel_corners(values: Floats32, affine_lps: Floats) -> Floats:
    """Return the corners, (8, 3) LPS mm, of the bounding box of the nonzero voxels, one voxel larger on each side."""
    indices = np.argwhere(values > 0)
    low, high = indices.min(axis=0) - 1.0, indices.max(axis=0) + 1.0
    return _box_corners(low, high) @ affine_lps[:3, :3].T + affine_lps[:3, 3]


def _box_corners(low: Floats, high: Floats) -> Floats:
    return np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T


def _intersect(affine: Floats, corners_lps: Floats, shape: tuple[int, int], thickness_mm: float) -> _Patch | None:
    """Return the rows and columns of a slice that a box can intersect; None if it does not."""
    normal = np.cross(affine[:, 0], affine[:, 1])
    normal /= np.linalg.norm(normal)
    distance = (corners_lps - affine[:, 2]) @ normal
    if distance.min() > thickness_mm or distance.max() < -thickness_mm:
        return None
    pixels = np.linalg.lstsq(affine[:, :2], (corners_lps - affine[:, 2]).T, rcond=None)[0]
    low = np.clip(np.floor(pixels.min(axis=1)), 0, shape).astype(int).tolist()
    high = np.clip(np.ceil(pixels.max(axis=1)) + 1, 0, shape).astype(int).tolist()
    if low[0] >= high[0] or low[1] >= high[1]:
        return None
    return slice(low[0], high[0]), slice(low[1], high[1])


def _pixel_grid(patch: _Patch) -> tuple[Floats, Floats]:
    rows, columns = (np.arange(part.start, part.stop, dtype=float) for part in patch)
    return rows, columns


def _pixels_lps(affine: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return the positions of pixels, (rows, columns, 3) LPS mm."""
    down, across = rows[:, None, None] * affine[:, 0], columns[None, :, None] * affine[:, 1]
    return np.asarray(down + across + affine[:, 2])
