"""Scores to probabilities that mean what they say, chosen among ways by the loss on patients left out."""

from typing import Final, get_args

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from cspine.core.typing import Floats
from cspine.metrics.calibration import EPSILON, Calibration, Method, logit
from cspine.metrics.logistic import fit_logistic

_METHODS: Final[tuple[Method, ...]] = get_args(Method)

_FOLDS: Final = 5
_RIDGE: Final = 1e-2
_FEWEST: Final = 20
"""Positives and negatives that a curve of its own takes; with fewer the scores stay as they are."""


def fit_calibration(
    truth: npt.ArrayLike,
    probability: npt.ArrayLike,
    patients: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> Calibration:
    """Choose and fit a curve.

    Each way is fitted on four fifths of the patients and judged on the fifth, five times; the one with the least log
    loss is then fitted on all.

    Parameters
    ----------
    truth : (n,)
        0 and 1.
    probability : (n,)
        Raw, of a model that has not learnt from these patients.
    patients : (n,)
        Who each is of; none is on both sides.
    weights : (n,), optional
        How much each counts, where the mix of patients is not the one that probabilities are meant for.

    Returns
    -------
    Calibration
        ``none`` where there are too few positives or negatives.
    """
    y, p = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    if not enough(y):
        return Calibration()
    _, who = np.unique(np.asarray(patients), return_inverse=True)
    fold = np.random.default_rng(0).permutation(int(who.max()) + 1)[who] % _FOLDS
    losses = [_left_out_loss(method, y, p, w, fold) for method in _METHODS]
    return _fit(_METHODS[int(np.argmin(losses))], y, p, w)


def enough(truth: npt.ArrayLike) -> bool:
    """Tell whether outcomes, (n,) of 0 and 1, hold enough positives and negatives for a curve of their own."""
    y = np.asarray(truth, np.float64)
    return bool(min(y.sum(), (1 - y).sum()) >= _FEWEST)


def log_loss(truth: npt.ArrayLike, probability: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """Return the weighted mean log loss."""
    y, p = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    return float(np.average(-(y * np.log(p) + (1 - y) * np.log1p(-p)), weights=np.asarray(weights, np.float64)))


def _left_out_loss(method: Method, y: Floats, p: Floats, w: Floats, fold: npt.NDArray[np.intp]) -> float:
    found = np.empty(len(y))
    for number in range(_FOLDS):
        inside = fold != number
        if len(set(y[inside].tolist())) < 2:
            return float("inf")
        found[~inside] = _fit(method, y[inside], p[inside], w[inside]).apply(p[~inside])
    return log_loss(y, found, w)


def _fit(method: Method, y: Floats, p: Floats, w: Floats) -> Calibration:
    if method == "none":
        return Calibration()
    if method == "isotonic":
        return _isotonic(y, p, w)
    slope, offset = _line(logit(p), y, w, moves=method == "platt")
    return Calibration(method=method, slope=slope, intercept=offset)


def _isotonic(y: Floats, p: Floats, w: Floats) -> Calibration:
    curve = IsotonicRegression(y_min=EPSILON, y_max=1 - EPSILON, out_of_bounds="clip").fit(p, y, sample_weight=w)
    corners, keep = np.asarray(curve.X_thresholds_, np.float64), np.asarray(curve.y_thresholds_, np.float64)
    fresh = np.r_[True, np.diff(corners) > 0]
    return Calibration(method="isotonic", raw=tuple(corners[fresh].tolist()), calibrated=tuple(keep[fresh].tolist()))


def _line(x: Floats, y: Floats, w: Floats, *, moves: bool) -> tuple[float, float]:
    """Return slope and offset of logistic regression on one number, held lightly at that number itself."""
    design = np.stack([x, np.ones_like(x)], axis=1)[:, : 2 if moves else 1]
    start = np.array([1.0, 0.0])[: design.shape[1]]
    found, _ = fit_logistic(design, y, start, weights=w, ridge=_RIDGE)
    return max(float(found[0]), 1e-3), float(found[1]) if moves else 0.0
