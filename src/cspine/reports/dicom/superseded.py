"""Earlier results of a study: rejection notes for those that a changed answer supersedes.

A rejection note is a key object selection whose title says why archives are to hide the objects that it lists (IHE
Imaging Object Change Management). The same answer has the same UIDs, so that it replaces itself and rejects nothing.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, get_args

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import complete_files
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.reports.dicom.codes import INCORRECT_WORKLIST_ENTRY, REJECTED_FOR_PATIENT_SAFETY
from cspine.reports.dicom.derived_series import REJECTION, REPORT, SERIES, SegmentationType
from cspine.reports.dicom.report_context import MANUFACTURER, MODEL_NAME, ReportContext
from cspine.reports.dicom.source_images import SourceImages

_LOGGER: Final = logging.getLogger(__name__)

_ELEMENTS: Final = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Manufacturer",
    "ManufacturerModelName", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "Rows", "Columns", "ContentSequence",
    "ConceptNameCodeSequence",
)  # fmt: skip
"""What is read of earlier objects: what rejection notes copy and refer to, and what notes list."""

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
    def read(cls, folders: Sequence[Path], study_instance_uid: str) -> "EarlierObjects":
        """Read the objects of a study in folders; files that are no such objects are skipped."""
        results, rejected = {}, set()
        for folder in folders:
            for path in complete_files(folder, "**/*.dcm"):
                dataset = _read(path)
                if dataset is None or dataset.get("StudyInstanceUID") != study_instance_uid:
                    continue
                if _is_rejection(dataset):
                    rejected |= _listed_uids(dataset)
                else:
                    results[str(dataset.SOPInstanceUID)] = dataset
        kept = tuple(dataset for uid, dataset in results.items() if uid not in rejected)
        return cls(kept, frozenset(rejected))

    def current(self, context: ReportContext, source: SourceImages) -> ReportContext:
        """Return the context with the first revision whose report was neither rejected nor filed for another patient.

        Where the patient's ID was corrected since, the objects are those of another patient and need UIDs of their own.
        """
        taken = self.rejected_uids | {str(dataset.SOPInstanceUID) for dataset in _of_others(self.results, source)}
        while context.series_attributes(REPORT)["sop_instance_uid"] in taken:
            context = replace(context, revision=context.revision + 1)
        return context

    def superseded_by(self, context: ReportContext) -> tuple[Dataset, ...]:
        """Return the results of another answer: those of no series of the context's."""
        series = {
            str(context.series_attributes(kind, variant=variant)["series_instance_uid"])
            for kind in SERIES
            for variant in ("", *get_args(SegmentationType))
        }
        return tuple(dataset for dataset in self.results if str(dataset.SeriesInstanceUID) not in series)


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


def previous_reports(source: SourceImages, superseded: Sequence[Dataset]) -> list[Dataset]:
    """Return the structured reports of the slices' patient among superseded objects."""
    own = _of_patient(superseded, source)
    return [dataset for dataset in own if dataset.get("SOPClassUID") == Comprehensive3DSRStorage]


def _of_patient(objects: Sequence[Dataset], source: SourceImages) -> list[Dataset]:
    return [dataset for dataset in objects if dataset.get("PatientID") == source.first.PatientID]


def _of_others(objects: Sequence[Dataset], source: SourceImages) -> list[Dataset]:
    return [dataset for dataset in objects if dataset.get("PatientID") != source.first.PatientID]


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
    return KeyObjectSelectionDocument(
        evidence=list(objects), content=content, transfer_syntax_uid=ExplicitVRLittleEndian, **attributes
    )


def _read(path: Path) -> Dataset | None:
    """Return the header of an object of this software; None of all other files."""
    with suppress_pydicom_warnings():
        try:
            dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_ELEMENTS))
            made_by = dataset.get("Manufacturer"), dataset.get("ManufacturerModelName")
            is_ours = made_by == (MANUFACTURER, MODEL_NAME) and all(keyword in dataset for keyword in _REQUIRED)
        except Exception:  # noqa: BLE001 - pydicom raises various exceptions on what is no DICOM
            _LOGGER.info("a file among earlier results is not readable as DICOM, and was skipped")
            return None
    return dataset if is_ours else None


def _is_rejection(dataset: Dataset) -> bool:
    if dataset.get("SOPClassUID") != KeyObjectSelectionDocumentStorage:
        return False
    titles = dataset.get("ConceptNameCodeSequence") or []
    return any(title.get("CodeValue") in _REJECTIONS for title in titles)


def _listed_uids(note: Dataset) -> set[str]:
    items = note.get("ContentSequence") or []
    return {
        str(reference.ReferencedSOPInstanceUID)
        for item in items
        for reference in item.get("ReferencedSOPSequence") or []
        if "ReferencedSOPInstanceUID" in reference
    }
