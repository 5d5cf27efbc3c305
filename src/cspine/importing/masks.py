"""Masks of vertebrae of any data set on the voxels of a scan, in one numbering."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import highdicom
import numpy as np

from cspine.core.errors import LabelError
from cspine.core.typing import Floats, Labels
from cspine.dicom.nifti.files import open_nifti
from cspine.dicom.nifti.grid import read_grid
from cspine.dicom.nifti.names import is_nifti_name
from cspine.dicom.seg_file import SegFile
from cspine.dicom.segmentation import lay_on_volume, read_label_map
from cspine.dicom.sources import SourceFile
from cspine.localization.segmented.label_file import value_centroids, vertebra_files
from cspine.localization.segmented.numbering import (
    TRUTH_NUMBERS,
    Numbering,
    check_order,
    level_of_segment,
    number_levels,
)

_MAX_OFFSET_VOXELS: Final = 0.05
"""Voxels of a mask are those of the scan where no corner lies farther from one."""

_MAX_BODY_DISTANCE_MM: Final = 30.0
"""Largest distance of a vertebral body's centroid from that of its mask; the arch moves it by up to 20 mm."""


@dataclass(frozen=True)
class VertebraLabels:
    """Vertebrae on voxels.

    Attributes
    ----------
    labels : (k, j, i) uint8
        `TRUTH_NUMBERS`; 0 elsewhere.
    warnings : tuple of str
        Sentences about what was left out or resampled.
    """

    labels: Labels
    warnings: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels with voxels, from the head down."""
        present = set(np.unique(self.labels).tolist())
        return tuple(level for level, number in TRUTH_NUMBERS.items() if number in present)

    @property
    def cut_levels(self) -> tuple[str, ...]:
        """Levels whose voxels reach the border of the scan."""
        sides = [self.labels.take(end, axis) for axis in range(3) for end in (0, -1)]
        at_border = {value for side in sides for value in np.unique(side).tolist()}
        return tuple(level for level in self.levels if TRUTH_NUMBERS[level] in at_border)


def read_vertebrae(path: Path, numbering: Numbering, volume: highdicom.Volume) -> VertebraLabels:
    """Read masks of vertebrae, and lay them on a scan.

    Parameters
    ----------
    path : Path
        A NIfTI file, a DICOM segmentation, or a folder with one NIfTI file for each vertebra.
    numbering : str
        Which vertebra each value is.
    volume : highdicom.Volume
        The scan.

    Raises
    ------
    LabelError
        The file is damaged or no label map, its vertebrae are out of order, or it lies outside of the scan.
    """
    if path.is_dir():
        return _read_folder(path, volume)
    warnings = list[str]()
    if is_nifti_name(path.name):
        affine, labels = read_label_map(path)
        levels, left_out = number_levels(path.name, value_centroids(affine, labels), numbering)
        warnings += left_out
    else:
        file = SegFile(path)
        named = {segment.number: level for segment in file.segments if (level := level_of_segment(segment))}
        if not named:
            raise LabelError(f"{path.name}: none of its segments is named after a vertebra; name them C1, C2 and so on")
        affine, labels = file.read(list(named))
        levels = dict(enumerate(named.values(), start=1))
    if missing := sorted(set(levels.values()) - set(TRUTH_NUMBERS)):
        warnings.append(f"{path.name}: {', '.join(missing)} have no number in the truth and were left out")
    table = np.zeros(256, np.uint8)
    for value, level in levels.items():
        table[value] = TRUTH_NUMBERS.get(level, 0)
    if not is_same_grid(affine, labels.shape, volume):
        warnings.append(_resampled(path.name, affine, volume))
    return VertebraLabels(lay_on_volume(path.name, affine, table[labels], volume, is_whole=True), tuple(warnings))


def _read_folder(folder: Path, volume: highdicom.Volume) -> VertebraLabels:
    """Read one file for each vertebra; data sets have empty ones of vertebrae that are not in the scan."""
    result, warnings = np.zeros(volume.spatial_shape, np.uint8), list[str]()
    centroids = dict[str, Floats]()
    for level, path in vertebra_files(folder).items():
        affine, labels = read_label_map(path)
        values = value_centroids(affine, labels)
        if len(values) > 1:
            raise LabelError(f"{path.name}: holds {len(values)} values, where a mask of one vertebra has one")
        if not values or level not in TRUTH_NUMBERS:
            continue
        (centroids[level],) = values.values()
        if not warnings and not is_same_grid(affine, labels.shape, volume):
            warnings.append(_resampled(path.name, affine, volume))
        mask = lay_on_volume(path.name, affine, (labels > 0).astype(np.uint8), volume, is_whole=True) > 0
        n_taken = int(np.count_nonzero(result[mask]))
        if n_taken:
            warnings.append(f"{path.name}: {n_taken} voxels are of another vertebra, too; they keep that one")
        result[mask & (result == 0)] = TRUTH_NUMBERS[level]
    check_order(folder.name, centroids)
    return VertebraLabels(result, tuple(warnings))


def is_same_grid(affine_lps: Floats, shape: tuple[int, ...], volume: highdicom.Volume) -> bool:
    """Return whether a label map has the voxels of a scan, whatever the order and direction of its axes."""
    to_labels = np.linalg.inv(affine_lps) @ np.asarray(volume.affine)
    last = np.array(volume.spatial_shape) - 1
    corners = np.array(np.meshgrid(*[(0, end) for end in last], indexing="ij")).reshape(3, -1)
    index = to_labels[:3, :3] @ corners + to_labels[:3, 3:]
    is_on_voxels = bool(np.all(np.abs(index - np.rint(index)) <= _MAX_OFFSET_VOXELS))
    is_whole = bool(np.allclose(index.min(axis=1), 0, atol=0.5) and np.allclose(index.max(axis=1) + 1, shape, atol=0.5))
    return is_on_voxels and is_whole and sorted(shape) == sorted(volume.spatial_shape)


def _resampled(name: str, affine_lps: Floats, volume: highdicom.Volume) -> str:
    """Return the sentence about a mask with other voxels than its scan."""
    sides = " x ".join(f"{side:.2f}" for side in np.linalg.norm(affine_lps[:3, :3], axis=0))
    scan = " x ".join(f"{side:.2f}" for side in volume.spacing)
    return f"{name}: has voxels of {sides} mm, the scan of {scan} mm; laid on the scan by nearest neighbor"


def describe_vertebrae(vertebrae: VertebraLabels, affine_lps: Floats) -> dict[str, dict[str, object]]:
    """Return number, centroid, volume and whether it is cut off, of each level.

    Parameters
    ----------
    vertebrae : VertebraLabels
        On the scan's voxels.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    """
    voxel_mm3 = abs(float(np.linalg.det(affine_lps[:3, :3])))
    cut = set(vertebrae.cut_levels)
    described = dict[str, dict[str, object]]()
    for level in vertebrae.levels:
        index = np.argwhere(vertebrae.labels == TRUTH_NUMBERS[level])
        centroid = affine_lps[:3, :3] @ index.mean(axis=0) + affine_lps[:3, 3]
        described[level] = {
            "number": TRUTH_NUMBERS[level],
            "centroid_lps_mm": [round(value, 2) for value in centroid.tolist()],
            "volume_mm3": round(len(index) * voxel_mm3, 1),
            "is_cut": level in cut,
        }
    return described


def read_body_centroids(path: Path, scan: Path) -> dict[str, list[float]]:
    """Return the centroids of vertebral bodies of VerSe, LPS mm by level.

    VerSe counts voxels of the image in the orientation that the file names: the letters are the directions in which
    indices grow.

    Parameters
    ----------
    path : Path
        A ``*_ctd.json``.
    scan : Path
        Its scan in NIfTI, whose affine places the voxels.

    Raises
    ------
    LabelError
        The file is damaged, or of another version.
    """
    wrong = f"{path.name}: holds no direction with labels and X, Y, Z, as VerSe's do; get the file again"
    levels = {number: level for level, number in TRUTH_NUMBERS.items()}
    try:
        head, *points = json.loads(path.read_text(encoding="utf-8"))
        direction = "".join(head["direction"])
        voxels = {int(point["label"]): [float(point[axis]) for axis in "XYZ"] for point in points}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabelError(wrong) from error
    file = SourceFile(scan, None, scan.name, scan.stat().st_size)
    grid = read_grid(file.name, open_nifti(file))
    volume = highdicom.Volume(np.broadcast_to(np.uint8(0), grid.shape), grid.affine_lps, "PATIENT")
    try:
        affine = np.asarray(volume.to_patient_orientation(direction).affine)
    except (ValueError, KeyError) as error:
        raise LabelError(wrong) from error
    return {
        levels[number]: [round(value, 2) for value in (affine[:3, :3] @ voxel + affine[:3, 3]).tolist()]
        for number, voxel in voxels.items()
        if number in levels
    }


def check_bodies(name: str, bodies: Mapping[str, list[float]], vertebrae: Mapping[str, dict[str, object]]) -> None:
    """Raise unless centroids of vertebral bodies lie by the masks of their levels.

    Raises
    ------
    LabelError
        One lies elsewhere: file and mask are not of one scan, or count otherwise.
    """
    for level in (level for level in bodies if level in vertebrae):
        center = np.asarray(vertebrae[level]["centroid_lps_mm"], np.float64)
        distance_mm = float(np.linalg.norm(center - bodies[level]))
        if distance_mm > _MAX_BODY_DISTANCE_MM:
            raise LabelError(f"{name}: its {level} lies {distance_mm:.0f} mm from the mask of {level}; check the files")
