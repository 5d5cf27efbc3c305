"""Recalibration of a site by a shift of the log-odds, from intact scans or from unlabelled ones of known prevalence."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from cspine.core.typing import Floats
from cspine.metrics.bootstrap import CONFIDENCE_LEVEL, Interval
from cspine.metrics.calibration import logit, sigmoid
from cspine.metrics.operating_points import TRIAGE_SPECIFICITY

FRACTURED_LEVEL_FRACTION: Final = 1444 / (7 * 961)
"""Fraction of C1 to C7 that are fractured in a fractured patient: 1,444 vertebrae of 961 patients (RSNA 2022,
train.csv). It turns a prevalence of patients into one of vertebrae."""

HALF_WIDTHS: Final = (0.1, 0.05, 0.03, 0.02)
"""Half widths of an interval of specificity for which the number of scans is stated."""

_SHIFTS: Final = np.linspace(-20.0, 20.0, 401)
"""Shifts of the log-odds between which those of a prevalence are interpolated; log-odds are clipped to +-16."""

_MAX_SCANS: Final = 100_000
_ROUNDING: Final = 1e-9
"""Relative error of sums of weights that does not move a quantile."""


def prior_shift(before: float, after: float) -> float:
    """Return the shift of the log-odds of calibrated probabilities when the prevalence changes (Bayes' theorem).

    >>> round(prior_shift(0.5, 0.1), 3)
    -2.197
    """
    odds = logit(np.array([before, after]))
    return float(odds[1] - odds[0])


def resampled_quantile(values: Floats, weights: npt.ArrayLike, fraction: float) -> Floats:
    """Return a quantile of the values in each resample.

    The smallest value at or below which the fraction of the weight lies, as `numpy.quantile` with ``inverted_cdf``.

    Parameters
    ----------
    values : (n,) float
        One value per case.
    weights : (n_resamples, n) array_like
        Weight of each case in each resample.
    fraction : float
        Fraction of the weight, 0 to 1.

    Returns
    -------
    (n_resamples,) float
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(np.asarray(weights, np.float64)[:, order], axis=1)
    reached = cumulative >= fraction * cumulative[:, -1:] * (1 - _ROUNDING)
    return np.asarray(values[order][reached.argmax(axis=1)])


def shift_to_prevalence(log_odds: Floats, prevalence: float, weights: npt.ArrayLike) -> Floats:
    """Return the shift of the log-odds after which the mean probability equals the prevalence.

    Calibration in the large: the cases are a mixture of known prevalence, and their likelihood ratios are known up to a
    common factor, which the shift holds.

    Parameters
    ----------
    log_odds : (n,) float
        Log-odds of unlabelled cases.
    prevalence : float
        Fraction of fractured cases, above 0 and below 1.
    weights : (n_resamples, n) array_like
        Weight of each case in each resample.

    Returns
    -------
    (n_resamples,) float

    Examples
    --------
    >>> shift_to_prevalence(np.zeros(3), 0.5, np.ones((1, 3))).round(3).tolist()
    [0.0]
    """
    target = float(logit(np.array(prevalence)))
    return np.array([np.interp(target, row, _SHIFTS) for row in logit(_mean_after_shifts(log_odds, weights))])


def estimate_prevalence(log_odds: Floats, prevalence: float, weights: npt.ArrayLike) -> Floats:
    """Return the most likely prevalence of unlabelled cases, in each resample.

    Supposes that fractured and intact cases look as they did where the classifier was calibrated, and only their
    proportion differs. The estimate is that which expectation maximization converges to (Saerens, Latinne and
    Decaestecker, Adjusting the outputs of a classifier to new a priori probabilities, Neural Computation 14, 2002):
    the prevalence that equals the mean of the probabilities which assume it. The likelihood is concave, so that there
    is one at most; it is bracketed here.

    Parameters
    ----------
    log_odds : (n,) float
        Log-odds of probabilities that are calibrated for the prevalence.
    prevalence : float
        Prevalence that the probabilities assume, above 0 and below 1.
    weights : (n_resamples, n) array_like
        Weight of each case in each resample.

    Returns
    -------
    (n_resamples,) float
        0 or 1, almost, where all cases favor one class.
    """
    prior = float(logit(np.array(prevalence)))
    excess = _mean_after_shifts(log_odds, weights) - sigmoid(_SHIFTS + prior)
    before = np.clip((excess > 0).sum(axis=1) - 1, 0, len(_SHIFTS) - 2)
    rows = np.arange(len(excess))
    drop = np.maximum(excess[rows, before] - excess[rows, before + 1], np.finfo(float).tiny)
    part = np.clip(excess[rows, before] / drop, 0.0, 1.0)
    return sigmoid(_SHIFTS[before] + part * (_SHIFTS[1] - _SHIFTS[0]) + prior)


def _mean_after_shifts(log_odds: Floats, weights: npt.ArrayLike) -> Floats:
    """Return the mean probability of each resample after each of `_SHIFTS`, (n_resamples, shifts)."""
    shifted = sigmoid(log_odds[:, None] + _SHIFTS)
    return np.asarray(np.asarray(weights, np.float64) @ shifted / np.sum(weights, axis=1)[:, None])


def scans_needed(half_width: float, *, design_effect: float = 1.0, proportion: float = TRIAGE_SPECIFICITY) -> int:
    """Return how many scans it takes for an interval of specificity of a half width.

    The smallest number whose Wilson interval around the proportion is so narrow, times the design effect (Kish 1965).

    Parameters
    ----------
    half_width : float
        Half the width of the 95 % interval, such as 0.05.
    design_effect : float
        Variance of the estimate, relative to that of as many independent cases as there are scans.
    proportion : float
        The specificity.

    Examples
    --------
    >>> scans_needed(0.05), scans_needed(0.05, design_effect=0.5)
    (141, 71)
    """
    counts = np.arange(1, _MAX_SCANS)
    independent = int(counts[np.argmax(_wilson_half_width(counts, proportion) <= half_width)])
    return max(int(np.ceil(independent * design_effect)), 1)


def design_effect_of(interval: Interval, n_scans: int) -> float:
    """Return the variance of an estimate, relative to that of as many independent cases as there are scans.

    Parameters
    ----------
    interval : Interval
        A proportion with its interval, from `n_scans` scans.
    n_scans : int
        Number of scans, at least 1.

    Examples
    --------
    >>> round(design_effect_of(Interval(0.925, 0.8014, 0.9742), 40), 2)
    1.0
    """
    independent = float(_wilson_half_width(np.array([n_scans]), interval.value)[0])
    return float(((interval.high - interval.low) / 2 / independent) ** 2)


def _wilson_half_width(counts: npt.NDArray[np.int_], proportion: float) -> Floats:
    """Return half the width of Wilson's interval around a proportion of each number of cases."""
    z = float(stats.norm.ppf((1 + CONFIDENCE_LEVEL) / 2))
    variance = proportion * (1 - proportion) / counts + z**2 / (4.0 * counts**2)
    return np.asarray(z / (1 + z**2 / counts) * np.sqrt(variance))
