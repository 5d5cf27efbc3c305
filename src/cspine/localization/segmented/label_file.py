"""Read a segmentation of vertebrae: one mask per vertebra, whatever the file's format, orientation and resolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy import ndimage

from cspine.core.errors import LabelError
from cspine.core.typing import Floats, Indices, Labels
from cspine.dicom.nifti.names import is_nifti_name
from cspine.dicom.seg_file import SegFile
from cspine.dicom.segmentation import read_label_map
from cspine.localization.segmented.numbering import (
    ALL_LEVELS,
    Numbering,
    check_order,
    level_of_segment,
    level_of_text,
    number_levels,
)
from cspine.spine.mask_frames import VertebraMask, grid_mask

_CLUSTER_MM: Final = 3.0
"""Voxels in neighboring cells of this side are of one component; fragments of a fracture are nearer, other vertebrae
farther."""

_MIN_DUPLICATE_FRACTION: Final = 0.1
"""Smallest second component, as a fraction of the largest, that is worth a warning; smaller ones are stray voxels."""

_MAX_VOLUME_MM3: Final = {"C": 45_000.0}
_MAX_LOWER_VOLUME_MM3: Final = 150_000.0
"""Largest volume of a cervical vertebra, twice that of a big one, and of others."""

_MIN_VOLUME_MM3: Final = 100.0
"""Smallest part of a vertebra that is placed."""


@dataclass(frozen=True)
class SpineSegmentation:
    """The vertebrae of a segmentation.

    Attributes
    ----------
    name : str
        Name of the file, for messages.
    masks : dict
        Level to its voxels, from the head down.
    frame_of_reference_uid : str or None
        DICOM's UID of its coordinates; None of NIfTI.
    warnings : tuple of str
        Sentences about what was left out.
    """

    name: str
    masks: Mapping[str, VertebraMask]
    frame_of_reference_uid: str | None = None
    warnings: tuple[str, ...] = ()


def vertebra_files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that holds one mask for each vertebra, such as ``vertebrae_C1.nii.gz``, by level.

    Raises
    ------
    LabelError
        Two files name one vertebra.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        level = level_of_text(path.name.split(".")[0]) if is_nifti_name(path.name) else None
        if level is not None and files.setdefault(level, path) != path:
            raise LabelError(f"{folder.name}: {files[level].name} and {path.name} are both {level}; remove one")
    return files


def read_spine_segmentation(path: Path, numbering: Numbering) -> SpineSegmentation:
    """Read a segmentation.

    Parameters
    ----------
    path : Path
        A NIfTI file, a DICOM segmentation, or a folder with one NIfTI file for each vertebra.
    numbering : str
        Which vertebra each value is, of files that do not say it themselves.

    Raises
    ------
    LabelError
        The file cannot be read, holds no vertebrae or no label map, or its numbering is ambiguous or impossible.
    """
    if path.is_dir():
        return _read_folder(path)
    if is_nifti_name(path.name):
        affine, labels = read_label_map(path)
        return _separate(path.name, affine, labels, numbering)
    file = SegFile(path)
    levels = {segment.number: level for segment in file.segments if (level := level_of_segment(segment))}
    if repeated := {level for level in levels.values() if list(levels.values()).count(level) > 1}:
        raise LabelError(f"{path.name}: several segments are {min(repeated)}; give a file with one for each vertebra")
    if not levels:
        numbers = [segment.number for segment in file.segments if 0 < segment.number <= 255]
        if not numbers:
            raise LabelError(f"{path.name}: none of its segments is named after a vertebra; name them C1, C2 and so on")
        affine, labels = file.read(numbers)
        labels = np.array([0, *numbers], np.uint8)[labels]
        segmentation = _separate(path.name, affine, labels, numbering, is_cropped=True)
    else:
        ordered = sorted(levels, key=lambda number: ALL_LEVELS.index(levels[number]))
        affine, labels = file.read(ordered)
        named = {value: levels[number] for value, number in enumerate(ordered, start=1)}
        segmentation = _masks(path.name, affine, labels, named, is_cropped=True)
    return SpineSegmentation(segmentation.name, segmentation.masks, file.frame_of_reference_uid, segmentation.warnings)


def _read_folder(folder: Path) -> SpineSegmentation:
    """Read one file for each vertebra."""
    masks, warnings = dict[str, VertebraMask](), list[str]()
    files = vertebra_files(folder)
    for level in (level for level in ALL_LEVELS if level in files):
        affine, labels = read_label_map(files[level])
        values = sorted(set(np.unique(labels).tolist()) - {0})
        if len(values) > 1:
            raise LabelError(f"{files[level].name}: holds {len(values)} values, where a mask of one vertebra has one")
        if values:
            segmentation = _masks(files[level].name, affine, labels, {values[0]: level}, is_whole=False)
            masks |= segmentation.masks
            warnings += segmentation.warnings
    if not masks:
        raise LabelError(f"{folder.name}: its masks are empty; give a segmentation of the cervical spine")
    check_order(folder.name, {level: mask.centroid_lps_mm for level, mask in masks.items()})
    return SpineSegmentation(folder.name, masks, None, tuple(warnings))


def _separate(
    name: str, affine: Floats, labels: Labels, numbering: Numbering, *, is_cropped: bool = False
) -> SpineSegmentation:
    """Return the vertebrae of a label map with numbers; `is_cropped` as of `_masks`."""
    centroids = value_centroids(affine, labels)
    if not centroids:
        raise LabelError(f"{name}: is empty; give a segmentation of the cervical spine")
    levels, warnings = number_levels(name, centroids, numbering)
    segmentation = _masks(name, affine, labels, levels, is_cropped=is_cropped)
    return SpineSegmentation(name, segmentation.masks, None, (*warnings, *segmentation.warnings))


def value_centroids(affine: Floats, labels: Labels) -> dict[int, Floats]:
    """Return the median position of the voxels of each value of a label map; stray voxels do not move it.

    Parameters
    ----------
    affine : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    labels : (k, j, i) uint8
        The label map.

    Returns
    -------
    dict
        Value, without 0, to (3,) LPS mm.
    """
    centroids = {}
    boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(labels)
    for value, box in enumerate(boxes, start=1):
        if box is None:
            continue
        steps = [max((part.stop - part.start) // 64, 1) for part in box]
        coarse = tuple(slice(part.start, part.stop, step) for part, step in zip(box, steps, strict=True))
        index = np.argwhere(labels[coarse] == value) * steps
        if not len(index):
            index = np.argwhere(labels[box] == value)
        center = np.median(index, axis=0) + [part.start for part in box]
        centroids[value] = np.asarray(affine[:3, :3] @ center + affine[:3, 3])
    return centroids


def _masks(
    name: str,
    affine: Floats,
    labels: Labels,
    levels: Mapping[int, str],
    *,
    is_whole: bool = True,
    is_cropped: bool = False,
) -> SpineSegmentation:
    """Return the mask of each vertebra: its largest component.

    `is_whole` is whether all vertebrae are in this label map; `is_cropped`, whether empty slices were left out, as in
    DICOM, so that its border does not cut vertebrae.
    """
    masks, warnings = dict[str, VertebraMask](), list[str]()
    boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(labels)
    for value, level in sorted(levels.items(), key=lambda item: ALL_LEVELS.index(item[1])):
        box = boxes[value - 1] if value <= len(boxes) else None
        if box is None:
            continue
        index = np.argwhere(labels[box] == value) + [part.start for part in box]
        index, rest_fraction = _largest_component(index, affine)
        if rest_fraction >= _MIN_DUPLICATE_FRACTION:
            warnings.append(
                f"{name}: {level} has parts far from each other; the largest was taken, and "
                f"{100 * rest_fraction:.0f} % of its size left out"
            )
        mask = grid_mask(index, None if is_cropped else labels.shape, affine)
        if mask.volume_mm3 > _MAX_VOLUME_MM3.get(level[0], _MAX_LOWER_VOLUME_MM3):
            raise LabelError(
                f"{name}: what it numbers as {level} has {mask.volume_mm3 / 1000:.0f} ml; number each vertebra"
            )
        if mask.volume_mm3 >= _MIN_VOLUME_MM3:
            masks[level] = mask
    if not masks and is_whole:
        raise LabelError(f"{name}: holds no voxels of a vertebra; give a segmentation of the cervical spine")
    if is_whole:
        check_order(name, {level: mask.centroid_lps_mm for level, mask in masks.items()})
    return SpineSegmentation(name, masks, None, tuple(warnings))


def _largest_component(index: Indices, affine: Floats) -> tuple[Indices, float]:
    """Return the voxels of the largest component, and the size of the second one as a fraction of it.

    Voxels are connected where cells of 3 mm that hold them are neighbors: masks of thin bone may have gaps.
    """
    sides_mm = np.linalg.norm(affine[:3, :3], axis=0)
    cells = np.floor(index / np.maximum(_CLUSTER_MM / sides_mm, 1.0)).astype(np.intp)
    cells -= cells.min(axis=0)
    occupied = np.zeros(cells.max(axis=0) + 1, np.bool_)
    occupied[tuple(cells.T)] = True
    components, _ = ndimage.label(occupied, np.ones((3, 3, 3), np.bool_))
    component = components[tuple(cells.T)]
    sizes = np.bincount(component)
    order = np.argsort(sizes)[::-1]
    rest = float(sizes[order[1]] / sizes[order[0]]) if len(order) > 1 else 0.0
    return index[component == order[0]], rest
