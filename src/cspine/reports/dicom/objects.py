"""All DICOM objects of a study: creation, and writing into a folder."""

from datetime import datetime
from pathlib import Path
from typing import Final

from pydicom import Dataset

from cspine.classification.result import CaseResult
from cspine.core.errors import DicomError
from cspine.core.files import atomic_path, complete_files
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.reports.dicom.capture import secondary_captures
from cspine.reports.dicom.key_objects import key_object_selection
from cspine.reports.dicom.masks import evidence_mask, vertebra_mask
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.segmentation import segment_evidence, segment_vertebrae
from cspine.reports.dicom.source_images import source_images
from cspine.reports.dicom.structured_report import structured_report

REPORT_FILE: Final = "report.dcm"
VERTEBRAE_FILE: Final = "vertebrae.dcm"
EVIDENCE_FILE: Final = "evidence.dcm"
KEY_IMAGES_FILE: Final = "key-images.dcm"
CAPTURE_FILE: Final = "sagittal-{number}.dcm"


def dicom_objects(case_result: CaseResult, *, created_at: datetime | None = None) -> dict[str, Dataset]:
    """Return the findings as DICOM objects, keyed by file name.

    The objects are a structured report, a binary segmentation of the vertebrae, a fractional segmentation of the
    evidence, the sagittal images as secondary captures and, if a vertebra is suspicious, a key object selection. Each
    type of object forms a new series of the same study, in the frame of reference of the slices. Weights without
    localization yield neither segmentations nor key images.

    Parameters
    ----------
    case_result : CaseResult
        Result of an assessable study.
    created_at : datetime, optional
        Time of creation in local time; the current time if omitted.

    Raises
    ------
    DicomError
        The study is not assessable, or it has no DICOM slices to which objects can refer.
    """
    compiled, prediction, findings = case_result.compiled, case_result.prediction, case_result.findings
    if compiled is None or prediction is None:
        raise DicomError("a study that is not assessable has no DICOM objects; findings.json gives the reason")
    source = source_images(compiled.series)
    context = ReportContext(findings, created_at or datetime.now().astimezone())
    spine, stack = compiled.images.spine, compiled.stack
    objects: dict[str, Dataset | None] = {}
    with suppress_pydicom_warnings():
        objects[REPORT_FILE] = structured_report(context, source)
        if spine is not None and spine.label_map is not None:
            mask = vertebra_mask(spine.label_map, source.headers, stack)
            objects[VERTEBRAE_FILE] = segment_vertebrae(context, source, mask)
        if prediction.fields:
            mask = evidence_mask(prediction.fields, source.headers, stack)
            objects[EVIDENCE_FILE] = segment_evidence(context, source, mask)
        objects[KEY_IMAGES_FILE] = key_object_selection(context, source)
        for number, capture in enumerate(secondary_captures(context, source, compiled.sagittal, spine), start=1):
            objects[CAPTURE_FILE.format(number=number)] = capture
    return {name: dataset for name, dataset in objects.items() if dataset is not None}


def write_dicom(case_result: CaseResult, folder: Path) -> list[Path]:
    """Write `dicom_objects` into a folder, each file atomically, and return their paths.

    Raises
    ------
    DicomError
        The study is not assessable, or it has no DICOM slices to which objects can refer.
    DiskFullError, OutputError
        The folder cannot be written.
    """
    objects = dicom_objects(case_result)
    for path in complete_files(folder, "*.dcm"):
        if path.name not in objects:  # left by an earlier run
            path.unlink()
    for name, dataset in objects.items():
        path = folder / name
        with atomic_path(path) as partial, suppress_pydicom_warnings():
            dataset.save_as(partial, enforce_file_format=True)
    return [folder / name for name in objects]
