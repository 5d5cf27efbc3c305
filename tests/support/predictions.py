"""Findings with given probabilities, and reference standards with given labels."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.findings import (
    Findings,
    NotAssessable,
    PatientFinding,
    SlicePosition,
    SoftwareIdentity,
    VertebraFinding,
    ViewEvidence,
    WeightsIdentity,
)
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.models.operating_points import FixedOperatingPoint, FixedOperatingPoints

OPERATING_POINTS = FixedOperatingPoints(
    chosen_on="others",
    points=(
        FixedOperatingPoint(name="rule-out", patient=0.2, level=0.1),
        FixedOperatingPoint(name="triage", patient=0.5, level=0.4),
    ),
)
SOFTWARE = SoftwareIdentity(version="0")
WEIGHTS = WeightsIdentity(name="w", sha256="a" * 64, trained_on="nothing", phantom_only=True)


def make_findings(
    study: str,
    probability: Mapping[str, float | None],
    points: Mapping[str, tuple[float, float, float]] | None = None,
) -> Findings:
    """Return findings with these probabilities, and evidence at these points (x, y, z): on slice z, row y, column x."""
    levels = []
    for level in VERTEBRAE:
        point = (points or {}).get(level)
        evidence: tuple[ViewEvidence, ...] = ()
        if point is not None:
            x, y, z = point
            position = SlicePosition(sop_instance_uid="1", instance_number=round(z), frame=1, row=y, column=x)
            view = {"plane": "axial", "offset_mm": 0.0, "row": 1.0, "column": 1.0, "strength": 0.5}
            evidence = (ViewEvidence(point_lps_mm=point, slice=position, **view),)
        level_probability = probability.get(level, 0.1)
        levels.append(
            VertebraFinding(
                level=level,
                probability=level_probability,
                coverage="absent" if level_probability is None else "complete",
                evidence=evidence,
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


def make_rejected_findings(study: str) -> Findings:
    """Return findings of a study that is not assessable."""
    reason = NotAssessable(code="too-thick", reason="Slices are too thick")
    return Findings(study_instance_uid=study, not_assessable=reason, software=SOFTWARE, weights=WEIGHTS)


def make_reference(labels: pd.DataFrame, **fields: Any) -> ReferenceStandard:
    """Return a reference standard with these labels; each study is a patient of its own unless given otherwise."""
    return ReferenceStandard("made up", **{"labels": labels, "patients": labels.index.to_series(), **fields})
