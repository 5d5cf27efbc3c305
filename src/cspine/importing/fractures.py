"""Masks of fractures on the voxels of a scan, with the level of each where vertebrae are known."""

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
"""Largest distance of a part of a fracture from the vertebra that it belongs to."""


def read_fractures(
    path: Path, volume: highdicom.Volume, vertebrae: Labels | None, *, is_numbered: bool = False
) -> Labels:
    """Read a mask of fractures, and number its parts by their vertebrae.

    Parameters
    ----------
    path : Path
        A DICOM segmentation, or NIfTI.
    volume : highdicom.Volume
        The scan.
    vertebrae : (k, j, i) uint8 or None
        Vertebrae on the scan's voxels, by which each connected part gets the level of the nearest one.
    is_numbered : bool
        Whether values of NIfTI are levels already (see `FRACTURE_STEP`).

    Returns
    -------
    (k, j, i) uint8
        The number of the fractured vertebra; `UNSPECIFIED_LEVEL` where it is not known; 0 elsewhere.

    Raises
    ------
    LabelError
        The mask is damaged, empty, or lies outside of the scan.
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
        raise LabelError(f"{path.name}: marks no voxel of the scan; give its mask, or none of an intact scan")
    if not is_numbered:
        return _number_parts(mask > 0, volume, vertebrae)
    numbers = {SEGMENT_NUMBERS[level] for level in VERTEBRAE}
    if strange := {value for value in values if value != UNSPECIFIED_LEVEL and value % FRACTURE_STEP not in numbers}:
        raise LabelError(f"{path.name}: the value {min(strange)} is no cervical vertebra; number fractures by levels")
    return mask


def _number_parts(mask: Bools, volume: highdicom.Volume, vertebrae: Labels | None) -> Labels:
    """Return the number of the nearest cervical vertebra of each connected part."""
    result = np.zeros(mask.shape, np.uint8)
    result[mask] = UNSPECIFIED_LEVEL
    if vertebrae is None:
        return result
    cervical = np.where(vertebrae <= SEGMENT_NUMBERS["C7"], vertebrae, 0)
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3), np.bool_))
    margin = [int(np.ceil(_MAX_DISTANCE_MM / side)) + 1 for side in volume.spacing]
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        window = tuple(slice(max(side.start - pad, 0), side.stop + pad) for side, pad in zip(box, margin, strict=True))
        part, near = parts[window] == number, cervical[window]
        if not near.any():
            continue
        distance_mm, nearest = ndimage.distance_transform_edt(near == 0, volume.spacing, return_indices=True)
        levels = near[tuple(nearest[:, part])][distance_mm[part] <= _MAX_DISTANCE_MM]
        if len(levels):
            result[window][part] = np.bincount(levels).argmax()
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
