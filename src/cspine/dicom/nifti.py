"""NIfTI volumes as series: one header for each slice, placed by the file's affine.

NIfTI counts in RAS+ and leaves the order of its axes open. The array is turned so that its indices run as an axial
CT's do, ``[k to the head, j to the back, i to the left]``, as nearly as its affine allows; nothing is resampled.
"""

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from typing import Any, Final

import nibabel as nib
import numpy as np
import numpy.typing as npt

from cspine.core.errors import DecodeError, DicomError
from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.header import MAX_FRAMES, MAX_SIDE, MAX_VOLUME_BYTES, SliceHeader, make_pixel_format
from cspine.dicom.codec.pixels import AIR_HU, Pixels, Window
from cspine.dicom.sources import SourceFile

_RAS_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNITS_MM: Final = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class NiftiGrid:
    """How a NIfTI array lies in space once its axes run ``[k, j, i]``.

    Attributes
    ----------
    shape : (int, int, int)
        Of ``[k, j, i]``.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    axes : (int, int, int)
        Which axis of the file's array is k, j, i.
    flips : (bool, bool, bool)
        Which of k, j, i run against the file's axis.
    """

    shape: tuple[int, int, int]
    affine_lps: npt.NDArray[np.float64]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def turn(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of the file's array with its axes as ``[k, j, i]``."""
        turned = array.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def is_nifti(file: SourceFile) -> bool:
    """Tell whether a file is NIfTI, by its name."""
    return file.name.lower().endswith((".nii", ".nii.gz"))


def nifti_stem(name: str) -> str:
    """Return a file's name without folders and ending, which the challenge makes the study's UID.

    >>> nifti_stem("segmentations/1.2.826.nii.gz")
    '1.2.826'
    """
    base = name.rsplit("/", 1)[-1]
    return base[: base.lower().rindex(".nii")]


def nifti_headers(file: SourceFile) -> tuple[SliceHeader, ...]:
    """Return one header for each axial slice of a NIfTI volume.

    Raises
    ------
    DicomError
        The file is damaged, is no volume of grey values, or nothing places it in space.
    """
    image = open_nifti(file)
    grid = read_grid(file.name, image)
    if not (np.issubdtype(image.get_data_dtype(), np.integer) or np.issubdtype(image.get_data_dtype(), np.floating)):
        raise DicomError(f"{file.name}: holds {image.get_data_dtype()} values, not grey ones; export Hounsfield units")
    count, rows, columns = grid.shape
    step_j, step_i = grid.affine_lps[:3, 1], grid.affine_lps[:3, 2]
    spacing = float(np.linalg.norm(step_j)), float(np.linalg.norm(step_i))
    orientation = (*(step_i / spacing[1]).tolist(), *(step_j / spacing[0]).tolist())
    pixels = make_pixel_format(16, 16, 15, signed=True, rescale=(1.0, 0.0), padding=None)
    stem = nifti_stem(file.name)
    return tuple(
        SliceHeader(
            file=file,
            study_instance_uid=stem,
            series_instance_uid=stem,
            sop_instance_uid="",
            patient_id=None,
            sop_class_uid=None,
            modality=None,
            image_type=(),
            frame_of_reference_uid=None,
            series_number=None,
            acquisition_number=None,
            instance_number=k + 1,
            transfer_syntax_uid=NIFTI,
            rows=rows,
            columns=columns,
            frame=k,
            frames=count,
            samples_per_pixel=1,
            photometric_interpretation=None,
            pixel_spacing_mm=spacing,
            position_mm=_point(grid.affine_lps, k),
            orientation=orientation,
            slice_thickness_mm=None,
            gantry_tilt_deg=None,
            kernel=None,
            manufacturer=None,
            rescale_type=None,
            pixel_format=pixels,
            pixels_at=None,
            pixels_length=None,
            missing=(),
        )
        for k in range(count)
    )


@dataclass(frozen=True)
class NiftiArray:
    """A NIfTI volume's stored values ``[k, j, i]`` and what scales them; not copied from the file where it is plain."""

    stored: npt.NDArray[Any]
    slope: float
    intercept: float


def read_array(file: SourceFile) -> NiftiArray:
    """Read a volume's stored values.

    Raises
    ------
    DecodeError
        The file is cut off or damaged.
    """
    try:
        image = open_nifti(file)
        stored = np.asanyarray(image.dataobj.get_unscaled())
    except (DicomError, OSError, ValueError, EOFError, MemoryError, zlib.error) as error:
        raise DecodeError(f"{file.name}: its values cannot be read ({type(error).__name__}); copy it again") from error
    proxy = image.dataobj
    return NiftiArray(
        read_grid(file.name, image).turn(stored.reshape(stored.shape[:3])), float(proxy.slope), float(proxy.inter)
    )


def nifti_hu(volume: NiftiArray, k: int, window: Window, out: Pixels) -> None:
    """Write one slice as Hounsfield units, rounded and clipped to int16; what is no number becomes `AIR_HU`."""
    stored = window.cut(volume.stored[k])
    if stored.dtype == np.int16 and volume.slope == 1.0 and volume.intercept == 0.0:
        np.copyto(out, stored)
        return
    values = stored.astype(np.float64) * volume.slope + volume.intercept
    limits = np.iinfo(np.int16)
    np.copyto(out, np.rint(np.clip(np.nan_to_num(values, nan=AIR_HU), limits.min, limits.max)), casting="unsafe")


def read_grid(name: str, image: Any) -> NiftiGrid:  # noqa: ANN401 - nibabel has no types
    """Return how a NIfTI image lies in space.

    Raises
    ------
    DicomError
        It is no single volume, is absurdly large, or its affine does not place it.
    """
    shape = image.shape[:3]
    if len(shape) != 3 or any(extra != 1 for extra in image.shape[3:]) or min(image.shape) < 1:
        raise DicomError(f"{name}: is {' x '.join(map(str, image.shape))} voxels; export one three-dimensional volume")
    if max(shape) > max(MAX_FRAMES, MAX_SIDE):
        raise DicomError(f"{name}: is {' x '.join(map(str, shape))} voxels, which no CT is; check the file")
    header = image.header
    size = math.prod(shape) * int(header["bitpix"]) // 8
    if size > MAX_VOLUME_BYTES:
        raise DicomError(
            f"{name}: would take {size / 2**30:.1f} GiB, at most {MAX_VOLUME_BYTES / 2**30:.0f} GiB are read; crop it"
        )
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise DicomError(f"{name}: has neither sform nor qform, so nothing places it in space; export it again")
    affine = _RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64)
    affine[:3] *= _UNITS_MM.get(header.get_xyzt_units()[0], 1.0)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.all(np.isfinite(affine)) or np.any(sides <= 0.0):
        raise DicomError(f"{name}: its affine does not place it in space; export it again")
    # Which axis of the file runs most nearly along each axis of the patient, each taken once.
    ornt = nib.orientations.io_orientation(affine)
    if np.any(np.isnan(ornt)):
        raise DicomError(f"{name}: its affine does not place it in space; export it again")
    along = {int(patient): (axis, direction < 0) for axis, (patient, direction) in enumerate(ornt)}
    axes = tuple(along[patient][0] for patient in (2, 1, 0))
    flips = tuple(along[patient][1] for patient in (2, 1, 0))
    turned = np.eye(4)
    turned[:3, 3] = affine[:3, 3]
    for place, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        turned[:3, place] = -affine[:3, axis] if flip else affine[:3, axis]
        if flip:
            turned[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
    sizes = tuple(int(shape[axis]) for axis in axes)
    return NiftiGrid(sizes, turned, axes, flips)  # type: ignore[arg-type]  # three of each


def open_nifti(file: SourceFile) -> Any:  # noqa: ANN401 - nibabel has no types
    """Open a NIfTI file, reading its header only.

    Raises
    ------
    DicomError
        It is none, or damaged.
    """
    try:
        if file.member is None:
            return nib.load(file.container)
        stream: Any = io.BytesIO(file.read())
        if file.name.lower().endswith(".gz"):
            stream = gzip.GzipFile(fileobj=stream)
        size = int.from_bytes(stream.read(4), "little")
        stream.seek(0)
        return (nib.Nifti2Image if size == 540 else nib.Nifti1Image).from_stream(stream)
    except Exception as error:  # nibabel raises whatever its parts raise
        raise DicomError(f"{file.name}: is no readable NIfTI ({type(error).__name__}); copy it again") from error


def _point(affine: npt.NDArray[np.float64], k: int) -> tuple[float, float, float]:
    x, y, z = (affine[:3, 3] + affine[:3, 0] * k).tolist()
    return x, y, z
