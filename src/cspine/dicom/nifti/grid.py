"""The voxel grid of a NIfTI image, with its axes reordered to those of an axial CT."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.core.errors import DicomError
from cspine.core.typing import Floats
from cspine.dicom.codec.header import MAX_FRAMES, MAX_SIDE, MAX_VOLUME_BYTES
from cspine.dicom.nifti.files import nibabel_module
from cspine.dicom.nifti.forms import choose_affine

_MAX_SIDE: Final = max(MAX_FRAMES, MAX_SIDE)


@dataclass(frozen=True)
class NiftiGrid:
    """Geometry of a NIfTI array after its axes are reordered to ``[k, j, i]``.

    Attributes
    ----------
    shape : (int, int, int)
        Number of voxels along k, j and i.
    affine_lps : (4, 4) float array
        Maps ``[k, j, i, 1]`` to LPS mm.
    axes : (int, int, int)
        Axis of the file's array that becomes k, j and i.
    flips : (bool, bool, bool)
        Whether k, j and i run opposite to the file's axis.
    warnings : tuple of str
        Sentences about what places the file, of `cspine.dicom.nifti.forms.choose_affine`.
    """

    shape: tuple[int, int, int]
    affine_lps: Floats
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    warnings: tuple[str, ...] = ()

    def reorient(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of the file's array with its axes as ``[k, j, i]``."""
        transposed = array.transpose(self.axes)
        return transposed[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def read_grid(name: str, image: Any) -> NiftiGrid:  # noqa: ANN401 - nibabel has no types
    """Return the geometry of a NIfTI image.

    Parameters
    ----------
    name : str
        The file's name in error messages.
    image : nibabel image
        The file as nibabel opened it.

    Returns
    -------
    NiftiGrid

    Raises
    ------
    DicomError
        The image is not a single volume, is too large for a CT, or has no usable affine.
    """
    shape = _checked_shape(name, image)
    chosen = choose_affine(name, image)
    affine = chosen.lps
    ornt = nibabel_module().orientations.io_orientation(affine)
    if np.any(np.isnan(ornt)):
        raise DicomError(f"{name}: its affine does not place it in space; export it again")
    # The file's axis nearest to each axis of the patient; each is used once.
    nearest = {int(patient): (axis, direction < 0) for axis, (patient, direction) in enumerate(ornt)}
    axes = tuple(nearest[patient][0] for patient in (2, 1, 0))
    flips = tuple(nearest[patient][1] for patient in (2, 1, 0))
    reoriented = np.eye(4)
    reoriented[:3, 3] = affine[:3, 3]
    for column, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        reoriented[:3, column] = -affine[:3, axis] if flip else affine[:3, axis]
        if flip:
            reoriented[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
    sizes = tuple(int(shape[axis]) for axis in axes)
    return NiftiGrid(sizes, reoriented, axes, flips, chosen.warnings)  # type: ignore[arg-type]  # three of each


def _checked_shape(name: str, image: Any) -> tuple[int, ...]:  # noqa: ANN401 - nibabel has no types
    """Return the three sizes of an image, in the file's order, after checking that they are those of a CT."""
    shape = image.shape[:3]
    if len(shape) != 3 or any(extra != 1 for extra in image.shape[3:]) or min(image.shape) < 1:
        raise DicomError(f"{name}: is {' x '.join(map(str, image.shape))} voxels; export one three-dimensional volume")
    if max(shape) > _MAX_SIDE:
        raise DicomError(f"{name}: is {' x '.join(map(str, shape))} voxels, which no CT is; check the file")
    size = math.prod(shape) * int(image.header["bitpix"]) // 8
    if size > MAX_VOLUME_BYTES:
        raise DicomError(
            f"{name}: would take {size / 2**30:.1f} GiB, at most {MAX_VOLUME_BYTES / 2**30:.0f} GiB are read; crop it"
        )
    return tuple(shape)
