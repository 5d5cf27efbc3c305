"""Operating points that were fixed on other studies: read from a file, from weights, or from findings."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from cspine.core.findings import OPERATING_POINTS, Findings, OperatingPointName, Threshold
from cspine.models.metadata import BaselineMetadata, LevelsMetadata
from cspine.models.operating_points import MAX_CHOSEN_ON_LENGTH, FixedOperatingPoint, FixedOperatingPoints

DEFAULT_OPERATING_POINT: Final = FixedOperatingPoints(
    chosen_on="not tuned (default threshold 0.5)",
    points=(FixedOperatingPoint(name="default", patient=0.5, level=0.5),),
)
"""Threshold 0.5 on patients and levels, used if no operating points are given. It was not chosen on any data;
sensitivity and specificity at this threshold are reported for orientation only."""


def operating_points_of_weights(metadata: BaselineMetadata | LevelsMetadata) -> FixedOperatingPoints | None:
    """Return the operating points stored in a network's metadata; None where there are none.

    Parameters
    ----------
    metadata : BaselineMetadata or LevelsMetadata
        Metadata of the weights. Only those of level classifiers hold operating points.
    """
    if not isinstance(metadata, LevelsMetadata):
        return None
    points = tuple(_as_fixed(point) for point in metadata.thresholds)
    return _chosen_on(f"{metadata.calibration_data}, as the weights say", points)


def operating_points_of_findings(findings: Sequence[Findings]) -> tuple[FixedOperatingPoints | None, tuple[str, ...]]:
    """Return the operating points that findings carry, with sentences on what speaks against them.

    The thresholds of ``calibration.points`` are taken. Where findings state none, thresholds are inferred from
    ``operating_points_reached``: any threshold between the highest probability that does not reach a point and the
    lowest that does gives the same counts. Findings that carry different thresholds have none in common, and none is
    taken.

    Parameters
    ----------
    findings : sequence of Findings
        Findings of one model. Those that are not assessable carry no operating points.

    Returns
    -------
    FixedOperatingPoints or None
        None where the findings carry no operating points, or contradict each other.
    tuple of str
        What the user has to know.
    """
    assessed = [each for each in findings if each.patient_overall is not None]
    carried = list(dict.fromkeys(_carried_points(each) for each in assessed))
    if len(carried) > 1:
        n_without = sum(not _carried_points(each) for each in assessed)
        fact = (
            f"{n_without} of {len(assessed)} findings carry no operating points"
            if n_without
            else f"the findings carry {len(carried)} different sets of operating points"
        )
        return None, (f"{fact}; none is used: give --operating-points",)
    if not carried or not carried[0]:
        return _inferred_points(assessed)
    calibration = next(each.calibration for each in assessed if each.calibration is not None)
    chosen_on = calibration.points_chosen_on or calibration.fitted_on
    points = _chosen_on(f"{chosen_on}, as the findings say", carried[0])
    thresholds = {point.name: point for point in carried[0]}
    n_contradicting = sum(
        thresholds.keys() & set(reached)
        != {name for name, point in thresholds.items() if probability >= getattr(point, kind)}
        for kind in ("patient", "level")
        for probability, reached in _reached(assessed, kind)
    )
    if not n_contradicting:
        return points, ()
    return points, (
        f"{n_contradicting} probabilities in the findings reach other operating points than the thresholds that the "
        "findings carry; the thresholds are used",
    )


def _chosen_on(text: str, points: tuple[FixedOperatingPoint, ...]) -> FixedOperatingPoints | None:
    return FixedOperatingPoints(chosen_on=text[:MAX_CHOSEN_ON_LENGTH], points=points) if points else None


def _carried_points(findings: Findings) -> tuple[FixedOperatingPoint, ...]:
    points = findings.calibration.points if findings.calibration is not None else ()
    return tuple(_as_fixed(point) for point in points)


def _as_fixed(point: Threshold) -> FixedOperatingPoint:
    return FixedOperatingPoint(name=point.name, patient=point.patient, level=point.level)


def _reached(findings: Sequence[Findings], kind: str) -> Iterator[tuple[float, tuple[OperatingPointName, ...]]]:
    """Yield the probability of each patient or level, and the operating points that its findings say it reaches.

    A patient with a level in the scan that was not found is left out: it reaches the rule-out point at any probability.
    """
    for each in findings:
        if kind == "patient":
            if each.patient_overall is not None and not any(vertebra.not_found for vertebra in each.vertebrae):
                yield each.patient_overall.probability, each.patient_overall.operating_points_reached
            continue
        for vertebra in each.vertebrae:
            if vertebra.probability is not None:
                yield vertebra.probability, vertebra.operating_points_reached


def _inferred_points(findings: Sequence[Findings]) -> tuple[FixedOperatingPoints | None, tuple[str, ...]]:
    """Return thresholds that agree with the operating points reached, which findings without thresholds may state."""
    points, warnings = [], []
    for name in reversed(OPERATING_POINTS):
        patient, level = (_inferred_threshold(list(_reached(findings, kind)), name) for kind in ("patient", "level"))
        if not any(name in reached for kind in ("patient", "level") for _, reached in _reached(findings, kind)):
            continue
        if patient is None or level is None:
            warnings.append(
                f"the findings carry no thresholds, and no threshold agrees with where they reach {name}; this "
                "operating point is not used: give --operating-points"
            )
            continue
        points.append(FixedOperatingPoint(name=name, patient=patient, level=level))
    text = "not stated; the thresholds are inferred from the operating points that the findings reach"
    return _chosen_on(text, tuple(points)), tuple(warnings)


def _inferred_threshold(cases: list[tuple[float, tuple[OperatingPointName, ...]]], name: str) -> float | None:
    """Return the lowest probability that reaches a point, or else just above the highest; None where cases disagree.

    None as well without a case.
    """
    if not cases:
        return None
    below = [probability for probability, reached in cases if name not in reached]
    at_or_above = [probability for probability, reached in cases if name in reached]
    if not at_or_above:
        highest = max(below, default=0.0)
        return float(np.nextafter(highest, 2.0)) if highest < 1.0 else None
    return min(at_or_above) if max(below, default=-1.0) < min(at_or_above) else None
