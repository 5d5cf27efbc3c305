"""How sure a number is: the bootstrap over patients, and Wilson's interval for proportions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from cspine.core.errors import InputError
from cspine.core.typing import Floats

LEVEL: Final = 0.95
DRAWS: Final = 2000

_BLOCK: Final = 4_000_000
"""Draws times cases that are worked on at once: some 200 MB."""


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval; `unusable` counts draws in which it could not be computed."""

    value: float
    low: float
    high: float
    unusable: int = 0


UNKNOWN: Final = Interval(float("nan"), float("nan"), float("nan"))
"""What cannot be told."""


def wilson(successes: int, trials: int) -> Interval:
    """Return a proportion with Wilson's score interval; NaN without trials.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, J Am Stat Assoc 22 (1927).

    >>> interval = wilson(8, 10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.49, 0.943)
    """
    if not trials:
        return UNKNOWN
    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    proportion = successes / trials
    middle = (proportion + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(proportion * (1 - proportion) / trials + z**2 / (4 * trials**2))
    low, high = np.clip([middle - half, middle + half], 0.0, 1.0)  # rounding may leave it by 1e-17
    return Interval(proportion, float(low), float(high))


def patient_weights(patients: npt.ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> npt.NDArray[np.int32]:
    """Return how often each study is drawn when patients are drawn with replacement, (draws, n).

    All studies of a patient are drawn together, because they are not independent of each other (the cluster bootstrap;
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8).

    Parameters
    ----------
    patients : (n,)
        Who each study is of.
    draws, seed : int
        How many draws, at least one, and what they are made from.

    Raises
    ------
    InputError
        There are no patients, or no draws are wanted.
    """
    if draws < 1 or not len(np.asarray(patients)):
        raise InputError(f"{len(np.asarray(patients))} patients and {draws} draws; a bootstrap needs one of each")
    _, who = np.unique(np.asarray(patients), return_inverse=True)
    count = int(who.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return np.asarray(drawn[:, who], np.int32)


def bootstrap_mean(values: npt.ArrayLike, weights: npt.NDArray[np.int32]) -> Floats:
    """Return the mean of (n,) values in each draw, (draws,)."""
    return np.asarray(weights @ np.asarray(values, np.float64) / weights.sum(axis=1))


def bootstrap_ratio(above: npt.ArrayLike, below: npt.ArrayLike, weights: npt.NDArray[np.int32]) -> Floats:
    """Return the sum of `above` over the sum of `below`, both (n,), in each draw."""
    return np.asarray((weights @ np.asarray(above, np.float64)) / (weights @ np.asarray(below, np.float64)))


def bootstrap_auc(truth: npt.ArrayLike, score: npt.ArrayLike, weights: npt.NDArray[np.int32]) -> Floats:
    """Return the AUC in each draw, all draws in one pass; NaN where a draw holds one class only.

    The AUC is the Mann-Whitney statistic, ties counted half (Hanley and McNeil, Radiology 143, 1982). Studies are
    sorted by score once; equal scores form a group. The AUC of a draw is the sum over groups of its positives times the
    negatives in lower groups plus half of those in the same, over positives times negatives.

    Parameters
    ----------
    truth, score : (n,)
        Labels of 0 and 1, and what they are ranked by.
    weights : (draws, n)
        Of `patient_weights`.

    Returns
    -------
    (draws,) float
    """
    return _by_rank(truth, score, weights, _areas)


def bootstrap_average_precision(truth: npt.ArrayLike, score: npt.ArrayLike, weights: npt.NDArray[np.int32]) -> Floats:
    """Return the average precision in each draw; NaN where a draw holds no positive.

    The sum over groups of equal scores, from the highest, of the share of positives that a group adds, times the
    precision of calling all down to it (as scikit-learn's average_precision_score; no interpolation).

    Parameters
    ----------
    truth, score : (n,)
    weights : (draws, n)
        Of `patient_weights`.

    Returns
    -------
    (draws,) float
    """
    return _by_rank(truth, score, weights, _precisions)


def _by_rank(
    truth: npt.ArrayLike,
    score: npt.ArrayLike,
    weights: npt.NDArray[np.int32],
    measure: Callable[[Floats, Floats], Floats],
) -> Floats:
    """Return a measure of each draw's positives and negatives in rising groups of equal scores."""
    labels, scores = np.asarray(truth) > 0, np.asarray(score, np.float64)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    together = max(_BLOCK // max(len(labels), 1), 1)
    found = [np.empty(0)]
    for first in range(0, len(weights), together):
        drawn = weights[first : first + together, order]
        positive = np.add.reduceat(drawn * labels[order], starts, axis=1).astype(np.float64)
        negative = np.add.reduceat(drawn * ~labels[order], starts, axis=1).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(measure(positive, negative))
    return np.concatenate(found)


def _areas(positive: Floats, negative: Floats) -> Floats:
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.asarray(np.sum(positive * (below + 0.5 * negative), axis=1) / pairs)


def _precisions(positive: Floats, negative: Floats) -> Floats:
    hit, called = (np.cumsum(part[:, ::-1], axis=1) for part in (positive, positive + negative))
    precision = np.divide(hit, called, out=np.zeros_like(hit), where=called > 0)
    return np.asarray(np.sum(positive[:, ::-1] * precision, axis=1) / positive.sum(axis=1))


def percentile_interval(value: float, drawn: Floats) -> Interval:
    """Return the percentile interval of bootstrap draws (Efron and Tibshirani 1993, chapter 13).

    For the interval of a difference, subtract two quantities drawn with the same weights: the draws are then paired.

    Parameters
    ----------
    value : float
        The number on the data itself.
    drawn : (draws,)
        The same number in each draw; those that are not finite are left out and counted in `Interval.unusable`.
    """
    usable = drawn[np.isfinite(drawn)]
    if not len(usable) or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"), len(drawn))
    low, high = np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), int(len(drawn) - len(usable)))


def basic_interval(value: float, drawn: Floats, *, least: float = 0.0) -> Interval:
    """Return the basic interval of bootstrap draws (Davison and Hinkley 1997, section 5.2).

    Draws of a distance lie above it, since each of two samples differs from itself when it is drawn anew; the basic
    interval mirrors them at the value and so takes that back. It is widened to hold the value itself.

    Parameters
    ----------
    value : float
        The number on the data itself.
    drawn : (draws,)
        The same number in each draw.
    least : float
        That the number can be at least.
    """
    mirrored = percentile_interval(value, 2 * value - drawn)
    low, high = min(max(mirrored.low, least), value), max(mirrored.high, value)
    return Interval(value, low, high, mirrored.unusable)


def proportion(
    of: npt.ArrayLike, among: npt.ArrayLike, patients: npt.ArrayLike, *, draws: int, seed: int = 0
) -> Interval:
    """Return a share with its interval: Wilson's, or where patients have several cases the bootstrap over patients.

    Where all cases or none count, no draw differs from another: then Wilson's, as if each patient were one case.

    Parameters
    ----------
    of, among : (n,) bool
        What counts, and among which cases.
    patients : (n,)
        Whose each case is.
    draws, seed : int
        Of the bootstrap.
    """
    chosen = np.asarray(among, bool)
    counts, who = np.asarray(of, bool)[chosen], np.asarray(patients)[chosen]
    people = len(np.unique(who))
    if people == len(who):
        return wilson(int(counts.sum()), len(who))
    value = float(counts.mean())
    if value in {0.0, 1.0}:
        return wilson(round(value) * people, people)
    weights = patient_weights(who, draws=draws, seed=seed)
    return percentile_interval(value, bootstrap_mean(counts, weights))
