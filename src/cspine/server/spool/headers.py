"""What the server reads of an object that was received."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset

from cspine.core.text import sanitize_text
from cspine.server.database.tables import MAX_TEXT
from cspine.server.errors import RejectedObject

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
    """
    try:
        dataset = dcmread(path, specific_tags=list(_TAGS), stop_before_pixels=True)
    except Exception as error:  # pydicom raises whatever a damaged file leads it to
        raise RejectedObject("not-dicom", f"is not readable DICOM ({type(error).__name__})") from error
    values = {name: _text(dataset, name) for name in _TAGS}
    meta = getattr(dataset, "file_meta", Dataset())  # research data leave out what the file's meta information holds
    values["SOPClassUID"] = values["SOPClassUID"] or _text(meta, "MediaStorageSOPClassUID")
    values["SOPInstanceUID"] = values["SOPInstanceUID"] or _text(meta, "MediaStorageSOPInstanceUID")
    for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not 0 < len(values[name]) <= _MAX_UID_LENGTH:
            raise RejectedObject("no-uid", f"has no usable {name}")
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


def _text(dataset: Dataset, name: str) -> str:
    try:
        value: Any = dataset.get(name)
    except Exception:  # noqa: BLE001 - a value that cannot be decoded is none
        return ""
    return sanitize_text("" if value is None else str(value), MAX_TEXT).strip()
