"""Findings as a Structured Report: TID 1500, Comprehensive 3D SR."""

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
from cspine.core.findings import OperatingPointName, PatientFinding, VertebraFinding, ViewEvidence
from cspine.reports.dicom.codes import (
    ASSESSMENT,
    ASSESSMENTS,
    CERVICAL_SPINE,
    COMMENT,
    COMPUTED_TOMOGRAPHY,
    COVERAGE,
    COVERAGES,
    FRACTURE,
    ONE,
    OWN_SCHEME,
    PROBABILITY,
    vertebra_code,
)
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages

SERIES_NUMBER: Final = 9701
_TITLE: Final = CodedConcept("126000", "DCM", "Imaging Measurement Report")
_OWN: Final = CodingSchemeIdentificationItem(
    OWN_SCHEME, name="Concepts of cspine", responsible_organization="The cspine authors"
)
_ENGLISH: Final = CodedConcept("eng", "RFC5646", "English")
_LONGEST: Final = 1000
"""Letters of a sentence at most."""


def structured_report(making: ReportContext, source: SourceImages) -> Comprehensive3DSR:
    """Return the report: a measurement group for the patient, and one for each level.

    A group tells the calibrated probability of a fracture, a fracture as its finding only where it is called
    suspicious, the operating point that it reaches, how much of the vertebra was scanned, the strongest place as a
    point in the patient (LPS mm) and the slice that shows it. What the numbers are not, warnings and reasons are
    comments.

    Parameters
    ----------
    making : Making
        What is told.
    source : SourceImages
        What it was read from.
    """
    findings = making.findings
    if findings.patient_overall is None:
        raise ValueError("a refused study has no report")
    groups = [_patient_group(making, findings.patient_overall)]
    groups += [_vertebra_group(making, source, vertebra) for vertebra in findings.vertebrae]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=making.observer),
        procedure_reported=COMPUTED_TOMOGRAPHY,
        imaging_measurements=groups,
        title=_TITLE,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(_ENGLISH),
    )
    content[0].ContentSequence.extend(_comment(text) for text in _comments(making, source))
    return Comprehensive3DSR(
        evidence=list(source.datasets),
        content=content,
        is_complete=True,
        is_final=False,
        coding_schemes=[_OWN],
        **making.series(SERIES_NUMBER, "cspine fracture probabilities"),
    )


def _patient_group(making: ReportContext, patient: PatientFinding) -> MeasurementsAndQualitativeEvaluations:
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=UID(), identifier="C1-C7, any"),
        finding_type=FRACTURE if patient.is_suspicious else None,
        finding_sites=[FindingSite(CERVICAL_SPINE)],
        algorithm_id=making.algorithm,
        measurements=[Measurement(PROBABILITY, patient.probability, ONE)],
        qualitative_evaluations=[_assessment(patient.operating_points_reached)],
    )


def _vertebra_group(
    making: ReportContext, source: SourceImages, vertebra: VertebraFinding
) -> MeasurementsAndQualitativeEvaluations:
    told, place = [], vertebra.strongest
    if vertebra.coverage is not None:
        told.append(QualitativeEvaluation(COVERAGE, COVERAGES[vertebra.coverage]))
    measured = []
    if vertebra.probability is not None:
        told.append(_assessment(vertebra.operating_points_reached))
        points = [_point(place, source)] if place is not None else None
        measured.append(Measurement(PROBABILITY, vertebra.probability, ONE, referenced_coordinates=points))
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=UID(), identifier=vertebra.level),
        finding_type=FRACTURE if vertebra.is_suspicious else None,
        finding_sites=[FindingSite(vertebra_code(vertebra.level))],
        algorithm_id=making.algorithm,
        measurements=measured or None,
        qualitative_evaluations=told or None,
        source_images=_shown_by(place, source),
    )


def _point(place: ViewEvidence, source: SourceImages) -> CoordinatesForMeasurement3D:
    return CoordinatesForMeasurement3D(
        graphic_type=GraphicTypeValues3D.POINT,
        graphic_data=np.array([place.point_lps_mm]),
        frame_of_reference_uid=source.first.FrameOfReferenceUID,
    )


def _shown_by(place: ViewEvidence | None, source: SourceImages) -> list[SourceImageForMeasurementGroup] | None:
    """Return the slice, or the frame, that shows a place."""
    if place is None or place.slice is None:
        return None
    shown = source.holding(place.slice.sop_instance_uid)
    frames = [place.slice.frame] if "NumberOfFrames" in shown else None
    return [SourceImageForMeasurementGroup(shown.SOPClassUID, shown.SOPInstanceUID, frames)]


def _assessment(operating_points_reached: Collection[OperatingPointName]) -> QualitativeEvaluation:
    names: tuple[OperatingPointName, ...] = ("triage", "rule-out")
    return QualitativeEvaluation(
        ASSESSMENT, ASSESSMENTS[next((name for name in names if name in operating_points_reached), None)]
    )


def _comments(making: ReportContext, source: SourceImages) -> Iterator[str]:
    findings = making.findings
    yield RESEARCH_USE_ONLY
    yield from findings.warnings
    yield from source.said
    for vertebra in findings.vertebrae:
        yield from (f"{vertebra.level}: {reason}" for reason in vertebra.reasons)


def _comment(text: str) -> TextContentItem:
    return TextContentItem(COMMENT, text[:_LONGEST], relationship_type=RelationshipTypeValues.CONTAINS)
