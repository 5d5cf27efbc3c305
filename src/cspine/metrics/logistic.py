"""Logistic regression with few coefficients, by Newton's method."""

from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.metrics.calibration import sigmoid

_MAX_ITERATIONS: Final = 100
_MAX_STEP: Final = 1.0
_TOLERANCE: Final = 1e-10


def fit_logistic(
    design: Floats,
    y: Floats,
    initial: Floats,
    *,
    offset: Floats | float = 0.0,
    weights: Floats | float = 1.0,
    ridge: float = 0.0,
) -> tuple[Floats, Floats]:
    """Return maximum-likelihood coefficients and the Hessian, the inverse of their covariance.

    Parameters
    ----------
    design : (n, k) float
        Design matrix: one row per case, one column per coefficient.
    y : (n,) float
        Labels, 0 or 1.
    initial : (k,) float
        Initial coefficients, and the center of the ridge penalty.
    offset : (n,) float, optional
        Added to the logit.
    weights : (n,) float, optional
        Weight of each case.
    ridge : float
        Penalty on the squared distance from the initial coefficients.

    Returns
    -------
    (k,) float, (k, k) float
    """
    coefficients = initial.copy()
    penalty = ridge * np.eye(design.shape[1])
    for _ in range(_MAX_ITERATIONS):
        probability = sigmoid(design @ coefficients + offset)
        gradient = design.T @ (weights * (probability - y)) + penalty @ (coefficients - initial)
        hessian = (design * (weights * probability * (1 - probability))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        coefficients -= np.clip(step, -_MAX_STEP, _MAX_STEP)
        if float(np.abs(step).max()) < _TOLERANCE:
            break
    return coefficients, hessian
