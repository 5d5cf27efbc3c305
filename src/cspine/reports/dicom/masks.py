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
from cspine.reports.dicom.slice_lattice import SliceLattice, pixels_within
from cspine.spine.bone_crop import BoneCrop
from cspine.spine.spine_map import VertebraLabelMap
from cspine.views.compiled import CompiledStudy

Mask = npt.NDArray[np.uint8]
"""(slices, rows, columns)"""

_MIN_BONE_PROBABILITY: Final = 0.5

_NEUTRAL_HU: Final = 200
"""Attenuation that speaks neither for bone nor against it: trabecular bone has about as much, soft tissue less."""

_HU_PER_LOGIT: Final = 50
_MAX_LOGIT: Final = 3
"""Log-odds of bone rise by 1 for every 50 HU, by at most 3: what is surely within a vertebra stays, as marrow, and
nothing is added where the localizer sees none. Chosen on four phantoms, and looked at on a real neck."""

_HALF_RANGE_HU: Final = _MAX_LOGIT * _HU_PER_LOGIT
_REQUIRED: Final = (1.0 / (1.0 + np.exp(np.arange(-_HALF_RANGE_HU, _HALF_RANGE_HU + 1) / _HU_PER_LOGIT))).astype(
    np.float32
)
"""Probability that a voxel needs to be bone, by its attenuation from `_NEUTRAL_HU` - `_HALF_RANGE_HU` on."""

SHOWN_FRACTION: Final = 0.5
"""The evidence of a vertebra is shown where its saliency is at least this fraction of its maximum. Saliency is not
calibrated, so that a fixed threshold would show nothing of one vertebra and all of another."""

_Patch = tuple[slice, slice]
"""Rows and columns of a slice."""


def vertebra_mask(
    label_map: VertebraLabelMap,
    headers: Sequence[SliceHeader | None],
    stack: Stack,
    bone: "BonePlanes | None" = None,
) -> Mask:
    """Return the vertebra to which each voxel of the slices belongs.

    The localizer segments in voxels of 3 mm. Its probabilities are interpolated trilinearly, and a voxel is bone where
    the log-odds of their sum over all vertebrae and those of its attenuation together are positive, so that the mask
    follows the cortical bone. Where the scan is not at hand the probability alone has to exceed 0.5; thin laminae and
    processes are blurred then.

    Parameters
    ----------
    label_map : VertebraLabelMap
        Segmentation by the localizer.
    headers : sequence of SliceHeader or None
        The slices of the mask, in order; the mask is empty where a header is None.
    stack : Stack
        Geometry of the slices.
    bone : BonePlanes, optional
        The scan in the slices.

    Returns
    -------
    (slices, rows, columns) uint8
        1 to 7 for C1 to C7, 0 elsewhere.
    """
    vertebrae = list(_vertebra_probabilities(label_map, stack))

    def label(header: SliceHeader, labels: Mask) -> None:
        probabilities = [(vertebra, *vertebra.in_slice(header, stack)) for vertebra in vertebrae]
        patches = [patch for _, patch, probability in probabilities if probability is not None]
        if not patches:
            return
        best, total = np.zeros(labels.shape, np.float32), np.zeros(labels.shape, np.float32)
        for vertebra, patch, probability in probabilities:
            if probability is None:
                continue
            total[patch] += probability
            is_best = probability > best[patch]
            labels[patch][is_best], best[patch][is_best] = vertebra.number, probability[is_best]
        patch = _union(patches)
        required = _MIN_BONE_PROBABILITY if bone is None else bone.required_probability(header, patch)
        labels[patch][total[patch] <= required] = 0

    return _map_slices(label, headers)


@dataclass(frozen=True)
class BonePlanes:
    """The scan around the vertebrae, slice by slice.

    Attributes
    ----------
    crop : BoneCrop
        The scan.
    index : mapping of (str, int) to int
        Its plane of each slice, by SOPInstanceUID and frame.
    """

    crop: BoneCrop
    index: Mapping[tuple[str, int], int]

    @classmethod
    def of(cls, compiled: CompiledStudy) -> "BonePlanes | None":
        """Return the planes of a study; None where its slices were resampled."""
        crop = compiled.images.bone
        if crop is None:
            return None
        headers = (compiled.series.headers[index] for index in compiled.stack.order)
        return cls(crop, {(header.sop_instance_uid, header.frame): k for k, header in enumerate(headers)})

    def required_probability(self, header: SliceHeader, patch: _Patch) -> Floats32 | float:
        """Return the probability that each pixel of a part of a slice needs to be bone."""
        k = self.index.get((header.sop_instance_uid, header.frame))
        hu = None if k is None else self.crop.plane(k, *patch)
        if hu is None:
            return _MIN_BONE_PROBABILITY
        low, high = _NEUTRAL_HU - _HALF_RANGE_HU, _NEUTRAL_HU + _HALF_RANGE_HU
        padded = np.pad(np.clip(hu, low, high), 1, mode="edge")  # noise makes borders ragged
        cross = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        required: Floats32 = _REQUIRED[(4 * padded[1:-1, 1:-1] + cross) // 8 - low]
        return required


def _union(patches: Sequence[_Patch]) -> _Patch:
    """Return the smallest rectangle that holds all patches."""
    starts, stops = ([[getattr(part, end) for part in patch] for patch in patches] for end in ("start", "stop"))
    (top, left), (bottom, right) = np.min(starts, axis=0).tolist(), np.max(stops, axis=0).tolist()
    return slice(top, bottom), slice(left, right)


def evidence_mask(lattices: Mapping[str, SliceLattice], headers: Sequence[SliceHeader | None], stack: Stack) -> Mask:
    """Return the vertebra whose evidence each voxel of the slices belongs to.

    A voxel belongs to a vertebra where its saliency is at least `SHOWN_FRACTION` of the vertebra's greatest. Where two
    vertebrae claim a voxel, it belongs to the one of whose maximum it has the larger fraction.

    Parameters
    ----------
    lattices : mapping of str to SliceLattice
        The saliency of the vertebrae that are shown, by level.
    headers, stack
        The same as for `vertebra_mask`.

    Returns
    -------
    (slices, rows, columns) uint8
        1 to 7 for C1 to C7, 0 elsewhere.
    """
    shown = {
        level: lattice.above(SHOWN_FRACTION * lattice.strongest)
        for level, lattice in lattices.items()
        if lattice.strongest > 0.0
    }

    def label(header: SliceHeader, labels: Mask) -> None:
        planes = [(level, lattice, *_plane(lattice, header, stack)) for level, lattice in shown.items()]
        if all(saliency is None for *_, saliency in planes):
            return
        best = np.zeros(labels.shape, np.float32)
        for level, lattice, patch, saliency in planes:
            if saliency is None:
                continue
            fraction = saliency / np.float32(lattice.strongest)
            claimed = (fraction >= SHOWN_FRACTION) & (fraction > best[patch])
            labels[patch][claimed], best[patch][claimed] = SEGMENT_NUMBERS[level], fraction[claimed]

    return _map_slices(label, headers)


def _plane(lattice: SliceLattice, header: SliceHeader, stack: Stack) -> tuple[_Patch, Floats32 | None]:
    """Return the part of a slice that a lattice covers, and its values there; None where it covers none."""
    rows, columns = pixels_within(lattice, header, stack)
    patch = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    if not rows or not columns:
        return patch, None
    row_mm, column_mm = stack.pixel_spacing_mm
    return patch, lattice.plane(np.array(header.position_mm), row_mm * np.array(rows), column_mm * np.array(columns))


def slice_affine(header: SliceHeader, stack: Stack) -> Floats:
    """Return the (3, 3) matrix from (row, column, 1) of a slice to LPS mm."""
    row_mm, column_mm = stack.pixel_spacing_mm
    position = header.position_mm or (0.0, 0.0, 0.0)
    return np.column_stack([stack.column_direction * row_mm, stack.row_direction * column_mm, position])


@dataclass(frozen=True)
class _VertebraProbability:
    """One vertebra's voxels in the label map, with the corners of their bounding box.

    Where the slices lie along the axes of the label map, as usual, its voxels are a lattice.
    """

    number: int
    probability: Floats32
    to_index: Floats
    corners_lps: Floats
    lattice: SliceLattice | None

    def in_slice(self, header: SliceHeader, stack: Stack) -> tuple[_Patch, Floats32 | None]:
        """Return a part of a slice, and the probability of the vertebra at its pixels; None where it is 0."""
        if self.lattice is not None:
            return _plane(self.lattice, header, stack)
        affine = slice_affine(header, stack)
        patch = _intersect(affine, self.corners_lps, _shape(header), stack.spacing_mm)
        if patch is None:
            return (slice(0), slice(0)), None
        points = _pixels_lps(affine, *_pixel_grid(patch))
        index = np.einsum("ab,rcb->arc", self.to_index[:3, :3], points) + self.to_index[:3, 3, None, None]
        return patch, ndimage.map_coordinates(self.probability, index, order=1, mode="constant")


def _vertebra_probabilities(label_map: VertebraLabelMap, stack: Stack) -> Iterator[_VertebraProbability]:
    """Yield C1 to C7, as far as the label map contains them."""
    affine = label_map.affine_lps
    for level in VERTEBRAE:
        number = SEGMENT_NUMBERS[level]
        probability = np.where(label_map.labels == number, label_map.probability, 0.0).astype(np.float32)
        if probability.any():
            lattice = SliceLattice.of_voxels(probability, affine, stack)
            yield _VertebraProbability(
                number,
                probability,
                np.asarray(np.linalg.inv(affine)),
                _voxel_corners(probability, affine),
                lattice and lattice.above(float(np.finfo(np.float32).tiny)),
            )


def _map_slices(function: Callable[[SliceHeader, Mask], None], headers: Sequence[SliceHeader | None]) -> Mask:
    """Return a mask whose slices a function has filled, in threads; those without a header stay empty.

    Parts that are not written take no memory.
    """
    shape = next(_shape(header) for header in headers if header is not None)
    mask = np.zeros((len(headers), *shape), np.uint8)

    def fill(header: SliceHeader | None, labels: Mask) -> None:
        if header is not None:
            function(header, labels)

    with ThreadPoolExecutor(default_workers()) as threads:
        list(threads.map(fill, headers, mask))
    return mask


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
