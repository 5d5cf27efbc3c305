"""Performance on one target: discrimination, calibration, and operating points."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.errors import InputError
from cspine.evaluation.cases import Cases
from cspine.evaluation.operating_point_metrics import OperatingPointMetrics, operating_point_metrics
from cspine.metrics.bootstrap import (
    UNDEFINED,
    Interval,
    bootstrap_average_precision,
    bootstrap_mean,
    patient_weights,
    percentile_interval,
)
from cspine.metrics.delong import estimate_aucs
from cspine.metrics.reliability import CalibrationLine, calibration_line, expected_calibration_error
from cspine.metrics.scores import auc, brier
from cspine.models.operating_points import FixedOperatingPoints

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
        Number of cases in the reference standard, and of those that are fractured; answered or not.
    n_unanswered_fractured, n_unanswered_intact : int
        Number of fractured and of intact cases that the model does not answer.
    is_small_sample : bool
        Whether there are fewer than `MIN_CASES` fractured cases, or answered intact ones.
    auc : Interval
        Area under the ROC curve with DeLong's interval, or Obuchowski's for vertebrae of the same patient. Fractured
        cases without an answer rank lowest; intact ones are left out.
    average_precision : Interval
        With the interval of the patient bootstrap, of the same cases.
    answered_auc, answered_average_precision : Interval
        The same of the answered cases alone; equal where all fractured cases are answered.
    brier_score : Interval
        Of the answered cases, with the interval of the patient bootstrap.
    calibration_error : float
        Expected calibration error over ten bins of equal counts, of the answered cases.
    calibration_line : CalibrationLine or None
        Calibration slope and intercept of the answered cases; None where no line can be fitted.
    operating_points : tuple of OperatingPointMetrics
        Performance at each fixed operating point.
    """

    target: str
    n_cases: int
    n_positives: int
    n_unanswered_fractured: int
    n_unanswered_intact: int
    is_small_sample: bool
    auc: Interval
    average_precision: Interval
    answered_auc: Interval
    answered_average_precision: Interval
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
        Any number of cases. With none, or of one class, or without answers, estimates that are not defined are NaN.
    operating_points : FixedOperatingPoints
        Thresholds chosen on other studies.
    n_resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the bootstrap.
    """
    ranked, answered = cases.ranked(), cases.answered()
    area, average_precision = auc_interval(cases), _average_precision(ranked, n_resamples, seed)
    is_complete = not cases.n_unanswered_fractured  # all fractured cases are answered
    has_answers = len(answered.truth) > 0
    return TargetMetrics(
        target=cases.target,
        n_cases=len(cases.truth),
        n_positives=cases.n_positives,
        n_unanswered_fractured=cases.n_unanswered_fractured,
        n_unanswered_intact=cases.n_unanswered_intact,
        is_small_sample=is_small_sample(cases),
        auc=area,
        average_precision=average_precision,
        answered_auc=area if is_complete else auc_interval(answered),
        answered_average_precision=(
            average_precision if is_complete else _average_precision(answered, n_resamples, seed)
        ),
        brier_score=_brier_score(answered, n_resamples, seed),
        calibration_error=(
            expected_calibration_error(answered.truth, answered.probability) if has_answers else float("nan")
        ),
        calibration_line=_calibration_line(answered),
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
    """Return whether there are fewer than `MIN_CASES` fractured cases, or intact ones with an answer."""
    n_intact = len(cases.truth) - cases.n_positives - cases.n_unanswered_intact
    return min(cases.n_positives, n_intact) < MIN_CASES


def auc_interval(cases: Cases) -> Interval:
    """Return the area under the ROC curve; without an interval where fewer than two patients have a class.

    Fractured cases without an answer rank lowest, and intact ones are left out.
    """
    ranked = cases.ranked()
    try:
        return estimate_aucs(ranked.truth, ranked.probability, ranked.patients.tolist()).interval()
    except InputError:
        return Interval(auc(ranked.truth, ranked.probability), float("nan"), float("nan"))


def _average_precision(cases: Cases, n_resamples: int, seed: int) -> Interval:
    """Return the average precision of cases that all have a score."""
    if not len(cases.truth):
        return UNDEFINED
    each_once = np.ones((1, len(cases.truth)), np.int32)
    weights = patient_weights(cases.patients, n_resamples=n_resamples, seed=seed)
    value = float(bootstrap_average_precision(cases.truth, cases.probability, each_once)[0])
    return percentile_interval(value, bootstrap_average_precision(cases.truth, cases.probability, weights))


def _brier_score(cases: Cases, n_resamples: int, seed: int) -> Interval:
    """Return the Brier score of answered cases."""
    if not len(cases.truth):
        return UNDEFINED
    weights = patient_weights(cases.patients, n_resamples=n_resamples, seed=seed)
    resampled = bootstrap_mean((cases.probability - cases.truth) ** 2, weights)
    return percentile_interval(brier(cases.truth, cases.probability), resampled)


def _calibration_line(cases: Cases) -> CalibrationLine | None:
    try:
        return calibration_line(cases.truth, cases.probability)
    except InputError:
        return None
