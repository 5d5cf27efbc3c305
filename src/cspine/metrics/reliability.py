"""Calibration assessment, net benefit, and predictive values at a stated prevalence."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from cspine.core.errors import InputError
from cspine.core.typing import Floats
from cspine.metrics.bootstrap import CONFIDENCE_LEVEL, Interval
from cspine.metrics.calibration import EPSILON, logit
from cspine.metrics.logistic import fit_logistic

_MIN_LOGIT_RANGE: Final = 1e-4
"""Logits within a smaller range count as constant."""


@dataclass(frozen=True)
class CalibrationLine:
    """Logistic regression of the outcome on the logit of the probability (Cox, Biometrika 45, 1958, 562).

    Attributes
    ----------
    slope : Interval
        Calibration slope. 1 is ideal; below 1, probabilities are too extreme.
    intercept : Interval
        Calibration in the large: the intercept with the slope fixed at 1. 0 is ideal; above 0, probabilities are too
        low.
    """

    slope: Interval
    intercept: Interval


def calibration_line(truth: npt.ArrayLike, probability: npt.ArrayLike) -> CalibrationLine:
    """Return calibration slope and intercept, with Wald intervals that take cases as independent.

    Parameters
    ----------
    truth : (n,) array_like
        Labels, 0 or 1.
    probability : (n,) array_like
        Predicted probabilities of a fracture, 0 to 1.

    Raises
    ------
    InputError
        There is one class only, or the probabilities are constant or separate both classes: no line can be fitted.
    """
    y, p = _validate(truth, probability)
    x = logit(np.clip(p, EPSILON, 1 - EPSILON))
    if y.min() == y.max():
        raise InputError(f"{len(y)} cases of one class; calibration takes both")
    if np.ptp(x) < _MIN_LOGIT_RANGE:
        raise InputError("all probabilities are equal; no slope can be fitted")
    if x[y > 0].min() >= x[y == 0].max() or x[y > 0].max() <= x[y == 0].min():
        raise InputError("the probabilities separate both classes; no slope can be fitted")
    ones = np.ones(len(y))
    scale = float(x.std())  # Newton's limited steps would not reach the steep slopes of logits that lie close together
    standardized = _fit_first_coefficient(np.stack([(x - x.mean()) / scale, ones], axis=1), [0.0, 0.0], 0.0, y)
    slope = Interval(standardized.value / scale, standardized.low / scale, standardized.high / scale)
    return CalibrationLine(slope, intercept=_fit_first_coefficient(ones[:, None], [0.0], x, y))


def expected_calibration_error(truth: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error over bins of equal counts.

    The mean distance between mean probability and observed frequency (Naeini, Cooper and Hauskrecht, AAAI 2015). Most
    probabilities of a fracture are small, so one of the usual equal-width bins would hold nearly all cases. Equal
    probabilities stay in one bin.

    Parameters
    ----------
    truth, probability
        As of `calibration_line`.
    bins : int
        Number of bins of equal counts.

    Examples
    --------
    >>> round(expected_calibration_error([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9], bins=2), 2)
    0.2
    """
    y, p = _validate(truth, probability)
    if bins < 1:
        raise InputError(f"{bins} bins; take one or more")
    bin_of = np.minimum((stats.rankdata(p, "min") - 1) * bins // len(p), bins - 1).astype(int)
    count = np.bincount(bin_of, minlength=bins)
    distance = np.abs(np.bincount(bin_of, p, bins) - np.bincount(bin_of, y, bins))
    return float(distance.sum() / count.sum())


def net_benefit(truth: npt.ArrayLike, probability: npt.ArrayLike, thresholds: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the net benefit at each threshold, in true positives per case (Vickers and Elkin 2006).

    Parameters
    ----------
    truth, probability
        As of `calibration_line`.
    thresholds : (t,) array_like
        Threshold probabilities, above 0 and below 1.

    Returns
    -------
    (t,) float, (t,) float
        Net benefit of treating by the prediction, and of treating all. That of treating none is 0.

    Examples
    --------
    >>> model, treat_all = net_benefit([1, 0, 0, 1], [0.9, 0.6, 0.1, 0.4], [0.5])
    >>> float(model[0]), float(treat_all[0])
    (0.0, 0.0)
    """
    y, p = _validate(truth, probability)
    threshold = np.asarray(thresholds, np.float64)
    if not ((threshold > 0) & (threshold < 1)).all():
        raise InputError("thresholds of a decision curve lie above 0 and below 1")
    is_treated = p >= threshold[:, None]
    odds = threshold / (1 - threshold)
    model = (is_treated & (y > 0)).mean(axis=1) - odds * (is_treated & (y == 0)).mean(axis=1)
    return model, y.mean() - odds * (1 - y.mean())


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """Return positive and negative predictive value at a stated prevalence, by Bayes' theorem.

    >>> ppv, npv = predictive_values(0.9, 0.8, 0.05)
    >>> round(ppv, 3), round(npv, 4)
    (0.191, 0.9935)
    """
    if not all(0.0 <= value <= 1.0 for value in (sensitivity, specificity, prevalence)):
        raise InputError("sensitivity, specificity and prevalence lie between 0 and 1")
    tp, fp = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    fn, tn = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return _fraction(tp, fp), _fraction(tn, fn)


def _fraction(part: float, remainder: float) -> float:
    return part / (part + remainder) if part + remainder else float("nan")


def _validate(truth: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Floats, Floats]:
    y, p = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    if y.shape != p.shape or not len(y):
        raise InputError(f"{p.size} probabilities of {y.size} cases; give one for each, of one case at least")
    if not ((p >= 0) & (p <= 1)).all() or not np.isin(y, (0.0, 1.0)).all():
        raise InputError("outcomes are 0 or 1, and probabilities lie between")
    return y, p


def _fit_first_coefficient(design: Floats, initial: list[float], offset: Floats | float, y: Floats) -> Interval:
    """Return the first coefficient of a logistic regression with its Wald interval."""
    coefficients, hessian = fit_logistic(design, y, np.array(initial), offset=offset)
    normal_quantile = float(stats.norm.ppf(0.5 + CONFIDENCE_LEVEL / 2))
    half_width = normal_quantile * float(np.sqrt(np.linalg.inv(hessian)[0, 0]))
    value = float(coefficients[0])
    return Interval(value, value - half_width, value + half_width)
