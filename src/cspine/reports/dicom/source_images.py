"""The slices from which findings were made, as data sets to which DICOM objects refer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import RE_VALID_UID, CTImageStorage

from cspine.core.errors import DicomError
from cspine.core.findings import SlicePosition
from cspine.core.identifiers import derived_uid
from cspine.core.text import sanitize_text
from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.dataset import parse, parse_deflated
from cspine.dicom.codec.header import MULTI_FRAME_CT, SliceHeader, suppress_pydicom_warnings
from cspine.dicom.series import Series

_MAX_NAME_BYTES: Final = 64
"""Limit of each of a name's three component groups: PS3.5 allows 64 characters, some readers only 64 bytes."""

_MAX_LO_BYTES, _MAX_SH_BYTES = 64, 16
"""Limits of the value representations LO and SH, in bytes for the same reason."""

_MAX_UID_LENGTH: Final = 64

_TEXTS: Final = {
    "PatientID": _MAX_LO_BYTES, "IssuerOfPatientID": _MAX_LO_BYTES, "AccessionNumber": _MAX_SH_BYTES,
    "StudyID": _MAX_SH_BYTES, "StudyDescription": _MAX_LO_BYTES,
}  # fmt: skip
_OPTIONAL: Final = frozenset({"StudyDescription", "IssuerOfPatientID"})
"""Elements that are left out where they are empty."""

_NAMES: Final = ("PatientName", "ReferringPhysicianName")
_DATES: Final = ("PatientBirthDate", "StudyDate")
_TIMES: Final = ("StudyTime",)

_DATE: Final = re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_SEXES: Final = frozenset({"M", "F", "O"})

_MULTI_FRAME_KEYWORDS: Final = (
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence",
    "DimensionIndexSequence", "NumberOfFrames", "ImageType",
)  # fmt: skip
"""Elements that references to a multi-frame file need in addition."""

UTF_8: Final = "ISO_IR 192"
"""SpecificCharacterSet of all written objects."""


@dataclass(frozen=True)
class SourceImages:
    """The slices to which DICOM objects refer.

    Attributes
    ----------
    datasets : tuple of Dataset
        One per slice, or one for all frames of a multi-frame file: patient, study and geometry, without pixels.
    headers : tuple of SliceHeader or None
        One per slice or frame, in the same order; None for a frame that was not read, such as a duplicate.
    remarks : tuple of str
        One sentence for each element that the files lack or that could not be copied unchanged.
    """

    datasets: tuple[Dataset, ...]
    headers: tuple[SliceHeader | None, ...]
    remarks: tuple[str, ...]

    @property
    def first(self) -> Dataset:
        """The first data set, for the elements that all have in common."""
        return self.datasets[0]

    @property
    def is_multi_frame(self) -> bool:
        """Whether the slices are the frames of one file."""
        return "NumberOfFrames" in self.first

    def dataset_of(self, sop_instance_uid: str) -> Dataset:
        """Return the data set with a SOPInstanceUID; KeyError if there is none."""
        return self._dataset_of_uid[sop_instance_uid]

    @cached_property
    def _dataset_of_uid(self) -> dict[str, Dataset]:
        return {str(dataset.SOPInstanceUID): dataset for dataset in self.datasets}

    def header_of(self, position: SlicePosition) -> SliceHeader:
        """Return the header of the slice, or of the frame, of a position; KeyError if there is none."""
        for header in self.headers:
            if header is not None and (header.sop_instance_uid, header.frame + 1) == (
                position.sop_instance_uid,
                position.frame,
            ):
                return header
        raise KeyError(position.sop_instance_uid)


def source_images(series: Series) -> SourceImages:
    """Return the slices of a series as data sets to which DICOM objects can refer.

    Elements that the standard requires and the files lack (SOPClassUID, Modality, FrameOfReferenceUID; the headers of
    the RSNA 2022 data are nearly empty) get a default, which is mentioned in the remarks. Patient and study are copied,
    after removal of what their value representations do not allow.

    Parameters
    ----------
    series : Series
        The series from which the findings were made.

    Raises
    ------
    DicomError
        There are no DICOM slices to refer to: the series is NIfTI, UIDs are missing, invalid or shared by several
        slices, the slices have several study or series UIDs, or the series consists of several multi-frame files.
    """
    headers = [series.headers[index] for index in series.stack.order]
    first = headers[0]
    if first.transfer_syntax_uid == NIFTI:
        raise DicomError(
            f"{first.file.name}: is NIfTI, so there are no DICOM slices to refer to; give the DICOM series"
        )
    _check_uids(series, headers)
    original = _read_elements(first)
    common, remarks = _common_elements(first, original)
    if first.sop_class_uid in MULTI_FRAME_CT:
        return _multi_frame(headers, original, common, remarks)
    datasets = []
    for header in headers:
        dataset = Dataset()
        dataset.update(common)
        dataset.SOPInstanceUID = header.sop_instance_uid
        dataset.InstanceNumber = header.instance_number
        dataset.Rows, dataset.Columns = header.rows, header.columns
        dataset.ImagePositionPatient = [_decimal(value) for value in header.position_mm or ()]
        dataset.ImageOrientationPatient = [_decimal(value) for value in first.orientation or ()]
        dataset.PixelSpacing = [_decimal(value) for value in first.pixel_spacing_mm or ()]
        dataset.SliceThickness = _decimal(first.slice_thickness_mm or series.stack.spacing_mm)
        datasets.append(dataset)
    return SourceImages(tuple(datasets), tuple(headers), tuple(remarks))


def study_images(series: Series) -> SourceImages:
    """Return images of a study whose series does not form a volume, so that a report can refer to them.

    They have patient, study and UIDs, but no geometry; files without valid UIDs, or of another study, are left out.

    Parameters
    ----------
    series : Series
        Any series of the study.

    Raises
    ------
    DicomError
        No image can be referred to: the series is NIfTI, or its UIDs are missing or invalid.
    """
    usable = {
        header.sop_instance_uid: header
        for header in series.headers
        if header.transfer_syntax_uid != NIFTI
        and header.sop_instance_uid not in series.ambiguous_uids
        and all(map(_is_uid, (header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid)))
    }
    if not usable:
        raise DicomError(
            f"{series.headers[0].file.name}: no image of its series has UIDs that a DICOM object can refer to; export "
            "the original series"
        )
    first = next(iter(usable.values()))
    uids = first.study_instance_uid, first.series_instance_uid
    headers = [header for header in usable.values() if (header.study_instance_uid, header.series_instance_uid) == uids]
    common, remarks = _common_elements(first, _read_elements(first))
    datasets = []
    for header in headers:
        dataset = Dataset()
        dataset.update(common)
        dataset.SOPInstanceUID, dataset.InstanceNumber = header.sop_instance_uid, header.instance_number
        datasets.append(dataset)
    return SourceImages(tuple(datasets), tuple(headers), tuple(remarks))


def _check_uids(series: Series, headers: Sequence[SliceHeader]) -> None:
    """Check that each slice can be referred to by UIDs that no other image has."""
    first = headers[0]
    uids = [
        ("StudyInstanceUID", first.study_instance_uid),
        ("SeriesInstanceUID", first.series_instance_uid),
        *(("SOPInstanceUID", header.sop_instance_uid) for header in headers),
    ]
    for keyword, value in uids:
        if not _is_uid(value):
            raise DicomError(
                f"{first.file.name}: its {keyword} is {'no UID' if value else 'missing'}, so that no DICOM object can "
                "refer to it; export the original series"
            )
    for keyword, values in (
        ("StudyInstanceUID", {header.study_instance_uid for header in headers}),
        ("SeriesInstanceUID", {header.series_instance_uid for header in headers}),
    ):
        if len(values) > 1:
            raise DicomError(
                f"{first.file.name}: its slices have {len(values)} values of {keyword}, so that no DICOM object can "
                "refer to them as one series; export the original series"
            )
    ambiguous = [header for header in headers if header.sop_instance_uid in series.ambiguous_uids]
    if ambiguous:
        raise DicomError(
            f"{ambiguous[0].file.name}: its SOPInstanceUID is also that of another image ({len(ambiguous)} of "
            f"{len(headers)} slices share theirs), so that a DICOM object would refer to an ambiguous slice; export "
            "the original series"
        )


def _common_elements(first: SliceHeader, original: Dataset) -> tuple[Dataset, list[str]]:
    """Return the elements that all slices have in common, and remarks on those that differ from the files."""
    dataset, remarks = Dataset(), []
    dataset.SpecificCharacterSet = UTF_8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, first.photometric_interpretation or "MONOCHROME2"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = first.study_instance_uid, first.series_instance_uid
    frame_of_reference = first.frame_of_reference_uid or ""
    defaulted = []
    for keyword, value, default in (
        ("SOPClassUID", first.sop_class_uid, CTImageStorage),
        ("Modality", first.modality, "CT"),
        (
            "FrameOfReferenceUID",
            frame_of_reference if _is_uid(frame_of_reference) else None,
            derived_uid("cspine frame of reference", first.series_instance_uid),
        ),
    ):
        setattr(dataset, keyword, value or default)
        if not value:
            defaulted.append(keyword)
    if defaulted:
        remarks.append(
            f"the slices have no {', '.join(defaulted)}: the DICOM objects assume CT"
            f"{' and a frame of reference derived from the series UID' if 'FrameOfReferenceUID' in defaulted else ''}"
        )
    valid = valid_values(original)
    changed = [keyword for keyword, value in valid.items() if _copy_value(dataset, keyword, original, value)]
    if changed:
        remarks.append(f"copied with changes, because the values are not valid in DICOM: {', '.join(changed)}")
    return dataset, remarks


def _read_elements(header: SliceHeader) -> Dataset:
    """Return the elements of a file, without pixels."""
    with suppress_pydicom_warnings():
        try:
            return parse(header.file, header.file.read())
        except DicomError:
            return parse_deflated(header.file)


def _is_uid(text: str) -> bool:
    return len(text) <= _MAX_UID_LENGTH and re.fullmatch(RE_VALID_UID, text) is not None


def valid_values(original: Dataset) -> dict[str, str]:
    """Return the elements of patient and study that are copied, reduced to valid values.

    Dates with points and times with colons are those of ACR-NEMA, which readers accept (PS3.5, section 6.2).

    Parameters
    ----------
    original : Dataset
        Header of a file.
    """
    values = {keyword: _line(original, keyword, limit) for keyword, limit in _TEXTS.items()}
    values |= {keyword: _name(_text(original, keyword)) for keyword in _NAMES}
    values |= {keyword: _matching(_text(original, keyword).replace(".", ""), _DATE) for keyword in _DATES}
    values |= {keyword: _matching(_text(original, keyword).replace(":", ""), _TIME) for keyword in _TIMES}
    sex = _text(original, "PatientSex").strip().upper()
    return values | {"PatientSex": sex if sex in _SEXES else ""}


def _copy_value(dataset: Dataset, keyword: str, original: Dataset, value: str) -> bool:
    """Set a value, and return whether it differs from the file's."""
    if keyword not in _OPTIONAL or value:
        setattr(dataset, keyword, value)
    return value != _text(original, keyword).strip()


def _text(original: Dataset, keyword: str) -> str:
    """Return a value as text; empty if it is missing or cannot be read."""
    with suppress_pydicom_warnings():
        try:
            value = original.get(keyword)
        except Exception:  # noqa: BLE001 - pydicom raises various exceptions when it converts invalid values
            return ""
    if isinstance(value, bytes):  # VR UN, because the value is longer than its own VR allows
        return value.decode("utf-8", errors="replace").rstrip("\0 ")
    if isinstance(value, MultiValue):  # a backslash in an element of one value
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def _line(original: Dataset, keyword: str, max_bytes: int) -> str:
    return _truncate(_clean(_text(original, keyword)), max_bytes)


def _truncate(text: str, max_bytes: int) -> str:
    """Return as much of a text as fits into a number of bytes of UTF-8."""
    return text.encode("utf-8")[:max_bytes].decode("utf-8", errors="ignore").strip()


def _clean(text: str) -> str:
    """Return text without backslashes, which separate values, and without unprintable characters."""
    return sanitize_text(text.strip()).replace("\\", "/")


def _name(text: str) -> str:
    """Return a person's name with at most three component groups of at most 64 bytes and five components."""
    groups = [_truncate(_clean(group), _MAX_NAME_BYTES) for group in text.split("=")[:3]]
    return "=".join("^".join(group.split("^")[:5]) for group in groups).rstrip("=")


def _matching(text: str, pattern: re.Pattern[str]) -> str:
    return text.strip() if pattern.fullmatch(text.strip()) else ""


def _decimal(value: float) -> str:
    """Return a number as a decimal string (DS) of at most 16 characters.

    >>> _decimal(-0.3333333333333333), _decimal(1e-9)
    ('-0.3333333333333', '1e-09')
    """
    for digits in range(16, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise AssertionError(value)  # pragma: no cover - one digit always fits


def _multi_frame(headers: list[SliceHeader], original: Dataset, common: Dataset, remarks: list[str]) -> SourceImages:
    """Return the one data set of a multi-frame file, with a header for each of its frames."""
    first = headers[0]
    if len({header.file for header in headers}) > 1:
        raise DicomError(
            f"{first.file.name}: its series consists of several multi-frame files, to which DICOM objects cannot "
            "refer; convert it to one file per slice"
        )
    dataset = Dataset()
    for keyword in _MULTI_FRAME_KEYWORDS:
        if keyword in original:
            dataset[keyword] = original[keyword]
    dataset.update(common)
    dataset.SOPInstanceUID, dataset.InstanceNumber = first.sop_instance_uid, first.instance_number
    dataset.Rows, dataset.Columns = first.rows, first.columns
    by_frame = {header.frame: header for header in headers}
    frames = tuple(by_frame.get(frame) for frame in range(first.frames))
    return SourceImages((dataset,), frames, tuple(remarks))
