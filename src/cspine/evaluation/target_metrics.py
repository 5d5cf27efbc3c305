"""How well cases of one kind are told: ranking, calibration, and what frozen thresholds do."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.errors import InputError
from cspine.evaluation.cases import Cases
from cspine.evaluation.operating_point_metrics import FixedOperatingPoints, PointRow, operating_point_metrics
from cspine.metrics.bootstrap import (
    UNKNOWN,
    Interval,
    bootstrap_average_precision,
    bootstrap_mean,
    patient_weights,
    percentile_interval,
)
from cspine.metrics.delong import Difference, areas
from cspine.metrics.reliability import CalibrationLine, calibration_line, expected_calibration_error
from cspine.metrics.scores import auc, brier

MIN_CASES: Final = 10
"""With fewer fractured or whole cases a number says little, whatever its interval."""


@dataclass(frozen=True)
class TargetRow:
    """How one kind of cases is told.

    Attributes
    ----------
    what : str
        One of `TARGETS`, or all ``levels``.
    cases, positives : int
        How many, and how many of them are fractured.
    few : bool
        Whether these are too few to say much.
    auc : Interval
        DeLong's, of vertebrae of the same patient Obuchowski's.
    average_precision, brier : Interval
        By the bootstrap over patients.
    calibration_error : float
        Of ten bins with equally many cases.
    line : CalibrationLine or None
        None where none fits.
    points : tuple of PointRow
        What frozen thresholds do.
    """

    what: str
    cases: int
    positives: int
    few: bool
    auc: Interval
    average_precision: Interval
    brier: Interval
    calibration_error: float
    line: CalibrationLine | None
    points: tuple[PointRow, ...]


def target_metrics(cases: Cases, points: FixedOperatingPoints, *, draws: int, seed: int = 0) -> TargetRow:
    """Return how well cases are told.

    Parameters
    ----------
    cases : Cases
        Any number; of none, or of one class, what cannot be told is NaN.
    points : FixedOperatingPoints
        Thresholds that were chosen on others.
    draws, seed : int
        Of the bootstrap over patients.
    """
    if not len(cases.truth):
        return TargetRow(cases.what, 0, 0, True, UNKNOWN, UNKNOWN, UNKNOWN, float("nan"), None, ())
    weights = patient_weights(cases.patients, draws=draws, seed=seed)
    return TargetRow(
        cases.what,
        len(cases.truth),
        cases.positives,
        is_few(cases),
        area_of(cases),
        _precision(cases, weights),
        percentile_interval(brier(cases.truth, cases.said), bootstrap_mean((cases.said - cases.truth) ** 2, weights)),
        expected_calibration_error(cases.truth, cases.said),
        _line(cases),
        tuple(
            operating_point_metrics(
                cases, point.name, point.patient if cases.is_patient else point.level, draws=draws, seed=seed
            )
            for point in points.points
        ),
    )


def is_few(cases: Cases) -> bool:
    """Tell whether cases are too few to say much."""
    return min(cases.positives, len(cases.truth) - cases.positives) < MIN_CASES


def area_of(cases: Cases) -> Interval:
    """Return the area under the ROC curve; without an interval where fewer than two patients hold a class."""
    try:
        return areas(cases.truth, cases.said, cases.patients.tolist()).interval()
    except InputError:
        return Interval(auc(cases.truth, cases.said), float("nan"), float("nan"))


def auc_difference(one: Cases, other: Cases) -> Difference | None:
    """Return one system's area less another's on the same cases; None of too few of a class."""
    try:
        return areas(one.truth, [one.said, other.said], one.patients.tolist()).difference()
    except InputError:
        return None


def _precision(cases: Cases, weights: "np.ndarray[tuple[int, int], np.dtype[np.int32]]") -> Interval:
    own = np.ones((1, len(cases.truth)), np.int32)
    value = float(bootstrap_average_precision(cases.truth, cases.said, own)[0])
    return percentile_interval(value, bootstrap_average_precision(cases.truth, cases.said, weights))


def _line(cases: Cases) -> CalibrationLine | None:
    try:
        return calibration_line(cases.truth, cases.said)
    except InputError:
        return None
