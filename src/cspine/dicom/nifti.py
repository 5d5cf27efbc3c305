"""NIfTI volumes as series: one header for each slice, positioned by the file's affine.

NIfTI uses RAS+ coordinates and any order of axes. The array is permuted and flipped to the nearest orientation of an
axial CT, ``[k to the head, j to the back, i to the left]``; nothing is resampled.
"""

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.core.errors import DecodeError, DicomError
from cspine.core.extras import require_extra
from cspine.core.typing import Floats, HounsfieldUnits
from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.header import MAX_FRAMES, MAX_SIDE, MAX_VOLUME_BYTES, SliceHeader, make_pixel_format
from cspine.dicom.codec.pixels import PixelRegion
from cspine.dicom.hounsfield import AIR_HU
from cspine.dicom.sources import SourceFile

_MAX_SIDE: Final = max(MAX_FRAMES, MAX_SIDE)
_RAS_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
_GZIP_MAGIC: Final = b"\x1f\x8b"
_UNITS_MM: Final = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


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
    """

    shape: tuple[int, int, int]
    affine_lps: Floats
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def reorient(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of the file's array with its axes as ``[k, j, i]``."""
        transposed = array.transpose(self.axes)
        return transposed[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def is_nifti(file: SourceFile) -> bool:
    """Return whether a file is NIfTI, by its name."""
    return file.name.lower().endswith((".nii", ".nii.gz"))


def nifti_stem(name: str) -> str:
    """Return a file's name without folders and extension, which the challenge sets to the StudyInstanceUID.

    >>> nifti_stem("segmentations/1.2.826.nii.gz")
    '1.2.826'
    """
    base = name.rsplit("/", 1)[-1]
    return base[: base.lower().rindex(".nii")]


def nifti_headers(file: SourceFile) -> tuple[SliceHeader, ...]:
    """Return one header for each axial slice of a NIfTI volume.

    Parameters
    ----------
    file : SourceFile
        A .nii or .nii.gz file.

    Returns
    -------
    tuple of SliceHeader
        Sorted toward the head. What NIfTI does not hold, such as the modality, is None.

    Raises
    ------
    DicomError
        The file is damaged, is not a volume of gray values, or has no affine to LPS mm.
    """
    image = open_nifti(file)
    grid = read_grid(file.name, image)
    if not (np.issubdtype(image.get_data_dtype(), np.integer) or np.issubdtype(image.get_data_dtype(), np.floating)):
        raise DicomError(f"{file.name}: holds {image.get_data_dtype()} values, not gray ones; export Hounsfield units")
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
            position_mm=_slice_position(grid.affine_lps, k),
            orientation=orientation,
            slice_thickness_mm=None,
            gantry_tilt_deg=None,
            kernel=None,
            manufacturer=None,
            rescale_type=None,
            pixel_format=pixels,
            pixel_data_offset=None,
            pixel_data_length=None,
            missing=(),
        )
        for k in range(count)
    )


@dataclass(frozen=True)
class NiftiArray:
    """The stored values of a NIfTI volume, memory-mapped where the file is not compressed.

    Attributes
    ----------
    stored : (k, j, i) array
        Values as stored, before slope and intercept.
    slope, intercept : float
        HU is ``stored * slope + intercept``.
    """

    stored: npt.NDArray[Any]
    slope: float
    intercept: float


def read_nifti_array(file: SourceFile) -> NiftiArray:
    """Read the stored values of a NIfTI volume.

    Parameters
    ----------
    file
        As of `nifti_headers`.

    Raises
    ------
    DecodeError
        The file is truncated or damaged.
    """
    try:
        image = open_nifti(file)
        stored = np.asanyarray(image.dataobj.get_unscaled())
    except (DicomError, OSError, ValueError, EOFError, MemoryError, zlib.error) as error:
        raise DecodeError(f"{file.name}: its values cannot be read ({type(error).__name__}); copy it again") from error
    proxy = image.dataobj
    array = read_grid(file.name, image).reorient(stored.reshape(stored.shape[:3]))
    return NiftiArray(array, float(proxy.slope), float(proxy.inter))


def write_nifti_hu(volume: NiftiArray, k: int, region: PixelRegion, out: HounsfieldUnits) -> None:
    """Write one slice as Hounsfield units, rounded and clipped to int16; NaN becomes `AIR_HU`.

    Parameters
    ----------
    volume : NiftiArray
        Stored values of the file, with slope and intercept.
    k : int
        Index of the slice.
    region : PixelRegion
        Rows and columns to keep.
    out : int16 array of the region's shape
        Array to write to.
    """
    stored = region.crop(volume.stored[k])
    if stored.dtype == np.int16 and volume.slope == 1.0 and volume.intercept == 0.0:
        np.copyto(out, stored)
        return
    values = stored.astype(np.float64) * volume.slope + volume.intercept
    limits = np.iinfo(np.int16)
    np.copyto(out, np.rint(np.clip(np.nan_to_num(values, nan=AIR_HU), limits.min, limits.max)), casting="unsafe")


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
    affine = _affine_lps(name, image)
    ornt = _nibabel().orientations.io_orientation(affine)
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
    return NiftiGrid(sizes, reoriented, axes, flips)  # type: ignore[arg-type]  # three of each


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


def _affine_lps(name: str, image: Any) -> Floats:  # noqa: ANN401 - nibabel has no types
    """Return the affine from the file's indices to LPS mm."""
    header = image.header
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise DicomError(f"{name}: has neither sform nor qform, so nothing places it in space; export it again")
    affine = _RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64)
    affine[:3] *= _UNITS_MM.get(header.get_xyzt_units()[0], 1.0)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.all(np.isfinite(affine)) or np.any(sides <= 0.0):
        raise DicomError(f"{name}: its affine does not place it in space; export it again")
    return affine


def open_nifti(file: SourceFile) -> Any:  # noqa: ANN401 - nibabel has no types
    """Open a NIfTI file, reading its header only.

    Parameters
    ----------
    file : SourceFile
        A .nii or .nii.gz file, which may lie in a zip.

    Returns
    -------
    nibabel.Nifti1Image or nibabel.Nifti2Image

    Raises
    ------
    DicomError
        The file is not NIfTI, or damaged.
    SourceError, ArchiveError
        The file cannot be read.
    MissingExtraError
        The extra ``nifti`` is not installed.
    """
    nib = _nibabel()
    head = file.read(2)
    if not head:
        raise DicomError(f"{file.name}: is empty; copy it again")
    is_compressed = head == _GZIP_MAGIC
    try:
        if not file.is_packed and is_compressed == file.name.lower().endswith(".gz"):
            return nib.load(file.container)
        stream: Any = io.BytesIO(file.read())  # in an archive, or with an ending that is not true
        if is_compressed:
            stream = gzip.GzipFile(fileobj=stream)
        size = stream.read(4)
        stream.seek(0)
        is_second = 540 in {int.from_bytes(size, "little"), int.from_bytes(size, "big")}
        return (nib.Nifti2Image if is_second else nib.Nifti1Image).from_stream(stream)
    except Exception as error:  # nibabel raises errors of any type on damaged files
        raise DicomError(f"{file.name}: is not a readable NIfTI ({type(error).__name__}); copy it again") from error


def _nibabel() -> Any:  # noqa: ANN401 - nibabel has no types
    """Import nibabel on first use; it is an extra, and DICOM does not need it."""
    require_extra("nifti")
    import nibabel  # noqa: PLC0415 - an extra

    return nibabel


def _slice_position(affine: Floats, k: int) -> tuple[float, float, float]:
    x, y, z = (affine[:3, 3] + affine[:3, 0] * k).tolist()
    return x, y, z
