"""Vertebrae and evidence on the voxels of the slices themselves, whether they are tilted, uneven or upside down."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.classification.saliency import EvidenceField
from cspine.core.anatomy import SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.parallel import default_workers
from cspine.core.typing import Floats
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import Stack
from cspine.spine.spine_map import BoneMap

Mask = npt.NDArray[np.uint8]

_MORE_LIKELY: Final = 0.5

FAINT: Final = 0.02
"""Less evidence than this is none: it would spread over slices without end."""

_SAMPLED_MM: Final = 1.5
"""Evidence is told in cells of 5 mm: between samples so far apart it is interpolated."""

_Patch = tuple[slice, slice]


def vertebra_mask(bone: BoneMap, headers: Sequence[SliceHeader | None], stack: Stack) -> Mask:
    """Return which vertebra each voxel is a part of.

    The localizer tells it in voxels of 3 mm; between them its chances are interpolated, and a voxel is bone where they
    are more than a half. Thin laminae and processes come out blurred.

    Parameters
    ----------
    bone : BoneMap
        Of the localizer.
    headers : sequence of SliceHeader or None
        Of the slices, in the order of the mask's; where there is none, the mask is empty.
    stack : Stack
        How they lie.

    Returns
    -------
    (slices, rows, columns) uint8
        1 to 7 for C1 to C7, 0 elsewhere.
    """
    to_index = np.linalg.inv(bone.affine_lps)
    parts = []
    for level in VERTEBRAE:
        number = SEGMENT_NUMBERS[level]
        own = np.where(bone.numbers == number, bone.chances, 0.0).astype(np.float32)
        if own.any():
            parts.append((number, own, _corners(own, bone.affine_lps)))

    def of(header: SliceHeader) -> Mask:
        affine = slice_affine(header, stack)
        shape = (header.rows or 0, header.columns or 0)
        label, best, total = np.zeros(shape, np.uint8), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for number, own, corners in parts:
            patch = _patch(affine, corners, shape, stack.spacing_mm)
            if patch is None:
                continue
            places = _places(affine, *_grid(patch))
            index = np.einsum("ab,rcb->arc", to_index[:3, :3], places) + to_index[:3, 3, None, None]
            chance = ndimage.map_coordinates(own, index, order=1, mode="constant")
            total[patch] += chance
            stronger = chance > best[patch]
            label[patch][stronger], best[patch][stronger] = number, chance[stronger]
        label[total <= _MORE_LIKELY] = 0
        return label

    return _stacked(of, headers)


def evidence_mask(fields: Mapping[str, EvidenceField], headers: Sequence[SliceHeader | None], stack: Stack) -> Mask:
    """Return how broken each voxel is found, the strongest of all vertebrae about it.

    Parameters
    ----------
    fields : mapping of str to EvidenceField
        Of `cspine.classification.prediction.NetworkPrediction.fields`.
    headers, stack
        As of `vertebra_mask`.

    Returns
    -------
    (slices, rows, columns) uint8
        0 to 255 for 0 to 1; 0 of what is below `FAINT`.
    """
    boxes = [(field, _box_corners(field)) for field in fields.values() if field.strength.max() >= FAINT]

    def of(header: SliceHeader) -> Mask:
        affine = slice_affine(header, stack)
        shape = (header.rows or 0, header.columns or 0)
        found = np.zeros(shape, np.float32)
        for field, corners in boxes:
            patch = _patch(affine, corners, shape, stack.spacing_mm)
            if patch is None:
                continue
            rows, columns = _grid(patch)
            some = [_thinned(axis, step) for axis, step in zip((rows, columns), _steps(stack), strict=True)]
            told = field.at(_places(affine, *some))
            between = [_interpolation(axis, few) for axis, few in zip((rows, columns), some, strict=True)]
            np.maximum(found[patch], between[0] @ told @ between[1].T, out=found[patch])
        found[found < FAINT] = 0.0
        return np.rint(np.clip(found, 0.0, 1.0) * 255).astype(np.uint8)

    return _stacked(of, headers)


def slice_affine(header: SliceHeader, stack: Stack) -> Floats:
    """Return the (3, 3) matrix from (row, column, 1) of a slice to LPS mm."""
    row_mm, column_mm = stack.pixel_spacing_mm
    position = header.position_mm or (0.0, 0.0, 0.0)
    return np.column_stack([stack.column_direction * row_mm, stack.row_direction * column_mm, position])


def _stacked(of: Callable[[SliceHeader], Mask], headers: Sequence[SliceHeader | None]) -> Mask:
    with ThreadPoolExecutor(default_workers()) as threads:
        found = list(threads.map(lambda header: None if header is None else of(header), headers))
    shape = next(mask.shape for mask in found if mask is not None)
    return np.stack([np.zeros(shape, np.uint8) if mask is None else mask for mask in found])


def _corners(own: npt.NDArray[np.float32], affine_lps: Floats) -> Floats:
    """Return the corners, (8, 3) LPS mm, of what is not 0, with a voxel about it."""
    where = np.argwhere(own > 0)
    low, high = where.min(axis=0) - 1.0, where.max(axis=0) + 1.0
    return _all_corners(low, high) @ affine_lps[:3, :3].T + affine_lps[:3, 3]


def _box_corners(field: EvidenceField) -> Floats:
    """Return the corners, (8, 3) LPS mm, of all that a vertebra's views show."""
    settings, box = field.views.settings, field.views.box_lps
    half = np.maximum(np.array(settings.reach_mm) / 2, settings.half_mm)
    return _all_corners(-half, half) @ box[:3, :3].T + box[:3, 3]


def _all_corners(low: Floats, high: Floats) -> Floats:
    return np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T


def _patch(affine: Floats, corners_lps: Floats, shape: tuple[int, int], thickness_mm: float) -> _Patch | None:
    """Return the rows and columns of a slice that a box may be seen in; None where it is not."""
    along = np.cross(affine[:, 0], affine[:, 1])
    along /= np.linalg.norm(along)
    off = (corners_lps - affine[:, 2]) @ along
    if off.min() > thickness_mm or off.max() < -thickness_mm:
        return None
    places = np.linalg.lstsq(affine[:, :2], (corners_lps - affine[:, 2]).T, rcond=None)[0]
    low = np.clip(np.floor(places.min(axis=1)), 0, shape).astype(int).tolist()
    high = np.clip(np.ceil(places.max(axis=1)) + 1, 0, shape).astype(int).tolist()
    if low[0] >= high[0] or low[1] >= high[1]:
        return None
    return slice(low[0], high[0]), slice(low[1], high[1])


def _grid(patch: _Patch) -> tuple[Floats, Floats]:
    return tuple(np.arange(part.start, part.stop, dtype=float) for part in patch)  # type: ignore[return-value]


def _places(affine: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return where pixels lie, (rows, columns, 3) LPS mm."""
    down, across = rows[:, None, None] * affine[:, 0], columns[None, :, None] * affine[:, 1]
    return np.asarray(down + across + affine[:, 2])


def _steps(stack: Stack) -> Iterator[int]:
    return (max(int(_SAMPLED_MM / side), 1) for side in stack.pixel_spacing_mm)


def _thinned(axis: Floats, step: int) -> Floats:
    """Return every so many places of an axis, and the last."""
    return np.unique(np.append(axis[::step], axis[-1]))


def _interpolation(axis: Floats, few: Floats) -> npt.NDArray[np.float32]:
    """Return the matrix, (axis, few), that interpolates linearly between few places."""
    return np.stack([np.interp(axis, few, one) for one in np.eye(len(few))], axis=1).astype(np.float32)
