"""Fitting of calibration maps, with the method chosen by cross-validation over patients."""

from typing import Final, get_args

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from cspine.core.typing import Floats
from cspine.metrics.calibration import EPSILON, Calibration, Method, logit
from cspine.metrics.logistic import fit_logistic

_METHODS: Final[tuple[Method, ...]] = get_args(Method)

_N_FOLDS: Final = 5
_RIDGE: Final = 1e-2
_MIN_SLOPE: Final = 1e-3

_MIN_CASES_PER_CLASS: Final = 20
"""Positives and negatives required to fit a map; with fewer, scores are left unchanged."""


def fit_calibration(
    truth: npt.ArrayLike,
    probability: npt.ArrayLike,
    patients: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> Calibration:
    """Choose and fit a calibration map.

    Each method is fitted in five-fold cross-validation over patients. The method with the lowest log loss on the
    left-out patients is then fitted on all of them.

    Parameters
    ----------
    truth : (n,) array_like
        Labels, 0 or 1.
    probability : (n,) array_like
        Raw probabilities by a model that was not trained on these patients.
    patients : (n,) array_like
        Patient identifier of each case; no patient is in two folds.
    weights : (n,) array_like, optional
        Weight of each case, to correct for a case mix other than that of the intended population.

    Returns
    -------
    Calibration
        Method ``none`` with too few positives or negatives; see `has_enough_cases`.
    """
    y, p = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    if not has_enough_cases(y):
        return Calibration()
    _, cluster = np.unique(np.asarray(patients), return_inverse=True)
    fold = np.random.default_rng(0).permutation(int(cluster.max()) + 1)[cluster] % _N_FOLDS
    losses = [_cross_validated_loss(method, y, p, w, fold) for method in _METHODS]
    return _fit(_METHODS[int(np.argmin(losses))], y, p, w)


def has_enough_cases(truth: npt.ArrayLike) -> bool:
    """Return whether there are enough positives and negatives to fit a calibration map.

    Parameters
    ----------
    truth : (n,) array_like
        Labels, 0 or 1.
    """
    y = np.asarray(truth, np.float64)
    return bool(min(y.sum(), (1 - y).sum()) >= _MIN_CASES_PER_CLASS)


def log_loss(truth: npt.ArrayLike, probability: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """Return the weighted mean log loss.

    Parameters
    ----------
    truth, probability, weights : (n,) array_like
        Labels of 0 or 1, probabilities above 0 and below 1, and the weight of each case.
    """
    y, p = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    return float(np.average(-(y * np.log(p) + (1 - y) * np.log1p(-p)), weights=np.asarray(weights, np.float64)))


def _cross_validated_loss(method: Method, y: Floats, p: Floats, w: Floats, fold: npt.NDArray[np.intp]) -> float:
    calibrated = np.empty(len(y))
    for number in range(_N_FOLDS):
        is_fitted = fold != number
        if len(set(y[is_fitted].tolist())) < 2:
            return float("inf")
        calibrated[~is_fitted] = _fit(method, y[is_fitted], p[is_fitted], w[is_fitted]).apply(p[~is_fitted])
    return log_loss(y, calibrated, w)


def _fit(method: Method, y: Floats, p: Floats, w: Floats) -> Calibration:
    if method == "none":
        return Calibration()
    if method == "isotonic":
        return _fit_isotonic(y, p, w)
    slope, intercept = _fit_logit_line(logit(p), y, w, with_intercept=method == "platt")
    return Calibration(method=method, slope=slope, intercept=intercept)


def _fit_isotonic(y: Floats, p: Floats, w: Floats) -> Calibration:
    model = IsotonicRegression(y_min=EPSILON, y_max=1 - EPSILON, out_of_bounds="clip").fit(p, y, sample_weight=w)
    raw, calibrated = np.asarray(model.X_thresholds_, np.float64), np.asarray(model.y_thresholds_, np.float64)
    is_distinct = np.r_[True, np.diff(raw) > 0]
    return Calibration(
        method="isotonic", raw=tuple(raw[is_distinct].tolist()), calibrated=tuple(calibrated[is_distinct].tolist())
    )


def _fit_logit_line(x: Floats, y: Floats, w: Floats, *, with_intercept: bool) -> tuple[float, float]:
    """Return slope and intercept of logistic regression on the logit, with ridge regularization towards identity."""
    design = np.stack([x, np.ones_like(x)], axis=1)[:, : 2 if with_intercept else 1]
    identity = np.array([1.0, 0.0])[: design.shape[1]]
    coefficients, _ = fit_logistic(design, y, identity, weights=w, ridge=_RIDGE)
    return max(float(coefficients[0]), _MIN_SLOPE), float(coefficients[1]) if with_intercept else 0.0
