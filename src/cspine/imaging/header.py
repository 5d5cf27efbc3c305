"""What one DICOM file says of itself, read without its pixels."""

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from cspine.errors import DicomError
from cspine.imaging.source import SourceFile

HEADER_BYTES: Final = 64 * 1024
"""Read first; nearly every CT header ends before."""

_TAGS: Final = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "Modality", "ImageType",
    "FrameOfReferenceUID", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "InstanceNumber", "SliceThickness", "ConvolutionKernel", "RescaleSlope", "RescaleIntercept", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "SamplesPerPixel",
    "PhotometricInterpretation", "NumberOfFrames", "GantryDetectorTilt", "Manufacturer", "SeriesNumber",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One image's facts. What the file lacks is None; lengths are in mm, vectors in LPS.

    Attributes
    ----------
    pixel_spacing_mm : (row spacing, column spacing)
        DICOM's PixelSpacing: the distance between rows comes first.
    orientation : six direction cosines
        Along a row (index i grows), then along a column (index j grows).
    """

    file: SourceFile
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    patient_id: str | None
    sop_class_uid: str | None
    modality: str | None
    image_type: tuple[str, ...]
    frame_of_reference_uid: str | None
    series_number: int | None
    instance_number: int | None
    transfer_syntax_uid: str
    rows: int | None
    columns: int | None
    frames: int
    samples_per_pixel: int
    pixel_spacing_mm: tuple[float, float] | None
    position_mm: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    slice_thickness_mm: float | None
    gantry_tilt_deg: float | None
    kernel: str | None
    manufacturer: str | None
    missing: tuple[str, ...]


def read_header(file: SourceFile) -> SliceHeader:
    """Read the header of one DICOM file.

    Parameters
    ----------
    file : SourceFile
        What to read.

    Returns
    -------
    SliceHeader

    Raises
    ------
    DicomError
        The file is not DICOM, is cut off within its header, or holds values that are not what their tag promises.
    SourceError, ArchiveError
        The file cannot be read.
    """
    head = file.read(HEADER_BYTES)
    whole = len(head) >= file.size
    try:
        return _to_header(file, parse(file, head, tags=_TAGS, complete=whole))
    except _Cut:
        return _to_header(file, parse(file, file.read(), tags=_TAGS, complete=True))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings about odd values away: they quote the values, and we judge those we need by name.

    Held around whole loops, because switching warnings off is not safe inside several threads.
    """
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _Cut(Exception):  # noqa: N818 - a signal, not an error
    """The bytes ended inside the header."""


def parse(
    file: SourceFile, data: bytes, *, tags: tuple[str, ...] = (), complete: bool = True, pixels: bool = False
) -> FileDataset:
    """Parse DICOM bytes, with or without the DICOM preamble.

    Parameters
    ----------
    file : SourceFile
        Named in errors.
    data : bytes
        The file's content or its beginning.
    tags : tuple of str
        Keywords to keep; all where empty.
    complete : bool
        Whether `data` is the whole file.
    pixels : bool
        Whether to read pixel data too.

    Raises
    ------
    DicomError
        As `read_header` says.
    """
    stream = io.BytesIO(data)
    force = not (len(data) > 132 and data[128:132] == b"DICM")
    if force and not _looks_like_a_data_set(data):
        raise DicomError(f"{file.name}: is not a DICOM file; take it out of the folder or give the right one")
    try:
        dataset = pydicom.dcmread(stream, force=force, stop_before_pixels=not pixels, specific_tags=list(tags) or None)
        if not complete and stream.tell() >= len(data):
            raise _Cut
        if not len(dataset):
            raise DicomError(f"{file.name}: holds no DICOM elements; it is cut off or not DICOM, copy it again")
        return dataset
    except _Cut:
        raise
    except DicomError:
        raise
    except (InvalidDicomError, EOFError, OSError, ValueError, TypeError, KeyError, AttributeError, struct.error,
            NotImplementedError, RecursionError, zlib.error) as error:  # fmt: skip
        if not complete:
            raise _Cut from error
        raise DicomError(f"{file.name}: the header cannot be read ({_brief(error)}); copy the file again") from error


def _looks_like_a_data_set(data: bytes) -> bool:
    """Tell whether bytes without a preamble begin with a low DICOM group, as every bare data set does."""
    if len(data) < 8:
        return False
    group, element = struct.unpack_from("<HH", data)
    return group in {0x0002, 0x0008} and element <= 0x0030


def _to_header(file: SourceFile, dataset: FileDataset) -> SliceHeader:
    get = _Values(file, dataset)
    study, series, sop = (get.text(f"{part}InstanceUID") for part in ("Study", "Series", "SOP"))
    meta = getattr(dataset, "file_meta", None)
    syntax = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    if not syntax:
        syntax = str(pydicom.uid.ImplicitVRLittleEndian if get.implicit else pydicom.uid.ExplicitVRLittleEndian)
    spacing = get.numbers("PixelSpacing", 2)
    return SliceHeader(
        file=file,
        study_instance_uid=study or "",
        series_instance_uid=series or "",
        sop_instance_uid=sop or "",
        patient_id=get.text("PatientID"),
        sop_class_uid=get.text("SOPClassUID")
        or (str(meta.get("MediaStorageSOPClassUID", "")) or None if meta else None),
        modality=get.text("Modality"),
        image_type=get.texts("ImageType"),
        frame_of_reference_uid=get.text("FrameOfReferenceUID"),
        series_number=get.integer("SeriesNumber"),
        instance_number=get.integer("InstanceNumber"),
        transfer_syntax_uid=syntax,
        rows=get.integer("Rows"),
        columns=get.integer("Columns"),
        frames=get.integer("NumberOfFrames") or 1,
        samples_per_pixel=get.integer("SamplesPerPixel") or 1,
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing else None,
        position_mm=_triple(get.numbers("ImagePositionPatient", 3)),
        orientation=get.numbers("ImageOrientationPatient", 6),
        slice_thickness_mm=get.number("SliceThickness"),
        gantry_tilt_deg=get.number("GantryDetectorTilt"),
        kernel=" ".join(get.texts("ConvolutionKernel")) or None,
        manufacturer=get.text("Manufacturer"),
        missing=tuple(tag for tag in _EXPECTED if dataset.get(tag) in (None, "")),
    )


_EXPECTED: Final = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality", "FrameOfReferenceUID",
    "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber",
    "SliceThickness", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip


class _Values:
    """Values by keyword; None where missing, `DicomError` where not what the tag promises."""

    def __init__(self, file: SourceFile, dataset: FileDataset) -> None:
        self._file = file
        self._dataset = dataset
        self.implicit = bool(getattr(dataset, "original_encoding", (False, True))[0])

    def _raw(self, tag: str) -> Any:  # noqa: ANN401 - whatever the file holds
        try:
            return self._dataset.get(tag)
        except Exception as error:
            raise self._odd(tag) from error

    def _odd(self, tag: str) -> DicomError:
        return DicomError(f"{self._file.name}: {tag} is not valid; have the file exported again")

    def text(self, tag: str) -> str | None:
        value = self._raw(tag)
        return str(value).strip() or None if value is not None else None

    def texts(self, tag: str) -> tuple[str, ...]:
        value = self._raw(tag)
        if value is None:
            return ()
        return (value,) if isinstance(value, str) else tuple(str(part) for part in value)

    def integer(self, tag: str) -> int | None:
        value = self.number(tag)
        return None if value is None else int(value)

    def number(self, tag: str) -> float | None:
        value = self._raw(tag)
        if value is None or value == "":
            return None
        numbers = self._floats(tag, value)
        return numbers[0] if numbers else None

    def numbers(self, tag: str, count: int) -> tuple[float, ...] | None:
        value = self._raw(tag)
        if value is None or value == "":
            return None
        numbers = self._floats(tag, value)
        if len(numbers) != count:
            raise self._odd(tag)
        return numbers

    def _floats(self, tag: str, value: Any) -> tuple[float, ...]:  # noqa: ANN401 - whatever the file holds
        try:
            parts = value if hasattr(value, "__iter__") and not isinstance(value, str) else (value,)
            numbers = tuple(float(part) for part in parts)
        except (TypeError, ValueError) as error:
            raise self._odd(tag) from error
        if not all(math.isfinite(number) for number in numbers):
            raise self._odd(tag)
        return numbers


def _triple(numbers: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    return (numbers[0], numbers[1], numbers[2]) if numbers else None


def _brief(error: Exception) -> str:
    """Return the kind of an error; its text may quote values of the file, which may be personal."""
    return type(error).__name__
