"""The records of imported data sets: the patient of each scan, its labels, and the hashes that recognize it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cspine.core.errors import LabelError
from cspine.core.files import read_json
from cspine.core.identifiers import study_key
from cspine.dicom.files.manifest import is_imported, read_manifest

RECORDS_FOLDER: Final = "records"
"""Folder of an imported data set with one JSON for each study."""


@dataclass(frozen=True)
class ScanRecord:
    """What is recorded of one scan of a data set.

    Attributes
    ----------
    data_set : str
        Path of the data set.
    study : str
        StudyInstanceUID, or the name in its place.
    patient : str
        Pseudonym of the patient.
    hash_name : str
        Which hashes these are; only those of one name are compared.
    content_sha256 : str
        Hash of all voxels.
    planes : tuple of str
        Hash of each axial plane with contrast.
    targets : dict or None
        Labels by target.
    """

    data_set: str
    study: str
    patient: str
    hash_name: str
    content_sha256: str
    planes: tuple[str, ...] = field(repr=False)
    targets: dict[str, int] | None = None


def read_scan_records(folder: Path) -> tuple[ScanRecord, ...]:
    """Return the records of an imported data set, of the studies in its manifest.

    Parameters
    ----------
    folder : Path
        Root of the data set.

    Raises
    ------
    LabelError
        The folder is no imported data set, is not finished, or a record is damaged.
    """
    if not is_imported(folder):
        raise LabelError(f"{folder}: is no data set of cspine import; import it first")
    name = str(folder.resolve())
    return tuple(
        scan_record(name, read_json(folder / RECORDS_FOLDER / f"{study_key(entry.study)}.json"))
        for entry in read_manifest(folder)
    )


def scan_record(data_set: str, record: Mapping[str, Any]) -> ScanRecord:
    """Return what is needed of a study's record to recognize its scan.

    Parameters
    ----------
    data_set : str
        Path of the data set.
    record : mapping
        Content of the record's file.

    Raises
    ------
    LabelError
        It is no such record.
    """
    try:
        return ScanRecord(
            data_set,
            str(record["study"]),
            str(record["patient"]),
            str(record["hash"]),
            str(record["content_sha256"]),
            tuple(map(str, record["planes"])),
            record["targets"],
        )
    except (KeyError, TypeError) as error:
        raise LabelError(f"{data_set}: has a record that is none of cspine import; import again") from error
