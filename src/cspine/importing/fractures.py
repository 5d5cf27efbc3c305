"""Masks of fractures on the voxels of a scan, with the level of each where vertebrae are known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import highdicom
import numpy as np
from scipy import ndimage

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS, TARGETS, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.core.typing import Bools, Labels
from cspine.dicom.nifti.names import is_nifti_name
from cspine.dicom.seg_file import SegFile
from cspine.dicom.segmentation import lay_on_volume, read_label_map
from cspine.views.fracture_labels import UNSPECIFIED_LEVEL

_MAX_DISTANCE_MM: Final = 10.0
"""Largest distance of a voxel of a fracture from the vertebra that it belongs to."""

_MIN_FRACTION: Final = 0.1
"""Vertebrae with a smaller fraction of a connected part are no fractured ones: masks reach across joints by a voxel."""


@dataclass(frozen=True)
class FractureLabels:
    """Fractures on voxels.

    Attributes
    ----------
    labels : (k, j, i) uint8
        The number of the fractured vertebra; `UNSPECIFIED_LEVEL` where it is not known; 0 elsewhere, as in fractures of
        the thoracic spine and of masks that mark nothing.
    warnings : tuple of str
        Sentences about what has no label.
    """

    labels: Labels
    warnings: tuple[str, ...] = ()


def read_fractures(
    path: Path, volume: highdicom.Volume, vertebrae: Labels | None, *, is_numbered: bool = False
) -> FractureLabels:
    """Read a mask of fractures, and number its parts by their vertebrae.

    Parameters
    ----------
    path : Path
        A DICOM segmentation, or NIfTI.
    volume : highdicom.Volume
        The scan.
    vertebrae : (k, j, i) uint8 or None
        Vertebrae on the scan's voxels, by which each voxel gets the level of the nearest one.
    is_numbered : bool
        Whether values of NIfTI are levels already (see `FRACTURE_STEP`).

    Raises
    ------
    LabelError
        The mask is damaged, or lies outside of the scan.
    """
    if is_nifti_name(path.name):
        affine, labels = read_label_map(path)
    else:
        file = SegFile(path)
        affine, labels = file.read([segment.number for segment in file.segments])
        labels = (labels > 0).astype(np.uint8)
    mask = lay_on_volume(path.name, affine, labels, volume, is_whole=True)
    values = set(np.unique(mask).tolist()) - {0}
    if not values:
        return FractureLabels(mask, (f"{path.name}: marks no voxel; the scan is taken for intact",))
    if not is_numbered:
        numbered = _number_parts(mask > 0, volume, vertebrae)
        n_lower = int(np.count_nonzero((mask > 0) & (numbered == 0)))
        below = (f"{path.name}: {n_lower} voxels are of vertebrae below C7, which have no label",) if n_lower else ()
        return FractureLabels(numbered, below)
    numbers = {SEGMENT_NUMBERS[level] for level in VERTEBRAE}
    if strange := {value for value in values if value != UNSPECIFIED_LEVEL and value % FRACTURE_STEP not in numbers}:
        raise LabelError(f"{path.name}: the value {min(strange)} is no cervical vertebra; number fractures by levels")
    return FractureLabels(mask)


def _number_parts(mask: Bools, volume: highdicom.Volume, vertebrae: Labels | None) -> Labels:
    """Return the number of the nearest vertebra of each voxel where it is a cervical one, by connected parts."""
    result = np.zeros(mask.shape, np.uint8)
    result[mask] = UNSPECIFIED_LEVEL
    if vertebrae is None:
        return result
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3), np.bool_))
    margin = [int(np.ceil(_MAX_DISTANCE_MM / side)) + 1 for side in volume.spacing]
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        window = tuple(slice(max(side.start - pad, 0), side.stop + pad) for side, pad in zip(box, margin, strict=True))
        part, near = parts[window] == number, vertebrae[window]
        if not near.any():
            continue
        distance_mm, nearest = ndimage.distance_transform_edt(near == 0, volume.spacing, return_indices=True)
        levels = np.where(distance_mm[part] <= _MAX_DISTANCE_MM, near[tuple(nearest[:, part])], 0)
        counts = np.bincount(levels[levels > 0], minlength=1)
        if counts.any():
            kept = counts[levels] >= _MIN_FRACTION * len(levels)
            levels = np.where(kept & (levels > 0), levels, counts.argmax())
            result[window][part] = np.where(levels <= SEGMENT_NUMBERS["C7"], levels, 0)
    return result


def targets_of(fractures: Labels) -> dict[str, int]:
    """Return the labels that a mask of fractures gives, by target; levels are left out where one is not known.

    >>> targets_of(np.array([[[0, 5, 37, 2]]], np.uint8))["C2"], targets_of(np.array([[[255]]], np.uint8))
    (1, {'patient_overall': 1})
    """
    values = set(np.unique(fractures).tolist()) - {0}
    overall, *_ = TARGETS
    if UNSPECIFIED_LEVEL in values:
        return {overall: 1}
    fractured = {value % FRACTURE_STEP for value in values}
    return {overall: int(bool(values))} | {level: int(SEGMENT_NUMBERS[level] in fractured) for level in VERTEBRAE}
