"""Probabilities as Observations: of the patient, of each level, and of a study that has none."""

from collections.abc import Collection, Iterable

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.findings import (
    NotAssessable,
    OperatingPointName,
    PatientFinding,
    VertebraFinding,
    assessment_label,
)
from cspine.core.not_assessable import remedy_of
from cspine.reports.fhir.codes import (
    ABSENT_REASONS,
    ALTERNATIVE_LEVEL,
    COVERAGE,
    IMAGING_MEASUREMENT,
    MEASUREMENT_GROUP,
    NOT_ASSESSABLE_CODE,
    PROBABILITY,
    REMEDY,
    RESEARCH,
    UCUM,
    coding,
    concept,
    profiled,
)
from cspine.reports.fhir.context import Resource
from cspine.reports.remarks import remarks_of


def patient_observation(patient: PatientFinding, warnings: Iterable[str]) -> Resource:
    """Return the probability of any fracture; notes hold what limits it, and the warnings of the study."""
    observation = _observation(patient.probability)
    return observation | _remarks(patient.operating_points_reached, [*patient.reasons, *warnings])


def vertebra_observation(vertebra: VertebraFinding) -> Resource:
    """Return the probability of a level, with coverage and other possible levels as components."""
    absent = "was not found, although it lies within the scan" if vertebra.not_found else "is not in the scan"
    code = "unknown" if vertebra.not_found else "not-performed"
    observation = _observation(vertebra.probability, absent_code=code, absent_reason=f"the vertebra {absent}")
    components = [
        {"code": ALTERNATIVE_LEVEL, "valueString": f"{each.level} ({100 * each.probability:.0f} %)"}
        for each in vertebra.alternatives
    ]
    if vertebra.coverage is not None:
        components.insert(0, {"code": COVERAGE, "valueString": vertebra.coverage_label})
    if components:
        observation["component"] = components
    return observation | _remarks(vertebra.operating_points_reached, remarks_of(vertebra))


def not_assessable_observation(rejected: NotAssessable, warnings: Iterable[str]) -> Resource:
    """Return the Observation without a value that says why, by which code, and what would help."""
    observation = _observation(None, absent_code="not-performed", absent_reason=rejected.reason)
    observation["component"] = [
        {"code": NOT_ASSESSABLE_CODE, "valueString": rejected.code},
        {"code": REMEDY, "valueString": remedy_of(rejected.code)},
    ]
    return observation | _remarks((), warnings)


def _observation(probability: float | None, *, absent_code: str = "", absent_reason: str = "") -> Resource:
    """Return an Observation; the guide's profile wants a value, so that one without claims none."""
    shared = {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [concept(MEASUREMENT_GROUP)],
        "code": PROBABILITY,
    }
    if probability is None:
        names = {"unknown": "Unknown", "not-performed": "Not Performed"}
        reason = concept(coding(ABSENT_REASONS, absent_code, names[absent_code]), text=absent_reason)
        return {**shared, "meta": RESEARCH, "dataAbsentReason": reason}
    quantity = {"value": probability, "unit": "1", "system": UCUM, "code": "1"}
    return {**shared, "meta": profiled(IMAGING_MEASUREMENT), "valueQuantity": quantity}


def _remarks(operating_points_reached: Collection[OperatingPointName], notes: Iterable[str]) -> Resource:
    """Return the notes, beginning with the disclaimer, and the assessment as interpretation."""
    label = assessment_label(operating_points_reached)
    remarks: Resource = {"note": [{"text": text} for text in (RESEARCH_USE_ONLY, *notes)]}
    return remarks | ({"interpretation": [{"text": label}]} if label else {})
