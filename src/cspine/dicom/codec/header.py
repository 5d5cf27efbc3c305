"""Read the header of one DICOM file, without its pixels."""

import hashlib
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, Final

from pydicom.datadict import tag_for_keyword

from cspine.core.errors import DicomError
from cspine.dicom.codec.elements import MEDIA_CLASS, Elements, RawElement
from cspine.dicom.codec.pixel_format import PixelFormat
from cspine.dicom.codec.read_elements import read_elements
from cspine.dicom.codec.values import InvalidValueError, Values
from cspine.dicom.hounsfield import standard_rescale_type
from cspine.dicom.sources import SourceFile

MAX_SIDE: Final = 8192
"""Most rows or columns of an image; the finest CT has 2048."""

MAX_FRAMES: Final = 20_000
"""Most frames of one file; a CT of 2 m at 0.25 mm has 8,000."""

MAX_VOLUME_BYTES: Final = 8 * 2**30
"""A larger volume is rejected before memory is allocated; the challenge's largest is 1.3 GB."""

_MAX_RESCALE: Final = 1e6
"""Largest absolute RescaleSlope or RescaleIntercept; those of CT are far smaller."""

MULTI_FRAME_CT: Final = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""SOP class UIDs of enhanced CT, and of legacy converted enhanced CT."""

_TAGS: Final = {
    keyword: tag_for_keyword(keyword) or 0
    for keyword in (
        "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "Manufacturer", "PatientID",
        "SliceThickness", "GantryDetectorTilt", "ConvolutionKernel", "StudyInstanceUID", "SeriesInstanceUID",
        "SeriesNumber", "AcquisitionNumber", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient",
        "FrameOfReferenceUID", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
        "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
        "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope", "RescaleType", "IssuerOfPatientID", "PatientName",
        "PatientBirthDate", "PatientSex", "KVP", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase",
        "SeriesDescription", "FilterType", "PatientSpeciesDescription", "AnatomicalOrientationType",
    )
}  # fmt: skip
_TAGS["MediaStorageSOPClassUID"] = MEDIA_CLASS
_REQUIRED_TAGS: Final = frozenset(_TAGS.values())


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The header of one image. Attributes that the file lacks are None; lengths are in mm, vectors in LPS.

    Attributes
    ----------
    file : SourceFile
        The file of the image.
    study_instance_uid, series_instance_uid, sop_instance_uid : str
        UIDs of study, series and image.
    patient_id : str or None
        PatientID. It is personal: hash it before it is stored or logged.
    sop_class_uid, modality : str or None
        SOPClassUID and Modality: the type of the object, such as CT Image Storage and ``"CT"``.
    image_type : tuple of str
        Values of ImageType, such as ORIGINAL, PRIMARY and AXIAL; empty if absent.
    frame_of_reference_uid : str or None
        FrameOfReferenceUID: positions of images that share it can be compared.
    series_number, acquisition_number, instance_number : int or None
        Numbers given by the scanner; they need not be unique.
    transfer_syntax_uid : str
        TransferSyntaxUID: the encoding of the file.
    rows, columns : int or None
        Size of the image in pixels.
    frame, frames : int
        Index of the frame within the file, from 0, and number of frames of the file.
    samples_per_pixel, photometric_interpretation : int, str or None
        1 and ``"MONOCHROME2"`` for gray images, ``"MONOCHROME1"`` where low values are white; 3 for color.
    pixel_spacing_mm : (float, float) or None
        PixelSpacing: distance between rows, then between columns.
    position_mm : (float, float, float) or None
        ImagePositionPatient: position of the first pixel.
    orientation : six floats or None
        ImageOrientationPatient: direction cosines along a row (i grows), then down a column (j grows).
    slice_thickness_mm : float or None
        SliceThickness; the spacing of the slices may differ.
    gantry_tilt_deg : float or None
        GantryDetectorTilt: tilt of the slices in degrees.
    kernel, manufacturer : str or None
        ConvolutionKernel, the reconstruction kernel, and Manufacturer of the scanner.
    rescale_type : str or None
        RescaleType: ``"HU"`` or None, or another quantity than attenuation.
    pixel_format : PixelFormat
        Bits, sign, rescaling and padding of the stored values.
    pixel_data_offset, pixel_data_length : int or None
        Offset and length of the pixel data in the file, as in `Elements`.
    missing : tuple of str
        Keywords of expected attributes that the file lacks.
    issuer_of_patient_id : str or None
        IssuerOfPatientID: who assigned the PatientID, since two hospitals may assign the same one.
    demographics : str or None
        Hash of PatientName, PatientBirthDate and PatientSex: differs between patients where PatientID does not.
    kvp : float or None
        KVP, the peak voltage of the tube in kV: the images of a dual-energy scan differ in it.
    temporal_position : int or None
        TemporalPositionIdentifier, or TemporalPositionIndex of a frame: the phase of a scan that repeats in time.
    cardiac_phase : float or None
        NominalPercentageOfCardiacPhase: the phase of the heartbeat, in percent.
    series_description, filter_type : str or None
        SeriesDescription and FilterType. A description may be personal: it only distinguishes images.
    species, anatomical_orientation : str or None
        PatientSpeciesDescription and AnatomicalOrientationType, which images of animals have.
    warnings : tuple of str
        Sentences about contradictions in the file, for the warnings of its series.
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
    pixel_data_offset: int | None
    pixel_data_length: int | None
    missing: tuple[str, ...]
    issuer_of_patient_id: str | None = None
    demographics: str | None = None
    kvp: float | None = None
    temporal_position: int | None = None
    cardiac_phase: float | None = None
    series_description: str | None = None
    filter_type: str | None = None
    species: str | None = None
    anatomical_orientation: str | None = None
    warnings: tuple[str, ...] = ()


def read_header(file: SourceFile) -> SliceHeader:
    """Read the header of one DICOM file.

    Parameters
    ----------
    file : SourceFile
        The file to read.

    Returns
    -------
    SliceHeader
        Of a multi-frame file, the attributes that hold for all frames.

    Raises
    ------
    DicomError
        The file is not DICOM, is truncated within its header, holds invalid values, or declares an image larger than
        any CT.
    SourceError, ArchiveError
        The file cannot be read.
    """
    return _to_header(file, read_elements(file, _REQUIRED_TAGS))


_QUOTING_MODULES: Final = r"(cspine|highdicom|nibabel|pydicom)(\.|$)"
"""Modules whose warnings quote values of the file; those of other modules stay."""


class _WarningSuppressor:
    """Switches off the warnings of pydicom and nibabel while at least one thread requests it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_users = 0
        self._previous_state = ExitStack()

    def begin(self) -> None:
        """Switch warnings off, unless another thread has."""
        with self._lock:
            self._n_users += 1
            if self._n_users > 1:
                return
            self._previous_state.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=_QUOTING_MODULES)
            for name in ("pydicom", "nibabel.global"):
                logger = logging.getLogger(name)
                self._previous_state.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.CRITICAL + 1)

    def end(self) -> None:
        """Restore the previous state when the last thread ends."""
        with self._lock:
            self._n_users -= 1
            if not self._n_users:
                self._previous_state.close()


_SUPPRESSOR: Final = _WarningSuppressor()


@contextmanager
def suppress_pydicom_warnings() -> Iterator[None]:
    """Suppress the warnings of pydicom and nibabel about invalid values, since they quote values that may be personal.

    Values that are needed are validated by this package. Warnings belong to the process: they are restored when the
    last thread leaves this context.
    """
    _SUPPRESSOR.begin()
    try:
        yield
    finally:
        _SUPPRESSOR.end()


def _to_header(file: SourceFile, elements: Elements) -> SliceHeader:
    values = Values(elements.values, _TAGS)
    shared = frozenset(item for item in elements.values.items() if item[0] not in _PER_SLICE_TAGS)
    try:
        position = values.numbers("ImagePositionPatient", 3)
        header = SliceHeader(
            file=file,
            sop_instance_uid=values.text("SOPInstanceUID") or "",
            instance_number=values.lenient_integer("InstanceNumber"),
            transfer_syntax_uid=elements.transfer_syntax_uid,
            frame=0,
            position_mm=(position[0], position[1], position[2]) if position else None,
            pixel_data_offset=elements.pixel_data_offset,
            pixel_data_length=elements.pixel_data_length,
            missing=tuple(keyword for keyword in _EXPECTED if not values.has(keyword)),
            **_shared_attributes(shared),
        )
    except InvalidValueError as error:
        raise DicomError(f"{file.name}: {error} is not valid; have the file exported again") from None
    _check_size(file, header.rows, header.columns, header.frames)
    return header


@lru_cache(maxsize=64)
def _shared_attributes(values: frozenset[tuple[int, RawElement]]) -> dict[str, Any]:
    """Return the attributes that most slices of a series share; cached, so that they are converted once."""
    get = Values(dict(values), _TAGS)
    spacing = get.numbers("PixelSpacing", 2)
    return {
        "study_instance_uid": get.text("StudyInstanceUID") or "",
        "series_instance_uid": get.text("SeriesInstanceUID") or "",
        "patient_id": get.text("PatientID"),
        "sop_class_uid": get.text("SOPClassUID") or get.text("MediaStorageSOPClassUID"),
        "modality": _upper(get.text("Modality")),
        "image_type": tuple(text.upper() for text in get.texts("ImageType")),
        "frame_of_reference_uid": get.text("FrameOfReferenceUID"),
        "series_number": get.lenient_integer("SeriesNumber"),
        "acquisition_number": get.lenient_integer("AcquisitionNumber"),
        "rows": get.integer("Rows"),
        "columns": get.integer("Columns"),
        "frames": get.integer("NumberOfFrames") or 1,
        "samples_per_pixel": get.integer("SamplesPerPixel") or 1,
        "photometric_interpretation": _upper(get.text("PhotometricInterpretation")),
        "pixel_spacing_mm": (spacing[0], spacing[1]) if spacing else None,
        "orientation": get.numbers("ImageOrientationPatient", 6),
        "slice_thickness_mm": get.lenient_number("SliceThickness"),
        "gantry_tilt_deg": get.lenient_number("GantryDetectorTilt"),
        "kernel": " ".join(get.texts("ConvolutionKernel")) or None,
        "manufacturer": get.text("Manufacturer"),
        "rescale_type": standard_rescale_type(get.text("RescaleType")),
        "pixel_format": _pixel_format(get),
        "issuer_of_patient_id": get.lenient_text("IssuerOfPatientID"),
        "demographics": _demographics(get),
        "kvp": get.lenient_number("KVP"),
        "temporal_position": get.lenient_integer("TemporalPositionIdentifier"),
        "cardiac_phase": get.lenient_number("NominalPercentageOfCardiacPhase"),
        "series_description": get.lenient_text("SeriesDescription"),
        "filter_type": get.lenient_text("FilterType"),
        "species": get.lenient_text("PatientSpeciesDescription"),
        "anatomical_orientation": get.lenient_text("AnatomicalOrientationType"),
    }


def _demographics(get: Values) -> str | None:
    """Return a hash of the patient's name, birth date and sex, without differences of writing; None if all lack."""
    texts = [get.lenient_text(keyword) for keyword in ("PatientName", "PatientBirthDate", "PatientSex")]
    words = [re.sub(r"[\W_]+", " ", text or "").strip().casefold() for text in texts]
    return hashlib.sha256("|".join(words).encode()).hexdigest()[:16] if any(words) else None


def _upper(text: str | None) -> str | None:
    """Return a code in upper case, which is the only one that the standard allows (PS3.5, section 6.2)."""
    return None if text is None else text.upper()


_PER_SLICE_TAGS: Final = frozenset(
    _TAGS[keyword] for keyword in ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient")
)
"""Tags whose values differ between slices."""

_EXPECTED: Final = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality", "FrameOfReferenceUID",
    "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber",
    "SliceThickness", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip


def _check_size(file: SourceFile, rows: int | None, columns: int | None, frames: int) -> None:
    for name, value, limit in (
        ("Rows", rows, MAX_SIDE),
        ("Columns", columns, MAX_SIDE),
        ("Frames", frames, MAX_FRAMES),
    ):
        if value is not None and not 0 <= value <= limit:
            raise DicomError(f"{file.name}: {name} is {value:,}, at most {limit:,} are read; no CT has more")


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
    """Return a pixel format; equal ones are one object, which saves memory.

    Parameters
    ----------
    bits_allocated, bits_stored, high_bit, signed, padding
        As in `PixelFormat`.
    rescale : (float, float)
        RescaleSlope and RescaleIntercept of the slice.

    Returns
    -------
    PixelFormat

    Raises
    ------
    InvalidValueError
        The slope is 0, or slope or intercept is too large.
    """
    slope, intercept = rescale
    if not 0.0 < abs(slope) < _MAX_RESCALE:
        raise InvalidValueError("RescaleSlope")
    if not abs(intercept) < _MAX_RESCALE:
        raise InvalidValueError("RescaleIntercept")
    return PixelFormat(bits_allocated, bits_stored, high_bit, signed, *rescale, padding)
