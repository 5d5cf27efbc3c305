"""The performance of a model at operating points, and their choice for other studies."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.errors import LabelError
from cspine.core.typing import Bools
from cspine.evaluation.cases import Cases
from cspine.metrics.bootstrap import (
    Interval,
    bootstrap_ratio,
    patient_weights,
    percentile_interval,
    proportion_interval,
)
from cspine.metrics.operating_points import choose_operating_points
from cspine.metrics.scores import confusion
from cspine.models.operating_points import FixedOperatingPoint, FixedOperatingPoints

PREVALENCES: Final = (0.04, 0.09)
"""Lower and upper end of the reported prevalence of fractures among scanned patients."""


def choose_fixed_operating_points(
    patients: Cases, levels: Cases, *, chosen_on: str, studies_sha256: str = ""
) -> FixedOperatingPoints:
    """Choose operating points on those of these cases that are answered, for use on others.

    A case without an answer lies below every threshold, so that no choice of a threshold can detect it.

    Parameters
    ----------
    patients, levels : Cases
        Patients, and vertebrae of all levels, of one model.
    chosen_on : str
        Description of the studies and the model.
    studies_sha256 : str
        Hash of the studies, by which in-sample use of the points is detected.

    Raises
    ------
    LabelError
        All patients or all vertebrae are of one class.
    """
    patient_points, level_points = (
        choose_operating_points(cases.truth, cases.probability) for cases in (patients.answered(), levels.answered())
    )
    if not patient_points or not level_points:
        raise LabelError(f"{chosen_on}: operating points need cases with and without fractures; give more studies")
    points = tuple(
        FixedOperatingPoint(name=patient.name, patient=patient.threshold, level=level.threshold)
        for patient, level in zip(patient_points, level_points, strict=True)
    )
    return FixedOperatingPoints(chosen_on=chosen_on[:400], studies_sha256=studies_sha256, points=points)


@dataclass(frozen=True)
class PredictiveValues:
    """Positive and negative predictive value at a stated prevalence."""

    prevalence: float
    ppv: Interval
    npv: Interval


@dataclass(frozen=True)
class OperatingPointMetrics:
    """Performance at a threshold.

    Attributes
    ----------
    name : str
        Name of the operating point.
    threshold : float
        Cases with a probability at or above it count as fractured.
    tp, fn, tn, fp : int
        Counts of the confusion matrix: true positives, false negatives, true negatives, false positives. Fractured
        cases without an answer are false negatives; intact ones are in none of the four.
    n_unanswered_fractured, n_unanswered_intact : int
        Fractured and intact cases without an answer.
    sensitivity, specificity, ppv, npv : Interval
        With Wilson's interval, or that of the patient bootstrap where patients have several cases.
    at_prevalence : tuple of PredictiveValues
        Predictive values at `PREVALENCES`, with intervals of the patient bootstrap; empty for vertebrae.
    """

    name: str
    threshold: float
    tp: int
    fn: int
    tn: int
    fp: int
    n_unanswered_fractured: int
    n_unanswered_intact: int
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    at_prevalence: tuple[PredictiveValues, ...]


def operating_point_metrics(
    cases: Cases, name: str, threshold: float, *, n_resamples: int, seed: int = 0
) -> OperatingPointMetrics:
    """Return the performance of a model at a threshold.

    Fractured cases without an answer count as missed, in sensitivity and negative predictive value. Specificity is that
    of the intact cases with an answer.

    Parameters
    ----------
    cases : Cases
        Patients or vertebrae with their labels and probabilities.
    name : str
        Name of the operating point.
    threshold : float
        Cases with a probability at or above it count as fractured.
    n_resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the bootstrap.
    """
    ranked = cases.ranked()
    is_fractured, is_called = ranked.truth > 0, ranked.probability >= threshold
    tp, fn, tn, fp = confusion(ranked.truth, ranked.probability, threshold)

    def proportion(is_success: Bools, is_included: Bools) -> Interval:
        return proportion_interval(is_success, is_included, ranked.patients, n_resamples=n_resamples, seed=seed)

    return OperatingPointMetrics(
        name=name,
        threshold=threshold,
        tp=tp,
        fn=fn,
        tn=tn,
        fp=fp,
        n_unanswered_fractured=cases.n_unanswered_fractured,
        n_unanswered_intact=cases.n_unanswered_intact,
        sensitivity=proportion(is_called, is_fractured),
        specificity=proportion(~is_called, ~is_fractured),
        ppv=proportion(is_fractured, is_called),
        npv=proportion(~is_fractured, ~is_called),
        at_prevalence=_at_prevalences(ranked, is_called, n_resamples, seed) if cases.is_patient else (),
    )


def _at_prevalences(cases: Cases, is_called: Bools, n_resamples: int, seed: int) -> tuple[PredictiveValues, ...]:
    """Return predictive values at `PREVALENCES` by Bayes' theorem, in each resample of patients."""
    is_fractured = cases.truth > 0
    resamples = patient_weights(cases.patients, n_resamples=n_resamples, seed=seed)
    weights = np.vstack([np.ones(len(is_called), np.int32), resamples])  # the first row is the data themselves
    rows = []
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = bootstrap_ratio(is_called & is_fractured, is_fractured, weights)
        specificity = bootstrap_ratio(~is_called & ~is_fractured, ~is_fractured, weights)
        for prevalence in PREVALENCES:
            tp, fp = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
            fn, tn = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
            values = (tp / (tp + fp), tn / (tn + fn))
            rows.append(PredictiveValues(prevalence, *(percentile_interval(float(v[0]), v[1:]) for v in values)))
    return tuple(rows)
