"""Confidence intervals: the bootstrap over patients, and the Wilson score interval of proportions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from cspine.core.errors import InputError
from cspine.core.typing import Floats

CONFIDENCE_LEVEL: Final = 0.95
"""Coverage of all intervals."""

N_RESAMPLES: Final = 2000
"""Default number of bootstrap resamples."""

_MAX_BLOCK_SIZE: Final = 4_000_000
"""Resamples times cases per vectorized block, which bounds the working memory to about 200 MB."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval.

    Attributes
    ----------
    value : float
        Point estimate on the data themselves.
    low, high : float
        Limits of the interval; NaN where none can be computed.
    n_undefined : int
        Bootstrap resamples in which the estimate is not defined, such as an AUC of one class.
    """

    value: float
    low: float
    high: float
    n_undefined: int = 0


UNDEFINED: Final = Interval(float("nan"), float("nan"), float("nan"))
"""Estimate of a quantity that is not defined on the data, such as a proportion of no cases."""


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return a proportion with its Wilson score interval.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, J Am Stat Assoc 22 (1927).

    Parameters
    ----------
    successes : int
        Number of positive outcomes.
    trials : int
        Number of cases, successes and failures.

    Returns
    -------
    Interval
        `UNDEFINED` without trials.

    Examples
    --------
    >>> interval = wilson_interval(8, 10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.49, 0.943)
    """
    if not trials:
        return UNDEFINED
    limits = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return Interval(successes / trials, float(limits.low), float(limits.high))


def patient_weights(patients: npt.ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> npt.NDArray[np.int32]:
    """Return how often each case occurs in each resample of patients with replacement.

    All cases of a patient are resampled together, because they are not independent of each other (cluster bootstrap;
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8).

    Parameters
    ----------
    patients : (n,) array_like
        Patient identifier of each case.
    n_resamples : int
        Number of resamples, at least 1.
    seed : int
        Seed of the random generator.

    Returns
    -------
    (n_resamples, n) int32

    Raises
    ------
    InputError
        There are no patients, or no resamples are requested.
    """
    n_cases = len(np.asarray(patients))
    if n_resamples < 1 or not n_cases:
        raise InputError(f"{n_cases} patients and {n_resamples} resamples; a bootstrap needs one of each at least")
    _, cluster = np.unique(np.asarray(patients), return_inverse=True)
    n_clusters = int(cluster.max()) + 1
    counts = np.random.default_rng(seed).multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_resamples)
    return np.asarray(counts[:, cluster], np.int32)


def bootstrap_mean(values: npt.ArrayLike, weights: npt.NDArray[np.int32]) -> Floats:
    """Return the mean of the values in each resample.

    Parameters
    ----------
    values : (n,) array_like
        One value per case.
    weights : (n_resamples, n) int32
        As returned by `patient_weights`.

    Returns
    -------
    (n_resamples,) float
    """
    return np.asarray(weights @ np.asarray(values, np.float64) / weights.sum(axis=1))


def bootstrap_ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike, weights: npt.NDArray[np.int32]) -> Floats:
    """Return the ratio of two sums in each resample.

    Parameters
    ----------
    numerator, denominator : (n,) array_like
        Summands, one per case.
    weights : (n_resamples, n) int32
        As returned by `patient_weights`.

    Returns
    -------
    (n_resamples,) float
    """
    return np.asarray((weights @ np.asarray(numerator, np.float64)) / (weights @ np.asarray(denominator, np.float64)))


def bootstrap_auc(truth: npt.ArrayLike, score: npt.ArrayLike, weights: npt.NDArray[np.int32]) -> Floats:
    """Return the area under the ROC curve in each resample.

    The AUC is the Mann-Whitney statistic with ties counted half (Hanley and McNeil, Radiology 143, 1982). Cases are
    sorted by score once for all resamples, and equal scores form a group. The AUC of a resample is the sum over groups
    of its positives times the negatives in lower groups plus half of those in the same group, divided by positives
    times negatives.

    Parameters
    ----------
    truth : (n,) array_like
        Labels, 0 or 1.
    score : (n,) array_like
        Score of each case; higher means more likely positive.
    weights : (n_resamples, n) int32
        As returned by `patient_weights`.

    Returns
    -------
    (n_resamples,) float
        NaN where a resample holds one class only.
    """
    return _resample_ranked(truth, score, weights, _auc_of_groups)


def bootstrap_average_precision(truth: npt.ArrayLike, score: npt.ArrayLike, weights: npt.NDArray[np.int32]) -> Floats:
    """Return the average precision in each resample.

    The sum over groups of equal scores, from the highest, of the increment in recall times the precision at that
    threshold (as ``sklearn.metrics.average_precision_score``; no interpolation). The parameters are those of
    `bootstrap_auc`.

    Returns
    -------
    (n_resamples,) float
        NaN where a resample holds no positive.
    """
    return _resample_ranked(truth, score, weights, _average_precision_of_groups)


def _resample_ranked(
    truth: npt.ArrayLike,
    score: npt.ArrayLike,
    weights: npt.NDArray[np.int32],
    statistic: Callable[[Floats, Floats], Floats],
) -> Floats:
    """Return a statistic of the positives and negatives per group of equal scores, in ascending order of score."""
    labels, scores = np.asarray(truth) > 0, np.asarray(score, np.float64)
    order = np.argsort(scores, kind="stable")
    group_starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    block = max(_MAX_BLOCK_SIZE // max(len(labels), 1), 1)
    values = [np.empty(0)]
    for first in range(0, len(weights), block):
        counts = weights[first : first + block, order]
        positive = np.add.reduceat(counts * labels[order], group_starts, axis=1).astype(np.float64)
        negative = np.add.reduceat(counts * ~labels[order], group_starts, axis=1).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            values.append(statistic(positive, negative))
    return np.concatenate(values)


def _auc_of_groups(positive: Floats, negative: Floats) -> Floats:
    lower_negatives = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.asarray(np.sum(positive * (lower_negatives + 0.5 * negative), axis=1) / pairs)


def _average_precision_of_groups(positive: Floats, negative: Floats) -> Floats:
    tp, called = (np.cumsum(part[:, ::-1], axis=1) for part in (positive, positive + negative))
    precision = np.divide(tp, called, out=np.zeros_like(tp), where=called > 0)
    return np.asarray(np.sum(positive[:, ::-1] * precision, axis=1) / positive.sum(axis=1))


def percentile_interval(value: float, resampled: Floats) -> Interval:
    """Return the percentile interval of a bootstrap distribution (Efron and Tibshirani 1993, chapter 13).

    For the interval of a difference, subtract two estimates that were resampled with the same weights; the resamples
    are then paired.

    Parameters
    ----------
    value : float
        Estimate on the data themselves.
    resampled : (n_resamples,) float
        Estimate in each resample. Values that are not finite are left out and counted in `Interval.n_undefined`.
    """
    usable = resampled[np.isfinite(resampled)]
    if not len(usable) or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"), len(resampled))
    low, high = np.quantile(usable, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return Interval(value, float(low), float(high), int(len(resampled) - len(usable)))


def basic_interval(value: float, resampled: Floats, *, minimum: float = 0.0) -> Interval:
    """Return the basic interval of a bootstrap distribution (Davison and Hinkley 1997, section 5.2).

    Resampled distances between two samples are biased upward, since each sample also differs from its own resample.
    The basic interval mirrors the resamples at the value and thereby corrects this. It is widened to hold the value.

    Parameters
    ----------
    value : float
        Estimate on the data themselves.
    resampled : (n_resamples,) float
        Estimate in each resample.
    minimum : float
        Smallest value that the quantity can take.
    """
    mirrored = percentile_interval(value, 2 * value - resampled)
    low, high = min(max(mirrored.low, minimum), value), max(mirrored.high, value)
    return Interval(value, low, high, mirrored.n_undefined)


def proportion_interval(
    is_success: npt.ArrayLike, is_included: npt.ArrayLike, patients: npt.ArrayLike, *, n_resamples: int, seed: int = 0
) -> Interval:
    """Return a proportion with its interval: Wilson's, or the patient bootstrap where patients have several cases.

    A proportion of 0 or 1 is the same in every resample. Wilson's interval is then returned with the number of patients
    as the number of trials.

    Parameters
    ----------
    is_success : (n,) bool
        Whether a case counts in the numerator.
    is_included : (n,) bool
        Whether a case counts in the denominator.
    patients : (n,) array_like
        Patient identifier of each case.
    n_resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the random generator.
    """
    included = np.asarray(is_included, bool)
    successes, clusters = np.asarray(is_success, bool)[included], np.asarray(patients)[included]
    n_patients = len(np.unique(clusters))
    if n_patients == len(clusters):
        return wilson_interval(int(successes.sum()), len(clusters))
    value = float(successes.mean())
    if value in {0.0, 1.0}:
        return wilson_interval(round(value) * n_patients, n_patients)
    weights = patient_weights(clusters, n_resamples=n_resamples, seed=seed)
    return percentile_interval(value, bootstrap_mean(successes, weights))
