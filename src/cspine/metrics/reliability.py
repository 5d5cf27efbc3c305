"""Whether probabilities mean what they say, and what acting on them would be worth."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from cspine.core.errors import InputError
from cspine.core.typing import Floats
from cspine.metrics.bootstrap import LEVEL, Interval
from cspine.metrics.calibration import EPSILON, logit
from cspine.metrics.logistic import fit_logistic

_ALIKE: Final = 1e-4
"""Logits no further apart are alike."""


@dataclass(frozen=True)
class CalibrationLine:
    """Logistic regression of the outcome on the probability's logit (Cox, Biometrika 45, 1958, 562).

    Attributes
    ----------
    slope : Interval
        1 is right; below it, probabilities are too extreme.
    intercept : Interval
        With the slope held at 1: 0 is right; above it, probabilities are too low (calibration in the large).
    """

    slope: Interval
    intercept: Interval


def calibration_line(truth: npt.ArrayLike, probability: npt.ArrayLike) -> CalibrationLine:
    """Return slope and intercept with Wald intervals of independent cases.

    Parameters
    ----------
    truth : (n,)
        0 and 1.
    probability : (n,)

    Raises
    ------
    InputError
        One class only, or probabilities that separate both classes or are all alike: no line fits.
    """
    y, p = _checked(truth, probability)
    x = logit(np.clip(p, EPSILON, 1 - EPSILON))
    if y.min() == y.max():
        raise InputError(f"{len(y)} cases of one class; calibration takes both")
    if np.ptp(x) < _ALIKE:
        raise InputError("all probabilities are alike; no slope can be told")
    if x[y > 0].min() >= x[y == 0].max() or x[y > 0].max() <= x[y == 0].min():
        raise InputError("the probabilities separate both classes; no slope fits")
    ones = np.ones(len(y))
    spread = float(x.std())  # logits that lie close together make steep slopes, which Newton's steps would not find
    found = _first(np.stack([(x - x.mean()) / spread, ones], axis=1), [0.0, 0.0], 0.0, y)
    slope = Interval(found.value / spread, found.low / spread, found.high / spread)
    return CalibrationLine(slope, intercept=_first(ones[:, None], [0.0], x, y))


def expected_calibration_error(truth: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10) -> float:
    """Return the mean distance between what is said and what happens, over bins that hold equally many cases.

    Naeini, Cooper and Hauskrecht (AAAI 2015) with bins of equal counts, since most probabilities of a fracture are
    small and bins of equal width would hold nearly all cases in one. Cases with equal probabilities stay in one bin.

    >>> round(expected_calibration_error([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9], bins=2), 2)
    0.2
    """
    y, p = _checked(truth, probability)
    if bins < 1:
        raise InputError(f"{bins} bins; take one or more")
    which = np.minimum((stats.rankdata(p, "min") - 1) * bins // len(p), bins - 1).astype(int)
    count = np.bincount(which, minlength=bins)
    off = np.abs(np.bincount(which, p, bins) - np.bincount(which, y, bins))
    return float(off.sum() / count.sum())


def net_benefit(truth: npt.ArrayLike, probability: npt.ArrayLike, thresholds: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return what acting from each threshold on is worth, in true positives a case (Vickers and Elkin 2006).

    Parameters
    ----------
    truth, probability : (n,)
    thresholds : (t,)
        Probabilities, above 0 and below 1, at which one is indifferent between acting and not.

    Returns
    -------
    (t,), (t,)
        By these probabilities; and of acting on everybody. Acting on nobody is worth 0.

    >>> own, everybody = net_benefit([1, 0, 0, 1], [0.9, 0.6, 0.1, 0.4], [0.5])
    >>> float(own[0]), float(everybody[0])
    (0.0, 0.0)
    """
    y, p = _checked(truth, probability)
    at = np.asarray(thresholds, np.float64)
    if not ((at > 0) & (at < 1)).all():
        raise InputError("thresholds of a decision curve lie above 0 and below 1")
    acts = p >= at[:, None]
    cost = at / (1 - at)
    own = (acts & (y > 0)).mean(axis=1) - cost * (acts & (y == 0)).mean(axis=1)
    return own, y.mean() - cost * (1 - y.mean())


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """Return what a positive and a negative answer are worth where fractures are as common as stated (Bayes).

    >>> ppv, npv = predictive_values(0.9, 0.8, 0.05)
    >>> round(ppv, 3), round(npv, 4)
    (0.191, 0.9935)
    """
    if not all(0.0 <= value <= 1.0 for value in (sensitivity, specificity, prevalence)):
        raise InputError("sensitivity, specificity and prevalence lie between 0 and 1")
    hit, alarm = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    miss, rest = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return _share(hit, alarm), _share(rest, miss)


def _share(one: float, other: float) -> float:
    return one / (one + other) if one + other else float("nan")


def _checked(truth: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Floats, Floats]:
    y, p = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    if y.shape != p.shape or not len(y):
        raise InputError(f"{p.size} probabilities of {y.size} cases; give one for each, of one case at least")
    if not ((p >= 0) & (p <= 1)).all() or not np.isin(y, (0.0, 1.0)).all():
        raise InputError("outcomes are 0 or 1, and probabilities lie between")
    return y, p


def _first(design: Floats, start: list[float], offset: Floats | float, y: Floats) -> Interval:
    """Return a logistic regression's first coefficient with its interval."""
    found, bend = fit_logistic(design, y, np.array(start), offset=offset)
    half = float(stats.norm.ppf(0.5 + LEVEL / 2)) * float(np.sqrt(np.linalg.inv(bend)[0, 0]))
    value = float(found[0])
    return Interval(value, value - half, value + half)
