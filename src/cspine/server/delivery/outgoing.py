"""What is sent of a result, whatever the way: its files, and a summary without names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import complete_files
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.pipelines.case_folder import DICOM_FOLDER, FHIR_FILE
from cspine.reports.dicom.objects import REJECTION_PREFIX, REPORT_FILE
from cspine.server.database.tables import Job


class DeliveryError(Exception):
    """A result did not arrive at a destination.

    Attributes
    ----------
    is_permanent : bool
        Whether another attempt would meet the same.
    is_unreachable : bool
        Whether the destination cannot be reached at all, so that its whole queue waits.
    is_answered : bool
        Whether it said so itself, for which the result may be the reason: the attempt counts.
    """

    def __init__(
        self, message: str, *, is_permanent: bool = False, is_unreachable: bool = False, is_answered: bool = False
    ) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent
        self.is_unreachable = is_unreachable
        self.is_answered = is_answered


@dataclass(frozen=True)
class OutgoingObject:
    """A DICOM file and what its negotiation needs."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True)
class OutgoingResult:
    """The result of a job.

    Attributes
    ----------
    folder : Path
        What `cspine predict` wrote.
    key : str
        Number of the job and key of its study: the same in every attempt.
    summary : dict
        What webhooks and mails tell: neither name nor PatientID.
    keep_lease : callable
        Called between the steps of a delivery; raises `LostLeaseError` where it is another's.
    superseded : tuple of Path
        Earlier results that did not go; their rejection notes go with this one.
    """

    folder: Path
    key: str
    summary: dict[str, Any]
    keep_lease: Callable[[], None] = lambda: None
    superseded: tuple[Path, ...] = ()

    def objects(self, *, reports_only: bool = False) -> list[OutgoingObject]:
        """Return the DICOM objects: the report first, rejection notes last.

        Parameters
        ----------
        reports_only : bool
            Whether the report and the rejection notes of earlier ones are all that is sent.
        """
        files = complete_files(self.folder / DICOM_FOLDER, "*.dcm")
        if reports_only:
            files = [path for path in files if path.name == REPORT_FILE or _is_rejection(path)]
        for folder in self.superseded:
            files += [path for path in complete_files(folder / DICOM_FOLDER, "*.dcm") if _is_rejection(path)]
        objects = [_read(path) for path in sorted(files, key=_order)]
        return list({each.sop_instance_uid: each for each in objects}.values())

    @property
    def fhir_file(self) -> Path:
        """The FHIR bundle."""
        return self.folder / FHIR_FILE


class LostLeaseError(Exception):
    """A delivery is another sender's, since this one was thought to be dead."""


def summarize(job: Job) -> dict[str, Any]:
    """Return what webhooks and mails tell of a job.

    The study is named by the server's key and by its UID: no name, no PatientID, no accession number.
    """
    study = job.study
    return {
        "event": "result",
        "study": study.key,
        "study_instance_uid": study.study_instance_uid,
        "job": job.id,
        "state": str(job.state),
        "code": job.code,
        "is_suspicious": job.is_suspicious,
        "patient_probability": job.patient_probability,
        "levels": job.levels,
        "received_at": study.received_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at is not None else None,
        "notice": RESEARCH_USE_ONLY,
    }


_FIRST, _MIDDLE, _LAST = range(3)
_TAGS: Final = ["SOPClassUID", "SOPInstanceUID"]


def _is_rejection(path: Path) -> bool:
    return path.name.startswith(REJECTION_PREFIX)


def _order(path: Path) -> tuple[int, str]:
    return (_FIRST if path.name == REPORT_FILE else _LAST if _is_rejection(path) else _MIDDLE), path.name


def _read(path: Path) -> OutgoingObject:
    with suppress_pydicom_warnings():
        dataset = dcmread(path, specific_tags=_TAGS, stop_before_pixels=True)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    return OutgoingObject(path, str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), syntax)
