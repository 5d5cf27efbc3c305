"""Findings as a Comprehensive 3D structured report after TID 1500, Measurement Report."""

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
from highdicom import UID
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    CoordinatesForMeasurement3D,
    FindingSite,
    GraphicTypeValues3D,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import (
    OperatingPointName,
    PatientFinding,
    VertebraFinding,
    ViewEvidence,
    strongest_operating_point,
)
from cspine.reports.dicom.codes import (
    ALTERNATIVE_LEVEL,
    ASSESSMENT,
    ASSESSMENTS,
    CERVICAL_SPINE,
    COMMENT,
    COMPUTED_TOMOGRAPHY,
    COVERAGE,
    COVERAGES,
    FRACTURE,
    LEVEL_CERTAINTIES,
    LEVEL_CERTAINTY,
    NO_UNITS,
    NOT_FOUND,
    PRIVATE_SCHEME,
    PROBABILITY,
    alternative_code,
    vertebra_code,
)
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages

SERIES_NUMBER: Final = 9701
_TITLE: Final = CodedConcept("126000", "DCM", "Imaging Measurement Report")
_PRIVATE_SCHEME_ITEM: Final = CodingSchemeIdentificationItem(
    PRIVATE_SCHEME, name="Concepts of cspine", responsible_organization="The cspine authors"
)
_ENGLISH: Final = CodedConcept("eng", "RFC5646", "English")

_MAX_COMMENT_LENGTH: Final = 1000
"""Longer comments are truncated to this number of characters."""


def structured_report(context: ReportContext, source: SourceImages) -> Comprehensive3DSR:
    """Return the structured report, with one measurement group for the patient and one per level.

    A group contains the calibrated probability of a fracture, the operating point that it reaches, the coverage of the
    vertebra, whether its level is certain and which others are possible, the location of the strongest evidence as a
    3D point (LPS, mm) and the slice that shows it. A fracture is coded as finding only if the vertebra is suspicious.
    The disclaimer, warnings, and reasons that limit the reliability of a probability are comments.

    Parameters
    ----------
    context : ReportContext
        The findings, and the attributes that all objects share.
    source : SourceImages
        The slices from which the findings were made.
    """
    findings = context.findings
    if findings.patient_overall is None:
        raise ValueError("a study that is not assessable has no structured report")
    groups = [_patient_group(context, findings.patient_overall)]
    groups += [_vertebra_group(context, source, vertebra) for vertebra in findings.vertebrae]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=context.observer),
        procedure_reported=COMPUTED_TOMOGRAPHY,
        imaging_measurements=groups,
        title=_TITLE,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(_ENGLISH),
    )
    content[0].ContentSequence.extend(_comment(text) for text in _comments(context, source))
    return Comprehensive3DSR(
        evidence=list(source.datasets),
        content=content,
        is_complete=True,
        is_final=False,
        coding_schemes=[_PRIVATE_SCHEME_ITEM],
        **context.series_attributes(SERIES_NUMBER, "cspine fracture probabilities"),
    )


def _patient_group(context: ReportContext, patient: PatientFinding) -> MeasurementsAndQualitativeEvaluations:
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=UID(), identifier="C1-C7, any"),
        finding_type=FRACTURE if patient.is_suspicious else None,
        finding_sites=[FindingSite(CERVICAL_SPINE)],
        algorithm_id=context.algorithm,
        measurements=[Measurement(PROBABILITY, patient.probability, NO_UNITS)],
        qualitative_evaluations=[_assessment(patient.operating_points_reached)],
    )


def _vertebra_group(
    context: ReportContext, source: SourceImages, vertebra: VertebraFinding
) -> MeasurementsAndQualitativeEvaluations:
    evaluations, measurements, evidence = [], [], vertebra.strongest
    if vertebra.coverage is not None:
        coverage = NOT_FOUND if vertebra.not_found else COVERAGES[vertebra.coverage]
        evaluations.append(QualitativeEvaluation(COVERAGE, coverage))
    if vertebra.confidence is not None:
        evaluations.append(QualitativeEvaluation(LEVEL_CERTAINTY, LEVEL_CERTAINTIES[vertebra.is_level_uncertain]))
    others = [alternative_code(each.level) for each in vertebra.alternatives]
    evaluations += [QualitativeEvaluation(ALTERNATIVE_LEVEL, code) for code in others if code is not None]
    if vertebra.probability is not None:
        evaluations.append(_assessment(vertebra.operating_points_reached))
        points = [_point(evidence, source)] if evidence is not None else None
        measurements.append(Measurement(PROBABILITY, vertebra.probability, NO_UNITS, referenced_coordinates=points))
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=UID(), identifier=vertebra.level),
        finding_type=FRACTURE if vertebra.is_suspicious else None,
        finding_sites=[FindingSite(vertebra_code(vertebra.level))],
        algorithm_id=context.algorithm,
        measurements=measurements or None,
        qualitative_evaluations=evaluations or None,
        source_images=_evidence_slices(evidence, source),
    )


def _point(evidence: ViewEvidence, source: SourceImages) -> CoordinatesForMeasurement3D:
    return CoordinatesForMeasurement3D(
        graphic_type=GraphicTypeValues3D.POINT,
        graphic_data=np.array([evidence.point_lps_mm]),
        frame_of_reference_uid=source.first.FrameOfReferenceUID,
    )


def _evidence_slices(
    evidence: ViewEvidence | None, source: SourceImages
) -> list[SourceImageForMeasurementGroup] | None:
    """Return the slice, or the frame, that shows the evidence."""
    if evidence is None or evidence.slice is None:
        return None
    dataset = source.dataset_of(evidence.slice.sop_instance_uid)
    frames = [evidence.slice.frame] if "NumberOfFrames" in dataset else None
    return [SourceImageForMeasurementGroup(dataset.SOPClassUID, dataset.SOPInstanceUID, frames)]


def _assessment(operating_points_reached: Collection[OperatingPointName]) -> QualitativeEvaluation:
    return QualitativeEvaluation(ASSESSMENT, ASSESSMENTS[strongest_operating_point(operating_points_reached)])


def _comments(context: ReportContext, source: SourceImages) -> Iterator[str]:
    findings = context.findings
    yield RESEARCH_USE_ONLY
    yield from findings.warnings
    yield from source.remarks
    yield from findings.patient_overall.reasons if findings.patient_overall else ()
    for vertebra in findings.vertebrae:
        yield from (f"{vertebra.level}: {reason}" for reason in vertebra.reasons)


def _comment(text: str) -> TextContentItem:
    return TextContentItem(COMMENT, text[:_MAX_COMMENT_LENGTH], relationship_type=RelationshipTypeValues.CONTAINS)
