"""Label maps in NIfTI on the voxels of their study, through both affines."""

import zlib
from pathlib import Path
from typing import Final

import highdicom
import numpy as np
import numpy.typing as npt

from cspine.core.errors import InputError, LabelError
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.dicom.nifti import NiftiGrid, open_nifti, read_grid
from cspine.dicom.sources import SourceFile

Labels = npt.NDArray[np.uint8]

_ALIGNED: Final = 1e-3
"""Axes count as parallel where a step along one moves the other by less than this fraction of a voxel."""


def load_segmentation(path: str | Path, volume: highdicom.Volume) -> Labels:
    """Read a label map onto a volume's voxels, each taking the nearest label.

    The challenge's segmentations store their arrays sagittally; their affines say how they lie, and only those count.

    Parameters
    ----------
    path : str or Path
        A .nii or .nii.gz of integers from 0 to 255.
    volume : highdicom.Volume
        Of the study, in any orientation, cropped or stepped.

    Returns
    -------
    uint8, the volume's shape
        0 where the label map does not reach.

    Raises
    ------
    LabelError
        The file is damaged, holds other values than labels, or lies outside the volume.
    """
    path = Path(path)
    affine_lps, labels = read_label_map(path)
    # From the volume's [k, j, i] to the label map's.
    index = (np.linalg.inv(affine_lps) @ volume.affine).astype(np.float64)
    if not _overlaps(index, volume.spatial_shape, labels.shape):
        raise LabelError(f"{path.name}: lies outside the volume it is laid on; check that it belongs to this study")
    result = np.zeros(volume.spatial_shape, np.uint8)
    if _is_aligned(index):
        _take_aligned(labels, index, result)
    else:
        _take_nearest(labels, index, result)
    return result


def read_label_map(path: Path) -> tuple[npt.NDArray[np.float64], Labels]:
    """Read a label map by itself.

    Parameters
    ----------
    path : Path
        A .nii or .nii.gz of integers from 0 to 255.

    Returns
    -------
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    labels : (k, j, i) uint8

    Raises
    ------
    LabelError
        The file is missing or damaged, or holds other values than labels.
    """
    with suppress_pydicom_warnings():
        grid, labels = _read(SourceFile(path, None, path.name, path.stat().st_size if path.is_file() else 0))
    return grid.affine_lps, labels


def _read(file: SourceFile) -> tuple[NiftiGrid, Labels]:
    """Return a label map's grid and its labels, ``[k, j, i]``."""
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
    return grid, grid.turn(labels)


def _overlaps(index: npt.NDArray[np.float64], shape: tuple[int, ...], labels: tuple[int, ...]) -> bool:
    """Tell whether any of a coarse lattice of the volume's voxels lies on the label map."""
    axes = [np.linspace(0, count - 1, 9) for count in shape]
    lattice = np.stack([*np.meshgrid(*axes, indexing="ij"), np.ones((9, 9, 9))]).reshape(4, -1)
    at = (index @ lattice)[:3]
    return bool(np.any(np.all((at > -0.5) & (at < np.array(labels)[:, None] - 0.5), axis=0)))


def _is_aligned(index: npt.NDArray[np.float64]) -> bool:
    """Tell whether each axis of the volume runs along one axis of the label map."""
    steps = np.abs(index[:3, :3])
    return bool(np.all(np.sort(steps, axis=0)[:2] < _ALIGNED) and len(set(steps.argmax(axis=0).tolist())) == 3)


def _take_aligned(labels: Labels, index: npt.NDArray[np.float64], result: Labels) -> None:
    """Take labels along axes that are parallel: a row of indices for each."""
    axes = np.abs(index[:3, :3]).argmax(axis=0)
    turned = labels.transpose(axes)
    inside, places = [], []
    for axis, along in enumerate(axes.tolist()):
        at = np.rint(index[along, axis] * np.arange(result.shape[axis]) + index[along, 3]).astype(np.intp)
        within = np.flatnonzero((at >= 0) & (at < labels.shape[along]))
        inside.append(within)
        places.append(at[within])
    result[np.ix_(*inside)] = turned[np.ix_(*places)]


def _take_nearest(labels: Labels, index: npt.NDArray[np.float64], result: Labels) -> None:
    """Take the nearest label of each voxel, plane by plane."""
    j, i = np.meshgrid(*[np.arange(count, dtype=np.float64) for count in result.shape[1:]], indexing="ij")
    in_plane = index[:3, 1, None, None] * j + index[:3, 2, None, None] * i + index[:3, 3, None, None]
    limits = np.array(labels.shape)[:, None, None]
    for k in range(result.shape[0]):
        at = np.rint(in_plane + index[:3, 0, None, None] * k).astype(np.intp)
        within = np.all((at >= 0) & (at < limits), axis=0)
        result[k][within] = labels[tuple(at[:, within])]
