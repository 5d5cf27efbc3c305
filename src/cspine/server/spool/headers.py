"""What the server reads of an object that was received."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_dataset, read_preamble
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cspine.core.text import sanitize_text
from cspine.server.database.tables import MAX_TEXT
from cspine.server.errors import RejectedObject, SpoolError

CT_SOP_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
}
"""SOP classes that are accepted. Others hold no CT, and results of this server, sent back by a PACS, are among them."""

_TAGS: Final = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName", "PatientSex",
    "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyTime", "StudyDescription", "SpecificCharacterSet",
)  # fmt: skip

_MAX_UID_LENGTH: Final = 64
_PADDING: Final = " \0"
"""What senders pad UIDs with; only the NUL is right."""

_MAX_DEFLATED_BYTES: Final = 2**20
_MAX_INFLATED_BYTES: Final = 2**22
_LAST_TAG: Final = 0x0020000E
"""SeriesInstanceUID, the last element that is read."""

_DAMAGE: Final = {None, errno.EINVAL, errno.EOVERFLOW}
"""Numbers of errors to which a file's content leads, and not the disk."""


@dataclass(frozen=True)
class ObjectHeader:
    """Elements of an object that the database and the spool need; texts are printable and cut off at 256 characters."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str = ""
    patient_name: str = ""
    patient_sex: str = ""
    patient_birth_date: str = ""
    accession_number: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""


def read_object_header(path: Path) -> ObjectHeader:
    """Return the header of a file, without its pixels.

    Raises
    ------
    RejectedObject
        The file is not DICOM, holds no CT image, or has no UIDs.
    SpoolError
        The disk or the memory failed, which says nothing about the file.
    """
    try:
        dataset = read_elements(path, _TAGS)
    except Exception as error:  # pydicom raises whatever a damaged file leads it to
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in _DAMAGE):
            raise SpoolError(f"an object cannot be read back ({type(error).__name__})") from error
        raise RejectedObject("not-dicom", f"is not readable DICOM ({type(error).__name__})") from error
    texts = {name: _text(dataset, name) for name in _TAGS}
    meta = getattr(dataset, "file_meta", Dataset())  # research data leave out what the file's meta information holds
    for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        texts[name] = texts[name].strip(_PADDING) or _text(meta, f"MediaStorage{name}").strip(_PADDING)
        if not _is_uid(texts[name]):
            raise RejectedObject("no-uid", f"has no usable {name}")
    values = {name: sanitize_text(text, MAX_TEXT).strip() for name, text in texts.items()}
    if values["SOPClassUID"] not in CT_SOP_CLASSES:
        raise RejectedObject("sop-class", "is no CT image")
    return ObjectHeader(
        sop_class_uid=values["SOPClassUID"],
        sop_instance_uid=values["SOPInstanceUID"],
        study_instance_uid=values["StudyInstanceUID"],
        series_instance_uid=values["SeriesInstanceUID"],
        patient_id=values["PatientID"],
        patient_name=values["PatientName"],
        patient_sex=values["PatientSex"][:16],
        patient_birth_date=values["PatientBirthDate"][:8],
        accession_number=values["AccessionNumber"],
        study_date=values["StudyDate"][:8],
        study_time=values["StudyTime"][:16],
        study_description=values["StudyDescription"],
    )


def read_elements(path: Path, names: Iterable[str]) -> Dataset:
    """Return elements of a file by keyword, none of them beyond SeriesInstanceUID; raises whatever pydicom does.

    Of deflated files the beginning alone is inflated: pydicom inflates the whole, which may be a thousand times as
    large as the file.
    """
    with path.open("rb") as file:
        if read_preamble(file, force=True) is not None:
            meta = _read_file_meta_info(file)
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                start = inflater.decompress(file.read(_MAX_DEFLATED_BYTES), _MAX_INFLATED_BYTES)
                dataset = read_dataset(
                    BytesIO(start),
                    is_implicit_VR=False,
                    is_little_endian=True,
                    stop_when=lambda tag, *_: tag > _LAST_TAG,
                    specific_tags=[Tag(name) for name in names],
                )
                dataset.file_meta = meta
                return dataset
    return dcmread(path, specific_tags=list(names), stop_before_pixels=True)


def is_inflated_larger(path: Path, max_bytes: int) -> bool:
    """Return whether the data set of a deflated file is larger than a limit; it is inflated in parts, up to there."""
    with path.open("rb") as file:
        if read_preamble(file, force=True) is None:
            return False
        if _read_file_meta_info(file).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return False
        inflater, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not inflater.eof and n_bytes <= max_bytes:
            part = inflater.unconsumed_tail or file.read(_MAX_DEFLATED_BYTES)
            if not part:
                break
            try:
                n_bytes += len(inflater.decompress(part, _MAX_INFLATED_BYTES))
            except zlib.error:  # damaged, as its prediction will tell
                break
    return n_bytes > max_bytes


def _text(dataset: Dataset, name: str) -> str:
    """Return an element as it was sent; empty where it is missing, a sequence, or cannot be decoded."""
    try:
        value: Any = dataset.get(name)
        return "" if value is None or isinstance(value, Sequence) else str(value)
    except Exception:  # noqa: BLE001 - pydicom raises whatever a damaged element leads it to
        return ""


def _is_uid(text: str) -> bool:
    """Return whether a UID has printable ASCII characters alone: others are cleaned away, and two UIDs became one."""
    return 0 < len(text) <= _MAX_UID_LENGTH and text.isascii() and text.isprintable()
