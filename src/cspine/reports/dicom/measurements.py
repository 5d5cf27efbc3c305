"""Findings as content of the structured report: groups with coordinates, and qualitative items without."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContentSequence,
    CoordinatesForMeasurement,
    FindingSite,
    GraphicTypeValues,
    GraphicTypeValues3D,
    ImageRegion,
    ImageRegion3D,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    Scoord3DContentItem,
    SourceImageForRegion,
    TrackingIdentifier,
)

from cspine.core.findings import PatientFinding, SlicePosition, VertebraFinding, strongest_operating_point
from cspine.core.typing import Floats
from cspine.reports.dicom.codes import (
    ALTERNATIVE_LEVEL,
    ASSESSMENT,
    ASSESSMENTS,
    CENTER,
    CERVICAL_SPINE,
    COVERAGE,
    COVERAGES,
    FINDING_SITE,
    FRACTURE,
    LEVEL_CERTAINTIES,
    LEVEL_CERTAINTY,
    NO_UNITS,
    NOT_ASSESSED,
    NOT_FOUND,
    PROBABILITY,
    alternative_code,
    vertebra_code,
)
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages

PATIENT_IDENTIFIER: Final = "C1-C7, any"

_PROPERTIES: Final = RelationshipTypeValues.HAS_PROPERTIES


def patient_group(context: ReportContext, patient: PatientFinding) -> MeasurementsAndQualitativeEvaluations:
    """Return the measurement group of the patient (TID 1501): it has no place, so it has no coordinates."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=context.uid("finding", "patient"), identifier=PATIENT_IDENTIFIER),
        finding_type=FRACTURE if patient.is_suspicious else None,
        finding_sites=[FindingSite(CERVICAL_SPINE)],
        algorithm_id=context.algorithm,
        measurements=[Measurement(PROBABILITY, patient.probability, NO_UNITS)],
        qualitative_evaluations=[
            QualitativeEvaluation(ASSESSMENT, ASSESSMENTS[strongest_operating_point(patient.operating_points_reached)])
        ],
    )


def has_place(vertebra: VertebraFinding) -> bool:
    """Return whether a vertebra is suspicious and it is known where."""
    return vertebra.is_suspicious and vertebra.strongest is not None


def vertebra_group(
    context: ReportContext, source: SourceImages, vertebra: VertebraFinding
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the measurement group of a suspicious vertebra with its place (TID 1410).

    The image region is the point in the slice that shows it, which viewers jump to. The point in the patient is a
    second item of the group; it is the region itself where no slice shows the point.

    Parameters
    ----------
    context, source
        As of `cspine.reports.dicom.structured_report.structured_report`.
    vertebra : VertebraFinding
        A finding with `has_place`.
    """
    evidence, probability = vertebra.strongest, vertebra.probability
    if evidence is None or probability is None:
        raise ValueError(f"{vertebra.level} has no place")
    point_lps_mm, frame_of_reference = np.array([evidence.point_lps_mm]), source.first.FrameOfReferenceUID
    region: ImageRegion | ImageRegion3D
    if evidence.slice is not None:
        data, image = _pixel(evidence.slice), _source_image(source, evidence.slice)
        region = ImageRegion(graphic_type=GraphicTypeValues.POINT, graphic_data=data, source_image=image)
    else:
        region = ImageRegion3D(GraphicTypeValues3D.POINT, point_lps_mm, frame_of_reference)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=context.uid("finding", vertebra.level), identifier=f"{vertebra.level} fracture"
        ),
        referenced_region=region,
        finding_type=FRACTURE,
        finding_sites=[FindingSite(vertebra_code(vertebra.level))],
        algorithm_id=context.algorithm,
        measurements=[Measurement(PROBABILITY, probability, NO_UNITS)],
        qualitative_evaluations=[QualitativeEvaluation(name, value) for name, value in _evaluations(vertebra)],
    )
    if evidence.slice is not None:
        items = group[0].ContentSequence
        items.append(
            Scoord3DContentItem(
                name=CENTER,
                graphic_type=GraphicTypeValues3D.POINT,
                graphic_data=point_lps_mm,
                frame_of_reference_uid=frame_of_reference,
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
        )
        # OHIF takes the coordinates of a measurement from below its number, which TID 1419 allows as an extension.
        number = next(item for item in items if item.name == PROBABILITY)
        number.ContentSequence = ContentSequence(
            [CoordinatesForMeasurement(GraphicTypeValues.POINT, data, _source_image(source, evidence.slice))]
        )
    return group


def vertebra_item(vertebra: VertebraFinding) -> CodeContentItem:
    """Return a vertebra without a place as a qualitative item: its assessment, with all else as properties."""
    assessment = ASSESSMENTS[strongest_operating_point(vertebra.operating_points_reached)]
    item = CodeContentItem(
        name=ASSESSMENT,
        value=NOT_ASSESSED if vertebra.probability is None else assessment,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    site, modifier = vertebra_code(vertebra.level), RelationshipTypeValues.HAS_CONCEPT_MOD
    properties: list[CodeContentItem | NumContentItem] = [CodeContentItem(FINDING_SITE, site, modifier)]
    if vertebra.probability is not None:
        properties.append(NumContentItem(PROBABILITY, vertebra.probability, NO_UNITS, relationship_type=_PROPERTIES))
    properties += [
        CodeContentItem(name, value, _PROPERTIES) for name, value in _evaluations(vertebra) if name != ASSESSMENT
    ]
    item.ContentSequence = ContentSequence(properties)
    return item


def _evaluations(vertebra: VertebraFinding) -> Iterator[tuple[CodedConcept, CodedConcept]]:
    """Yield what is said of a vertebra in codes: name and value."""
    if vertebra.coverage is not None:
        yield COVERAGE, NOT_FOUND if vertebra.not_found else COVERAGES[vertebra.coverage]
    if vertebra.confidence is not None:
        yield LEVEL_CERTAINTY, LEVEL_CERTAINTIES[vertebra.is_level_uncertain]
    for alternative in vertebra.alternatives:
        if (code := alternative_code(alternative.level)) is not None:
            yield ALTERNATIVE_LEVEL, code
    if vertebra.probability is not None:
        yield ASSESSMENT, ASSESSMENTS[strongest_operating_point(vertebra.operating_points_reached)]


def _pixel(position: SlicePosition) -> Floats:
    """Return a position as spatial coordinates, (1, 2) column and row.

    The center of the first pixel is (0.5, 0.5), since coordinates are counted from its corner (PS3.3, C.18.6.1).
    """
    return np.array([[position.column + 0.5, position.row + 0.5]])


def _source_image(source: SourceImages, position: SlicePosition) -> SourceImageForRegion:
    dataset = source.dataset_of(position.sop_instance_uid)
    frames: Sequence[int] | None = [position.frame] if source.is_multi_frame else None
    return SourceImageForRegion(dataset.SOPClassUID, dataset.SOPInstanceUID, frames)
