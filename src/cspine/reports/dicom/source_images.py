"""The slices that findings were read from, as DICOM objects refer to them and carry their patient over."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.uid import RE_VALID_UID, CTImageStorage

from cspine.core.errors import DicomError
from cspine.core.text import sanitize_text
from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.dataset import parse, parse_deflated
from cspine.dicom.codec.header import MULTI_FRAME_CT, SliceHeader, suppress_pydicom_warnings
from cspine.dicom.series import Series

_NAME_BYTES: Final = 64
"""Of each of a name's three representations at most: PS3.5 allows so many letters, some readers so many bytes."""

_LONG, _SHORT = 64, 16
"""Of the value representations LO and SH at most, likewise."""

_TEXTS: Final = {
    "PatientID": _LONG, "AccessionNumber": _SHORT, "StudyID": _SHORT, "StudyDescription": _LONG,
}  # fmt: skip
_NAMES: Final = ("PatientName", "ReferringPhysicianName")
_DATES: Final = ("PatientBirthDate", "StudyDate")
_TIMES: Final = ("StudyTime",)

_DATE: Final = re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_SEXES: Final = frozenset({"M", "F", "O"})

_OF_FRAMES: Final = (
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionOrganizationSequence",
    "DimensionIndexSequence", "NumberOfFrames", "ImageType",
)  # fmt: skip
"""What else a multi-frame file is referred to by."""

UTF_8: Final = "ISO_IR 192"


@dataclass(frozen=True)
class SourceImages:
    """What DICOM objects refer to.

    Attributes
    ----------
    datasets : tuple of Dataset
        One for each slice, or one of all frames; patient and study as the files have them, geometry, and no pixels.
    headers : tuple of SliceHeader
        One for each slice or frame, in the same order; None of a frame that was not read, such as a duplicate.
    said : tuple of str
        A sentence for everything that the files lack, or that could not be carried over as it stands.
    """

    datasets: tuple[Dataset, ...]
    headers: tuple[SliceHeader | None, ...]
    said: tuple[str, ...]

    @property
    def first(self) -> Dataset:
        """The first of them, for what all have in common."""
        return self.datasets[0]

    def holding(self, sop_instance_uid: str) -> Dataset:
        """Return the one with this SOPInstanceUID; KeyError where there is none."""
        for dataset in self.datasets:
            if dataset.SOPInstanceUID == sop_instance_uid:
                return dataset
        raise KeyError(sop_instance_uid)


def source_images(series: Series) -> SourceImages:
    """Return a series' slices as DICOM objects refer to them.

    What the standard demands and the files lack (the challenge's headers are nearly empty) is made up and said: class,
    modality, frame of reference. Patient and study are taken over, freed of what no DICOM value may hold.

    Parameters
    ----------
    series : Series
        That was read.

    Raises
    ------
    DicomError
        There are no DICOM slices to refer to: it is NIfTI, its UIDs are missing or are none, or it lies in several
        multi-frame files.
    """
    headers = [series.headers[index] for index in series.stack.order]
    first = headers[0]
    if first.transfer_syntax_uid == NIFTI:
        raise DicomError(
            f"{first.file.name}: is NIfTI, so there are no DICOM slices to refer to; give the DICOM series"
        )
    _check_uids(headers)
    own = _elements(first)
    common, said = _in_common(first, own)
    if first.sop_class_uid in MULTI_FRAME_CT:
        return _multi_frame(headers, own, common, said)
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
    return SourceImages(tuple(datasets), tuple(headers), tuple(said))


def _check_uids(headers: Sequence[SliceHeader]) -> None:
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


def _in_common(first: SliceHeader, own: Dataset) -> tuple[Dataset, list[str]]:
    """Return what all slices have in common, and what had to be made up or left out."""
    dataset, said = Dataset(), []
    dataset.SpecificCharacterSet = UTF_8
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = first.study_instance_uid, first.series_instance_uid
    made_up, frame = [], first.frame_of_reference_uid or ""
    own_frame = frame if _is_uid(frame) else None
    for keyword, value, instead in (
        ("SOPClassUID", first.sop_class_uid, CTImageStorage),
        ("Modality", first.modality, "CT"),
        (
            "FrameOfReferenceUID",
            own_frame,
            _frame_of_reference(first.series_instance_uid),
        ),
    ):
        setattr(dataset, keyword, value or instead)
        if not value:
            made_up.append(keyword)
    if made_up:
        said.append(
            f"the slices have no {', '.join(made_up)}: written objects take CT for granted"
            f"{' and a frame of reference made of the series UID' if 'FrameOfReferenceUID' in made_up else ''}"
        )
    changed = [keyword for keyword, value in _carried(own).items() if _carry(dataset, keyword, own, value)]
    if changed:
        said.append(f"not carried over as they stand, since no DICOM value may be so: {', '.join(changed)}")
    return dataset, said


def _elements(header: SliceHeader) -> Dataset:
    """Return a file's own elements, without pixels."""
    with suppress_pydicom_warnings():
        try:
            return parse(header.file, header.file.read())
        except DicomError:
            return parse_deflated(header.file)


def _is_uid(text: str) -> bool:
    return len(text) <= _LONG and re.fullmatch(RE_VALID_UID, text) is not None


def _frame_of_reference(series_uid: str) -> str:
    """Return a UID that is always the same for a series (PS3.5 annex B.2: 2.25 and a UUID as a number)."""
    digest = hashlib.sha256(f"cspine frame of reference {series_uid}".encode()).digest()[:16]
    return f"2.25.{int.from_bytes(digest, 'big')}"


def _carried(own: Dataset) -> dict[str, str]:
    """Return what of patient and study is carried over, fit to be written."""
    found = {keyword: _line(own, keyword, most) for keyword, most in _TEXTS.items()}
    found |= {keyword: _name(_text(own, keyword)) for keyword in _NAMES}
    found |= {keyword: _matching(_text(own, keyword), _DATE) for keyword in _DATES}
    found |= {keyword: _matching(_text(own, keyword), _TIME) for keyword in _TIMES}
    sex = _text(own, "PatientSex").strip().upper()
    return found | {"PatientSex": sex if sex in _SEXES else ""}


def _carry(dataset: Dataset, keyword: str, own: Dataset, value: str) -> bool:
    """Set a value; tell whether it is another than the file's."""
    if keyword != "StudyDescription" or value:
        setattr(dataset, keyword, value)
    return value != _text(own, keyword).strip()


def _text(own: Dataset, keyword: str) -> str:
    """Return a value as text; what cannot be read as any is none."""
    with suppress_pydicom_warnings():
        try:
            value = own.get(keyword)
        except Exception:  # noqa: BLE001 - pydicom raises whatever the values it converts bring up
            return ""
    if isinstance(value, bytes):  # of unknown VR: longer than the known one can be
        return value.decode("utf-8", errors="replace").rstrip("\0 ")
    return "" if value is None else str(value)


def _line(own: Dataset, keyword: str, most: int) -> str:
    return _cut(_clean(_text(own, keyword)), most)


def _cut(text: str, most: int) -> str:
    """Return as much of a text as fits into so many bytes of UTF-8."""
    return text.encode("utf-8")[:most].decode("utf-8", errors="ignore").strip()


def _clean(text: str) -> str:
    """Return text without what separates values, and without what does not print."""
    return sanitize_text(text.strip()).replace("\\", "/")


def _name(text: str) -> str:
    """Return a person's name with at most three representations of at most 64 bytes and five components."""
    groups = [_cut(_clean(group), _NAME_BYTES) for group in text.split("=")[:3]]
    return "=".join("^".join(group.split("^")[:5]) for group in groups).rstrip("=")


def _matching(text: str, pattern: re.Pattern[str]) -> str:
    return text.strip() if pattern.fullmatch(text.strip()) else ""


def _decimal(value: float) -> str:
    """Return a number as DICOM's decimal string, of 16 letters at most.

    >>> _decimal(-0.3333333333333333), _decimal(1e-9)
    ('-0.3333333333333', '1e-09')
    """
    for digits in range(16, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise AssertionError(value)  # pragma: no cover - one digit always fits


def _multi_frame(headers: list[SliceHeader], own: Dataset, common: Dataset, said: list[str]) -> SourceImages:
    first = headers[0]
    if len({header.file for header in headers}) > 1:
        raise DicomError(
            f"{first.file.name}: its series lies in several multi-frame files, which written objects cannot refer to; "
            "convert it to one file for each slice"
        )
    dataset = Dataset()
    for keyword in _OF_FRAMES:
        if keyword in own:
            dataset[keyword] = own[keyword]
    dataset.update(common)
    dataset.SOPInstanceUID, dataset.InstanceNumber = first.sop_instance_uid, first.instance_number
    dataset.Rows, dataset.Columns = first.rows, first.columns
    by_frame = {header.frame: header for header in headers}
    frames = tuple(by_frame.get(frame) for frame in range(first.frames))
    return SourceImages((dataset,), frames, tuple(said))
