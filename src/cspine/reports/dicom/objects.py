"""All DICOM objects of an examination, into a folder."""

from datetime import datetime
from pathlib import Path
from typing import Final

from pydicom import Dataset

from cspine.classification.result import CaseResult
from cspine.core.errors import DicomError
from cspine.core.files import atomic_path, complete_files
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.reports.dicom.capture import captures
from cspine.reports.dicom.key_objects import key_objects
from cspine.reports.dicom.masks import evidence_mask, vertebra_mask
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.segmentation import segment_evidence, segment_vertebrae
from cspine.reports.dicom.source_images import source_images
from cspine.reports.dicom.structured_report import structured_report

REPORT: Final = "report.dcm"
VERTEBRAE_FILE: Final = "vertebrae.dcm"
EVIDENCE_FILE: Final = "evidence.dcm"
KEY_FILE: Final = "key-images.dcm"
CAPTURE_FILE: Final = "sagittal-{number}.dcm"


def dicom_objects(case_result: CaseResult, *, when: datetime | None = None) -> dict[str, Dataset]:
    """Return what was found as DICOM objects, by the names of their files.

    A Structured Report, a segmentation of the vertebrae and a fractional one of the evidence, the sagittal images as
    secondary captures, and a key object selection where any vertebra is suspicious: each kind in a new series of the
    same study, in the frame of reference of the slices. Weights that do not localise have neither segmentations nor
    key images.

    Parameters
    ----------
    case_result : Examination
        Of a study that is not refused.
    when : datetime, optional
        When they are made, in local time; now where left out.

    Raises
    ------
    DicomError
        The study is refused, or has no DICOM slices that objects can refer to.
    """
    compiled, reading, findings = case_result.compiled, case_result.reading, case_result.findings
    if compiled is None or reading is None:
        raise DicomError("a refused study has no DICOM objects; its findings.json says why it is refused")
    source = source_images(compiled.series)
    making = ReportContext(findings, when or datetime.now().astimezone())
    spine, stack = compiled.images.spine, compiled.stack
    found: dict[str, Dataset | None] = {}
    with suppress_pydicom_warnings():
        found[REPORT] = structured_report(making, source)
        if spine is not None and spine.bone is not None:
            mask = vertebra_mask(spine.bone, source.headers, stack)
            found[VERTEBRAE_FILE] = segment_vertebrae(making, source, mask)
        if reading.fields:
            strength = evidence_mask(reading.fields, source.headers, stack)
            found[EVIDENCE_FILE] = segment_evidence(making, source, strength)
        found[KEY_FILE] = key_objects(making, source)
        for number, image in enumerate(captures(making, source, compiled.sagittal, spine), start=1):
            found[CAPTURE_FILE.format(number=number)] = image
    return {name: dataset for name, dataset in found.items() if dataset is not None}


def write_dicom(case_result: CaseResult, folder: Path) -> list[Path]:
    """Write `dicom_objects` into a folder, each atomically; return their paths.

    Raises
    ------
    DicomError
        As `dicom_objects`.
    DiskFullError, OutputError
        The folder cannot be written.
    """
    objects = dicom_objects(case_result)
    for path in complete_files(folder, "*.dcm"):
        if path.name not in objects:  # of an earlier reading
            path.unlink()
    for name, dataset in objects.items():
        path = folder / name
        with atomic_path(path) as partial, suppress_pydicom_warnings():
            dataset.save_as(partial, enforce_file_format=True)
    return [folder / name for name in objects]
