"""Gray sheets as secondary captures, for viewers that show nothing else: a summary, and one per suspicious vertebra."""

from typing import Any, Final

from highdicom import CoordinateSystemNames, PhotometricInterpretationValues
from highdicom.sc import SCImage
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless

from cspine.classification.result import CaseResult
from cspine.core.typing import Grays
from cspine.reports.dicom.derived_series import CAPTURES, SUMMARY_INSTANCE, capture_instance
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages
from cspine.reports.images.level_sheet import NOT_FOR_DIAGNOSIS, draw_level_sheet
from cspine.reports.images.summary_sheet import draw_summary_sheet

SUMMARY: Final = "summary"


def secondary_captures(context: ReportContext, source: SourceImages, case_result: CaseResult) -> dict[str, SCImage]:
    """Return the captures of a study, all in one series, by name: ``summary``, and the levels that have one.

    Parameters
    ----------
    context : ReportContext
        The attributes that all objects share.
    source : SourceImages
        The slices from which the findings were made.
    case_result : CaseResult
        Findings and images of an assessable study.
    """
    sheet = draw_summary_sheet(case_result)
    captures = {SUMMARY: _capture(context, source, sheet, SUMMARY_INSTANCE, "Summary of the study")}
    for vertebra in context.findings.vertebrae:
        if not vertebra.is_suspicious or case_result.compiled is None:
            continue
        planes = draw_level_sheet(case_result.compiled, vertebra)
        if planes is not None:
            description = f"Three planes through the strongest evidence in {vertebra.level}"
            instance = capture_instance(vertebra.level)
            captures[vertebra.level] = _capture(context, source, planes, instance, description)
    return captures


def _capture(
    context: ReportContext, source: SourceImages, sheet: Grays, instance_number: int, description: str
) -> SCImage:
    image = SCImage(
        pixel_array=sheet,
        photometric_interpretation=PhotometricInterpretationValues.MONOCHROME2,
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        patient_orientation=("P", "F"),
        transfer_syntax_uid=JPEGLSLossless,
        **_study_attributes(source.first),
        **context.series_attributes(CAPTURES, instance_number=instance_number),
    )
    image.PatientOrientation = []  # that of the planes differs, and each states its own
    image.BurnedInAnnotation = "NO"  # none that identifies the patient
    image.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
    image.DerivationDescription = f"{description}, reformatted by cspine"
    image.ImageComments = NOT_FOR_DIAGNOSIS
    image.BodyPartExamined = "CSPINE"
    return image


def _study_attributes(dataset: Dataset) -> dict[str, Any]:
    """Return highdicom's keyword arguments for the patient and the study of a source image."""
    return {
        "study_instance_uid": dataset.StudyInstanceUID,
        "patient_id": dataset.PatientID,
        "patient_name": dataset.PatientName,
        "patient_birth_date": dataset.PatientBirthDate,
        "patient_sex": dataset.PatientSex,
        "accession_number": dataset.AccessionNumber,
        "study_id": dataset.StudyID,
        "study_date": dataset.StudyDate,
        "study_time": dataset.StudyTime,
        "referring_physician_name": dataset.ReferringPhysicianName,
    }
