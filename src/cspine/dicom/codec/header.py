"""What one DICOM file says of itself, read without its pixels."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, Final

from pydicom.datadict import tag_for_keyword

from cspine.core.errors import DicomError
from cspine.dicom.codec.dataset import elements_by_pydicom, looks_like_dicom
from cspine.dicom.codec.elements import MAX_NESTING, MEDIA_CLASS, Cut, Elements, Raw, TooDeep, Unusual, walk
from cspine.dicom.codec.values import OddValueError, Values
from cspine.dicom.sources import SourceFile

READ_BYTES: Final = (16 * 1024, 1024 * 1024, 64 * 1024 * 1024)
"""What is read of a file in search of its header's end; nearly every CT header ends within the first."""

MAX_SIDE: Final = 8192
"""Rows or columns of an image; the finest CT has 2048."""

MAX_FRAMES: Final = 20_000
"""Frames of one file; a CT of 2 m at 0.25 mm has 8,000."""

MAX_VOLUME_BYTES: Final = 8 * 2**30
"""A larger volume is refused before memory is asked for; the challenge's largest is 1.3 GB."""

_ABSURD: Final = 1e6
"""No slope or intercept of a CT comes near it."""

MULTI_FRAME_CT: Final = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""Enhanced CT, and legacy converted enhanced CT."""

_TAGS: Final = {
    keyword: tag_for_keyword(keyword) or 0
    for keyword in (
        "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "Manufacturer", "PatientID",
        "SliceThickness", "GantryDetectorTilt", "ConvolutionKernel", "StudyInstanceUID", "SeriesInstanceUID",
        "SeriesNumber", "AcquisitionNumber", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient",
        "FrameOfReferenceUID", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
        "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
        "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope", "RescaleType",
    )
}  # fmt: skip
_TAGS["MediaStorageSOPClassUID"] = MEDIA_CLASS
_WANTED: Final = frozenset(_TAGS.values())


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How stored pixel values are written, and what they mean in Hounsfield units.

    Attributes
    ----------
    high_bit : int
        The place of the stored bits' highest one within the allocated bits, counted from 0.
    padding : (int, int) or None
        The first and last stored value that stands for no measurement.
    """

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    slope: float
    intercept: float
    padding: tuple[int, int] | None

    @property
    def shift(self) -> int:
        """How many bits lie below the stored ones; retired, but met in old files."""
        return self.high_bit + 1 - self.bits_stored


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One image's facts. What the file lacks is None; lengths are in mm, vectors in LPS.

    Attributes
    ----------
    pixel_spacing_mm : (row spacing, column spacing)
        DICOM's PixelSpacing: the distance between rows comes first.
    orientation : six direction cosines
        Along a row (index i grows), then along a column (index j grows).
    rescale_type : str or None
        What the rescaled values are; ``"HU"`` or None but for images of other things than attenuation.
    frame, frames : int
        Which frame of the file this is, from 0, and how many the file holds.
    pixels_at, pixels_length : int or None
        Where in the file the pixel data begin and how long they are, as in `Elements`.
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
    acquisition_number: int | None
    instance_number: int | None
    transfer_syntax_uid: str
    rows: int | None
    columns: int | None
    frame: int
    frames: int
    samples_per_pixel: int
    photometric_interpretation: str | None
    pixel_spacing_mm: tuple[float, float] | None
    position_mm: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    slice_thickness_mm: float | None
    gantry_tilt_deg: float | None
    kernel: str | None
    manufacturer: str | None
    rescale_type: str | None
    pixel_format: PixelFormat
    pixels_at: int | None
    pixels_length: int | None
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
        Of an enhanced multi-frame file, what holds for the whole file.

    Raises
    ------
    DicomError
        The file is not DICOM, is cut off within its header, holds values that are not what their tag promises, or
        declares an image of absurd size.
    SourceError, ArchiveError
        The file cannot be read.
    """
    return _to_header(file, _read_elements(file))


class _Quiet:
    """Switches the libraries' warnings off for as long as any thread asks for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._askers = 0
        self._before = ExitStack()

    def begin(self) -> None:
        with self._lock:
            self._askers += 1
            if self._askers > 1:
                return
            self._before.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            for name in ("pydicom", "nibabel.global"):
                logger = logging.getLogger(name)
                self._before.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.CRITICAL + 1)

    def end(self) -> None:
        with self._lock:
            self._askers -= 1
            if not self._askers:
                self._before.close()


_QUIET: Final = _Quiet()


@contextmanager
def suppress_pydicom_warnings() -> Iterator[None]:
    """Keep the libraries' warnings about odd values away: they quote the values, and we judge those we need by name.

    Warnings are the whole process's: they come back when the last thread that asked for quiet is done.
    """
    _QUIET.begin()
    try:
        yield
    finally:
        _QUIET.end()


def _read_elements(file: SourceFile) -> Elements:
    """Read ever more of the file until its header is whole."""
    for limit in READ_BYTES:
        data = file.read(limit)
        if not looks_like_dicom(data):
            raise DicomError(f"{file.name}: is not a DICOM file; take it out of the folder or give the right one")
        complete = len(data) >= file.size
        try:
            return _parse(file, data, complete=complete)
        except Cut:
            continue
    raise DicomError(f"{file.name}: its header is longer than {READ_BYTES[-1] >> 20} MiB, which no CT has; take it out")


def _parse(file: SourceFile, data: bytes, *, complete: bool) -> Elements:
    try:
        return walk(data, _WANTED, complete=complete)
    except TooDeep:
        raise DicomError(
            f"{file.name}: nests sequences more than {MAX_NESTING} deep, which no CT does; take it out"
        ) from None
    except Cut:
        if not complete:
            raise
    except Unusual:
        pass
    return elements_by_pydicom(file, data, _WANTED, complete=complete)


def _to_header(file: SourceFile, elements: Elements) -> SliceHeader:
    own = Values(elements.values, _TAGS)
    shared = frozenset(item for item in elements.values.items() if item[0] not in _OWN)
    try:
        position = own.numbers("ImagePositionPatient", 3)
        header = SliceHeader(
            file=file,
            sop_instance_uid=own.text("SOPInstanceUID") or "",
            instance_number=own.integer("InstanceNumber"),
            transfer_syntax_uid=elements.transfer_syntax_uid,
            frame=0,
            position_mm=(position[0], position[1], position[2]) if position else None,
            pixels_at=elements.pixels_at,
            pixels_length=elements.pixels_length,
            missing=tuple(keyword for keyword in _EXPECTED if not own.has(keyword)),
            **_shared_facts(shared),
        )
    except OddValueError as error:
        raise DicomError(f"{file.name}: {error} is not valid; have the file exported again") from None
    _check_size(file, header.rows, header.columns, header.frames)
    return header


@lru_cache(maxsize=64)
def _shared_facts(values: frozenset[tuple[int, Raw]]) -> dict[str, Any]:
    """Return what most slices of a series have in common, worked out once for all of them."""
    get = Values(dict(values), _TAGS)
    spacing = get.numbers("PixelSpacing", 2)
    return {
        "study_instance_uid": get.text("StudyInstanceUID") or "",
        "series_instance_uid": get.text("SeriesInstanceUID") or "",
        "patient_id": get.text("PatientID"),
        "sop_class_uid": get.text("SOPClassUID") or get.text("MediaStorageSOPClassUID"),
        "modality": get.text("Modality"),
        "image_type": get.texts("ImageType"),
        "frame_of_reference_uid": get.text("FrameOfReferenceUID"),
        "series_number": get.integer("SeriesNumber"),
        "acquisition_number": get.integer("AcquisitionNumber"),
        "rows": get.integer("Rows"),
        "columns": get.integer("Columns"),
        "frames": get.integer("NumberOfFrames") or 1,
        "samples_per_pixel": get.integer("SamplesPerPixel") or 1,
        "photometric_interpretation": get.text("PhotometricInterpretation"),
        "pixel_spacing_mm": (spacing[0], spacing[1]) if spacing else None,
        "orientation": get.numbers("ImageOrientationPatient", 6),
        "slice_thickness_mm": get.number("SliceThickness"),
        "gantry_tilt_deg": get.number("GantryDetectorTilt"),
        "kernel": " ".join(get.texts("ConvolutionKernel")) or None,
        "manufacturer": get.text("Manufacturer"),
        "rescale_type": get.text("RescaleType"),
        "pixel_format": _pixel_format(get),
    }


_OWN: Final = frozenset(_TAGS[keyword] for keyword in ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient"))
"""What differs from slice to slice."""

_EXPECTED: Final = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality", "FrameOfReferenceUID",
    "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber",
    "SliceThickness", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip


def _check_size(file: SourceFile, rows: int | None, columns: int | None, frames: int) -> None:
    for name, value, most in (("Rows", rows, MAX_SIDE), ("Columns", columns, MAX_SIDE), ("Frames", frames, MAX_FRAMES)):
        if value is not None and not 0 <= value <= most:
            raise DicomError(f"{file.name}: {name} is {value:,}, at most {most:,} are read; no CT has more")


def _pixel_format(get: Values) -> PixelFormat:
    allocated = get.integer("BitsAllocated") or 16
    stored, high_bit = get.integer("BitsStored") or allocated, get.integer("HighBit")
    if not 1 <= stored <= allocated:
        stored = allocated
    if high_bit is None or not stored <= high_bit < allocated:
        high_bit = stored - 1
    slope, intercept = get.number("RescaleSlope"), get.number("RescaleIntercept")
    padding, limit = get.integer("PixelPaddingValue"), get.integer("PixelPaddingRangeLimit")
    return make_pixel_format(
        allocated,
        stored,
        high_bit,
        signed=get.integer("PixelRepresentation") == 1,
        rescale=(1.0 if slope is None else slope, 0.0 if intercept is None else intercept),
        padding=None if padding is None else (padding, padding if limit is None else limit),
    )


@lru_cache(maxsize=4096)
def make_pixel_format(
    bits_allocated: int,
    bits_stored: int,
    high_bit: int,
    *,
    signed: bool,
    rescale: tuple[float, float],
    padding: tuple[int, int] | None,
) -> PixelFormat:
    """Return one object for all slices that are written alike.

    Raises
    ------
    OddValueError
        Slope or intercept would make nothing of the values.
    """
    slope, intercept = rescale
    if not 0.0 < abs(slope) < _ABSURD:
        raise OddValueError("RescaleSlope")
    if not abs(intercept) < _ABSURD:
        raise OddValueError("RescaleIntercept")
    return PixelFormat(bits_allocated, bits_stored, high_bit, signed, *rescale, padding)
