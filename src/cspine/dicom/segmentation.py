"""Label maps in NIfTI, resampled to the voxels of a volume through both affines."""

import zlib
from pathlib import Path
from typing import Final

import highdicom
import numpy as np

from cspine.core.errors import InputError, LabelError
from cspine.core.storage.locations import as_path
from cspine.core.typing import Floats, Labels
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.dicom.nifti.files import open_nifti
from cspine.dicom.nifti.grid import NiftiGrid, read_grid
from cspine.dicom.sources import SourceFile

_ALIGNMENT_TOLERANCE: Final = 1e-3
"""Axes are parallel if a step along one changes the other index by less than this fraction of a voxel."""


_MIN_FRACTION_INSIDE: Final = 0.5
"""Least fraction of the labeled voxels that lies in a whole study; masks of bone may reach a little beyond it."""


def load_segmentation(path: str | Path, volume: highdicom.Volume, *, is_whole: bool = False) -> Labels:
    """Read a label map and resample it to a volume's voxels by nearest neighbor.

    Only the affines relate the two, whatever the order of the file's axes: the challenge's segmentations, for example,
    are stored sagittally.

    Parameters
    ----------
    path : str or Path
        A .nii or .nii.gz of integers from 0 to 255.
    volume : highdicom.Volume
        A volume of the study, in any orientation, cropped or subsampled.
    is_whole : bool
        Whether the volume holds the whole study, so that labels outside of it are an error.

    Returns
    -------
    uint8 array of the volume's shape
        Labels; 0 outside of the label map.

    Raises
    ------
    LabelError
        The file is damaged, holds values that are not labels, or does not overlap the volume; or the volume is whole
        and most labels lie outside of it.
    """
    path = as_path(path)
    affine_lps, labels = read_label_map(path)
    return lay_on_volume(path.name, affine_lps, labels, volume, is_whole=is_whole)


def lay_on_volume(
    name: str, affine_lps: Floats, labels: Labels, volume: highdicom.Volume, *, is_whole: bool = False
) -> Labels:
    """Resample a label map to a volume's voxels by nearest neighbor.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` of the label map to LPS mm.
    labels : (k, j, i) uint8
        The labels on voxels of their own.
    volume, is_whole
        As of `load_segmentation`, which returns and raises the same.
    """
    to_labels = (np.linalg.inv(affine_lps) @ volume.affine).astype(np.float64)
    if not _overlaps(to_labels, volume.spatial_shape, labels.shape):
        raise LabelError(f"{name}: lies outside the volume it is laid on; check that it belongs to this study")
    result = np.zeros(volume.spatial_shape, np.uint8)
    if _is_aligned(to_labels):
        _sample_aligned(labels, to_labels, result)
    else:
        _sample_nearest(labels, to_labels, result)
    if is_whole:
        scale = abs(float(np.linalg.det(to_labels[:3, :3])))  # voxels of the label map in one of the volume
        n_labeled, n_inside = np.count_nonzero(labels), np.count_nonzero(result) * scale
        if n_inside < _MIN_FRACTION_INSIDE * n_labeled:
            raise LabelError(
                f"{name}: {100 * (1 - n_inside / n_labeled):.0f} % of its labels lie outside the study; check "
                "that its affine is that of the study"
            )
    return result


def read_label_map(path: Path) -> tuple[Floats, Labels]:
    """Read a label map on its own voxels.

    Parameters
    ----------
    path : Path
        A .nii or .nii.gz of integers from 0 to 255.

    Returns
    -------
    affine_lps : (4, 4) float array
        Maps ``[k, j, i, 1]`` to LPS mm.
    labels : (k, j, i) uint8 array
        The labels, reoriented to that of an axial CT.

    Raises
    ------
    LabelError
        The file is missing or damaged, or holds values that are not labels.
    """
    with suppress_pydicom_warnings():
        grid, labels = _read(SourceFile(path, None, path.name, path.stat().st_size if path.is_file() else 0))
    return grid.affine_lps, labels


def _read(file: SourceFile) -> tuple[NiftiGrid, Labels]:
    """Return the grid of a label map and its labels, ``[k, j, i]``."""
    try:
        image = open_nifti(file)
        grid = read_grid(file.name, image)
        values = np.asanyarray(image.dataobj)
    except InputError as error:
        raise LabelError(str(error)) from error
    except (OSError, ValueError, EOFError, MemoryError, zlib.error) as error:
        raise LabelError(f"{file.name}: its labels cannot be read ({type(error).__name__}); copy it again") from error
    labels = values.reshape(values.shape[:3]).astype(np.uint8)
    if not np.array_equal(labels, values.reshape(values.shape[:3])):
        raise LabelError(f"{file.name}: holds other values than labels from 0 to 255; give a segmentation")
    return grid, grid.reorient(labels)


def _overlaps(to_labels: Floats, shape: tuple[int, ...], labels_shape: tuple[int, ...]) -> bool:
    """Return whether any point of a 9 x 9 x 9 lattice over the volume lies on the label map.

    `to_labels` maps the volume's ``[k, j, i, 1]`` to indices of the label map, here and below.
    """
    axes = [np.linspace(0, count - 1, 9) for count in shape]
    lattice = np.stack([*np.meshgrid(*axes, indexing="ij"), np.ones((9, 9, 9))]).reshape(4, -1)
    index = (to_labels @ lattice)[:3]
    return bool(np.any(np.all((index > -0.5) & (index < np.array(labels_shape)[:, None] - 0.5), axis=0)))


def _is_aligned(to_labels: Floats) -> bool:
    """Return whether each axis of the volume runs along one axis of the label map."""
    steps = np.abs(to_labels[:3, :3])
    is_parallel = np.all(np.sort(steps, axis=0)[:2] < _ALIGNMENT_TOLERANCE)
    return bool(is_parallel and len(set(steps.argmax(axis=0).tolist())) == 3)


def _sample_aligned(labels: Labels, to_labels: Floats, result: Labels) -> None:
    """Sample nearest labels along parallel axes: one vector of indices for each axis."""
    axes = np.abs(to_labels[:3, :3]).argmax(axis=0)
    transposed = labels.transpose(axes)
    targets, sources = [], []
    for axis, label_axis in enumerate(axes.tolist()):
        steps = to_labels[label_axis, axis] * np.arange(result.shape[axis])
        index = np.rint(steps + to_labels[label_axis, 3]).astype(np.intp)
        inside = np.flatnonzero((index >= 0) & (index < labels.shape[label_axis]))
        targets.append(inside)
        sources.append(index[inside])
    result[np.ix_(*targets)] = transposed[np.ix_(*sources)]


def _sample_nearest(labels: Labels, to_labels: Floats, result: Labels) -> None:
    """Sample the nearest label of each voxel, plane by plane to bound memory."""
    j, i = np.meshgrid(*[np.arange(count, dtype=np.float64) for count in result.shape[1:]], indexing="ij")
    columns = to_labels[:3, :, None, None]
    in_plane = columns[:, 1] * j + columns[:, 2] * i + columns[:, 3]
    limits = np.array(labels.shape)[:, None, None]
    for k in range(result.shape[0]):
        index = np.rint(in_plane + columns[:, 0] * k).astype(np.intp)
        inside = np.all((index >= 0) & (index < limits), axis=0)
        result[k][inside] = labels[tuple(index[:, inside])]
