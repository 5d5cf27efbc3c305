"""Earlier results of a study: rejection notes for those that a changed answer supersedes.

A rejection note is a key object selection whose title says why archives are to hide the objects that it lists (IHE
Imaging Object Change Management). The same answer has the same UIDs, so that it replaces itself and rejects nothing.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final, get_args

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import InputError
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.dicom.files.listing import list_files
from cspine.dicom.sources import SourceFile
from cspine.reports.dicom.codes import INCORRECT_WORKLIST_ENTRY, REJECTED_FOR_PATIENT_SAFETY
from cspine.reports.dicom.derived_series import REJECTION, REPORT, SERIES, SegmentationType
from cspine.reports.dicom.report_context import MANUFACTURER, MODEL_NAME, ReportContext
from cspine.reports.dicom.source_images import SourceImages

_LOGGER: Final = logging.getLogger(__name__)

_ELEMENTS: Final = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Manufacturer",
    "ManufacturerModelName", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "Rows", "Columns", "ContentDate",
    "ContentTime", "ContentSequence", "ConceptNameCodeSequence", "PredecessorDocumentsSequence",
)  # fmt: skip
"""What is read of earlier objects: what rejection notes copy and refer to, what notes list, what reports replace."""

_REQUIRED: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")

_REJECTIONS: Final = frozenset({REJECTED_FOR_PATIENT_SAFETY.value, INCORRECT_WORKLIST_ENTRY.value})


@dataclass(frozen=True)
class EarlierObjects:
    """Objects that this software wrote earlier for a study.

    Attributes
    ----------
    results : tuple of Dataset
        Headers of reports, segmentations, captures and so on.
    rejected_uids : frozenset of str
        SOPInstanceUIDs that earlier rejection notes list.
    """

    results: tuple[Dataset, ...] = ()
    rejected_uids: frozenset[str] = frozenset()

    @classmethod
    def read(cls, folders: Sequence[Path]) -> dict[str, "EarlierObjects"]:
        """Read the objects in folders and in the archives there, by StudyInstanceUID.

        Files that are no objects of this software, and folders that cannot be listed, are skipped.
        """
        studies = defaultdict[str, list[Dataset]](list)
        for folder in folders:
            for file in _files(folder):
                dataset = _read(file)
                if dataset is not None:
                    studies[str(dataset.StudyInstanceUID)].append(dataset)
        return {uid: cls._of(datasets) for uid, datasets in studies.items()}

    @classmethod
    def _of(cls, datasets: Sequence[Dataset]) -> "EarlierObjects":
        """Return the objects of one study, each once, and what the rejection notes among them list."""
        notes = [dataset for dataset in datasets if _is_rejection(dataset)]
        by_uid = {str(dataset.SOPInstanceUID): dataset for dataset in datasets if not _is_rejection(dataset)}
        return cls(tuple(by_uid.values()), frozenset[str]().union(*map(_listed_uids, notes)))

    def __or__(self, other: "EarlierObjects") -> "EarlierObjects":
        """Return the objects of both, each once."""
        by_uid = {str(dataset.SOPInstanceUID): dataset for dataset in (*self.results, *other.results)}
        return EarlierObjects(tuple(by_uid.values()), self.rejected_uids | other.rejected_uids)

    def current(self, context: ReportContext, source: SourceImages) -> ReportContext:
        """Return the context with the first revision whose report was neither rejected nor filed for another patient.

        Where the patient's ID was corrected since, the objects are those of another patient and need UIDs of their own.
        """
        taken = self.rejected_uids | {str(dataset.SOPInstanceUID) for dataset in _of_others(self.results, source)}
        while context.series_attributes(REPORT)["sop_instance_uid"] in taken:
            context = replace(context, revision=context.revision + 1)
        return context

    def superseded_by(self, context: ReportContext) -> tuple[Dataset, ...]:
        """Return the results of another answer, those of no series of the context's, that were not rejected yet."""
        return tuple(dataset for dataset in self._of_other_answers(context) if not self._is_rejected(dataset))

    def predecessors(self, context: ReportContext, source: SourceImages) -> list[Dataset]:
        """Return the structured reports that the context's report replaces.

        These are the patient's reports among those that it supersedes, and the predecessors of the same report written
        earlier. Without either it is the latest of those that were rejected: the rejection note is written first, so
        that a run may have been killed before it wrote the report.
        """
        own_uid = context.series_attributes(REPORT)["sop_instance_uid"]
        others = [
            dataset
            for dataset in _of_patient(self._of_other_answers(context), source)
            if dataset.get("SOPClassUID") == Comprehensive3DSRStorage
        ]
        current = [dataset for dataset in others if not self._is_rejected(dataset)]
        written = [dataset for dataset in self.results if dataset.SOPInstanceUID == own_uid]
        recorded = [report for dataset in written for report in _predecessors_of(dataset)]
        by_uid = {str(dataset.SOPInstanceUID): dataset for dataset in (*current, *recorded)}
        return list(by_uid.values()) or sorted(others, key=_written_at)[-1:]

    def _of_other_answers(self, context: ReportContext) -> list[Dataset]:
        series = {
            str(context.series_attributes(kind, variant=variant)["series_instance_uid"])
            for kind in SERIES
            for variant in ("", *get_args(SegmentationType))
        }
        return [dataset for dataset in self.results if str(dataset.SeriesInstanceUID) not in series]

    def _is_rejected(self, dataset: Dataset) -> bool:
        return str(dataset.SOPInstanceUID) in self.rejected_uids


NO_OBJECTS: Final = EarlierObjects()


def rejection_notes(
    context: ReportContext, source: SourceImages, superseded: Sequence[Dataset]
) -> list[KeyObjectSelectionDocument]:
    """Return the notes that reject superseded objects.

    Objects of another patient than the slices' were filed wrongly (113038); all others are rejected since they must no
    longer be used (113037).

    Parameters
    ----------
    context, source
        As of `cspine.reports.dicom.structured_report.structured_report`.
    superseded : sequence of Dataset
        Headers of the objects to be rejected.
    """
    reasons = (
        (REJECTED_FOR_PATIENT_SAFETY, _of_patient(superseded, source)),
        (INCORRECT_WORKLIST_ENTRY, _of_others(superseded, source)),
    )
    return [
        _rejection_note(context, title, objects, number)
        for number, (title, objects) in enumerate(reasons, start=1)
        if objects
    ]


def _of_patient(objects: Sequence[Dataset], source: SourceImages) -> list[Dataset]:
    return [dataset for dataset in objects if _is_of_patient(dataset, source)]


def _of_others(objects: Sequence[Dataset], source: SourceImages) -> list[Dataset]:
    return [dataset for dataset in objects if not _is_of_patient(dataset, source)]


def _is_of_patient(dataset: Dataset, source: SourceImages) -> bool:
    """Return whether an object is of the slices' patient: of the same ID, by the same issuer if both name one."""
    issuers = {str(each.get("IssuerOfPatientID") or "") for each in (dataset, source.first)} - {""}
    return dataset.get("PatientID") == source.first.PatientID and len(issuers) < 2


def _rejection_note(
    context: ReportContext, title: CodedConcept, objects: Sequence[Dataset], number: int
) -> KeyObjectSelectionDocument:
    uids = sorted(str(dataset.SOPInstanceUID) for dataset in objects)
    content = KeyObjectSelection(
        document_title=title,
        referenced_objects=objects,
        observer_device_context=context.observer,
        description=f"Superseded by a later result of cspine. {RESEARCH_USE_ONLY}",
    )
    attributes = context.series_attributes(REJECTION, instance_number=number)
    attributes["sop_instance_uid"] = context.uid(REJECTION.name, *uids)
    note = KeyObjectSelectionDocument(
        evidence=list(objects), content=content, transfer_syntax_uid=ExplicitVRLittleEndian, **attributes
    )
    copy_issuer(objects[0], note)
    return note


def copy_issuer(source: Dataset, dataset: Dataset) -> None:
    """Copy the issuer of the PatientID to an object of the same patient, which highdicom leaves out of some."""
    issuer = source.get("IssuerOfPatientID")
    if issuer and dataset.PatientID == source.PatientID and "IssuerOfPatientID" not in dataset:
        dataset.IssuerOfPatientID = issuer


def _files(folder: Path) -> list[SourceFile]:
    """Return the files of a folder and of the archives in it; none where it is empty or cannot be listed."""
    try:
        return list_files(folder)
    except InputError:
        _LOGGER.info("a folder of earlier results holds no files")
        return []


def _read(file: SourceFile) -> Dataset | None:
    """Return the header of an object of this software; None of all other files."""
    with suppress_pydicom_warnings():
        try:
            content = BytesIO(file.read()) if file.is_packed else file.container
            dataset = dcmread(content, stop_before_pixels=True, specific_tags=list(_ELEMENTS))
            made_by = dataset.get("Manufacturer"), dataset.get("ManufacturerModelName")
            is_ours = made_by == (MANUFACTURER, MODEL_NAME) and all(keyword in dataset for keyword in _REQUIRED)
        except Exception:  # noqa: BLE001 - pydicom raises various exceptions on what is no DICOM
            _LOGGER.info("a file among earlier results is not readable as DICOM, and was skipped")
            return None
    if not is_ours:
        return None
    if dataset.SOPClassUID != KeyObjectSelectionDocumentStorage:
        dataset.pop("ContentSequence", None)  # of reports, and large
    return dataset


def _predecessors_of(report: Dataset) -> Iterator[Dataset]:
    """Yield what a report records of those that it replaces, as far as references need it."""
    for study in report.get("PredecessorDocumentsSequence") or ():
        for series in study.get("ReferencedSeriesSequence") or ():
            for item in series.get("ReferencedSOPSequence") or ():
                dataset = Dataset()
                dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study.StudyInstanceUID, series.SeriesInstanceUID
                dataset.SOPClassUID = item.ReferencedSOPClassUID
                dataset.SOPInstanceUID = item.ReferencedSOPInstanceUID
                yield dataset


def _written_at(dataset: Dataset) -> tuple[str, str]:
    return str(dataset.get("ContentDate", "")), str(dataset.get("ContentTime", ""))


def _is_rejection(dataset: Dataset) -> bool:
    if dataset.get("SOPClassUID") != KeyObjectSelectionDocumentStorage:
        return False
    titles = dataset.get("ConceptNameCodeSequence") or []
    return any(title.get("CodeValue") in _REJECTIONS for title in titles)


def _listed_uids(note: Dataset) -> frozenset[str]:
    items = note.get("ContentSequence") or []
    return frozenset(
        str(reference.ReferencedSOPInstanceUID)
        for item in items
        for reference in item.get("ReferencedSOPSequence") or []
        if "ReferencedSOPInstanceUID" in reference
    )
