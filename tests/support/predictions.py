"""Findings that say what a test needs."""

from collections.abc import Mapping

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.findings import (
    Findings,
    NotAssessable,
    PatientFinding,
    SlicePlace,
    SoftwareIdentity,
    VertebraFinding,
    ViewEvidence,
    WeightsIdentity,
)

SOFTWARE = SoftwareIdentity(version="0")
WEIGHTS = WeightsIdentity(name="w", sha256="a" * 64, trained_on="nothing", phantom_only=True)


def found(
    study: str,
    probability: Mapping[str, float | None],
    points: Mapping[str, tuple[float, float, float]] | None = None,
) -> Findings:
    """Return findings with these probabilities, and evidence at these places: on slice z, row y, column x."""
    levels = []
    for level in VERTEBRAE:
        place = (points or {}).get(level)
        evidence: tuple[ViewEvidence, ...] = ()
        if place is not None:
            x, y, z = place
            slice_ = SlicePlace(sop_instance_uid="1", instance_number=round(z), frame=1, row=y, column=x)
            where = {"plane": "axial", "offset_mm": 0.0, "row": 1.0, "column": 1.0, "strength": 0.5}
            evidence = (ViewEvidence(point_lps_mm=place, slice=slice_, **where),)
        said = probability.get(level, 0.1)
        levels.append(
            VertebraFinding(
                level=level, probability=said, coverage="absent" if said is None else "complete", evidence=evidence
            )
        )
    overall = PatientFinding(probability=probability.get(OVERALL) or 0.1)
    return Findings(
        study_instance_uid=study,
        patient_overall=overall,
        vertebrae=tuple(levels),
        software=SOFTWARE,
        weights=WEIGHTS,
    )


def not_assessable(study: str) -> Findings:
    """Return findings of a study that no answer is given for."""
    refusal = NotAssessable(code="too-thick", reason="Slices are too thick")
    return Findings(study_instance_uid=study, not_assessable=refusal, software=SOFTWARE, weights=WEIGHTS)
