"""Performance on one target: discrimination, calibration, and operating points."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.errors import InputError
from cspine.evaluation.cases import Cases
from cspine.evaluation.operating_point_metrics import (
    FixedOperatingPoints,
    OperatingPointMetrics,
    operating_point_metrics,
)
from cspine.metrics.bootstrap import (
    UNDEFINED,
    Interval,
    bootstrap_average_precision,
    bootstrap_mean,
    patient_weights,
    percentile_interval,
)
from cspine.metrics.delong import AucDifference, estimate_aucs
from cspine.metrics.reliability import CalibrationLine, calibration_line, expected_calibration_error
from cspine.metrics.scores import auc, brier

MIN_CASES: Final = 10
"""With fewer cases of either class an estimate says little, whatever its interval."""


@dataclass(frozen=True)
class TargetMetrics:
    """Performance on one target.

    Attributes
    ----------
    target : str
        One of `TARGETS`, or ``levels`` for all vertebrae.
    n_cases, n_positives : int
        Number of cases, and of those that are fractured.
    is_small_sample : bool
        Whether either class has fewer than `MIN_CASES` cases.
    auc : Interval
        Area under the ROC curve with DeLong's interval, or Obuchowski's for vertebrae of the same patient.
    average_precision, brier_score : Interval
        With intervals of the patient bootstrap.
    calibration_error : float
        Expected calibration error over ten bins of equal counts.
    calibration_line : CalibrationLine or None
        Calibration slope and intercept; None where no line can be fitted.
    operating_points : tuple of OperatingPointMetrics
        Performance at each fixed operating point.
    """

    target: str
    n_cases: int
    n_positives: int
    is_small_sample: bool
    auc: Interval
    average_precision: Interval
    brier_score: Interval
    calibration_error: float
    calibration_line: CalibrationLine | None
    operating_points: tuple[OperatingPointMetrics, ...]


def target_metrics(
    cases: Cases, operating_points: FixedOperatingPoints, *, n_resamples: int, seed: int = 0
) -> TargetMetrics:
    """Return the performance on one target.

    Parameters
    ----------
    cases : Cases
        Any number of cases. With none, or of one class, estimates that are not defined are NaN.
    operating_points : FixedOperatingPoints
        Thresholds chosen on other studies.
    n_resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the bootstrap.
    """
    if not len(cases.truth):
        return TargetMetrics(cases.target, 0, 0, True, UNDEFINED, UNDEFINED, UNDEFINED, float("nan"), None, ())
    weights = patient_weights(cases.patients, n_resamples=n_resamples, seed=seed)
    squared_error = bootstrap_mean((cases.probability - cases.truth) ** 2, weights)
    return TargetMetrics(
        target=cases.target,
        n_cases=len(cases.truth),
        n_positives=cases.n_positives,
        is_small_sample=is_small_sample(cases),
        auc=auc_interval(cases),
        average_precision=_average_precision(cases, weights),
        brier_score=percentile_interval(brier(cases.truth, cases.probability), squared_error),
        calibration_error=expected_calibration_error(cases.truth, cases.probability),
        calibration_line=_calibration_line(cases),
        operating_points=tuple(
            operating_point_metrics(
                cases,
                point.name,
                point.patient if cases.is_patient else point.level,
                n_resamples=n_resamples,
                seed=seed,
            )
            for point in operating_points.points
        ),
    )


def is_small_sample(cases: Cases) -> bool:
    """Return whether either class has fewer than `MIN_CASES` cases."""
    return min(cases.n_positives, len(cases.truth) - cases.n_positives) < MIN_CASES


def auc_interval(cases: Cases) -> Interval:
    """Return the area under the ROC curve; without an interval where fewer than two patients have a class."""
    try:
        return estimate_aucs(cases.truth, cases.probability, cases.patients.tolist()).interval()
    except InputError:
        return Interval(auc(cases.truth, cases.probability), float("nan"), float("nan"))


def auc_difference(model: Cases, other: Cases) -> AucDifference | None:
    """Return the AUC of one model minus that of another on the same cases; None with too few of a class."""
    try:
        probabilities = [model.probability, other.probability]
        return estimate_aucs(model.truth, probabilities, model.patients.tolist()).difference()
    except InputError:
        return None


def _average_precision(cases: Cases, weights: npt.NDArray[np.int32]) -> Interval:
    each_once = np.ones((1, len(cases.truth)), np.int32)
    value = float(bootstrap_average_precision(cases.truth, cases.probability, each_once)[0])
    return percentile_interval(value, bootstrap_average_precision(cases.truth, cases.probability, weights))


def _calibration_line(cases: Cases) -> CalibrationLine | None:
    try:
        return calibration_line(cases.truth, cases.probability)
    except InputError:
        return None
