"""Logistic regression on few numbers, by Newton's method."""

from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.metrics.calibration import sigmoid

_STEPS: Final = 100
_STILL: Final = 1e-10


def fit_logistic(
    design: Floats,
    y: Floats,
    start: Floats,
    *,
    offset: Floats | float = 0.0,
    weights: Floats | float = 1.0,
    ridge: float = 0.0,
) -> tuple[Floats, Floats]:
    """Return the coefficients, and the information matrix that their variances are the inverse of.

    Parameters
    ----------
    design : (n, k)
    y : (n,)
        0 and 1.
    start : (k,)
        Where the search begins; a `ridge` above 0 draws the coefficients towards it.
    offset : (n,), optional
        Added to the logit.
    weights : (n,), optional
        How much each case counts.

    Returns
    -------
    (k,), (k, k)
    """
    found = start.copy()
    pull = ridge * np.eye(design.shape[1])
    for _ in range(_STEPS):
        chance = sigmoid(design @ found + offset)
        slope = design.T @ (weights * (chance - y)) + pull @ (found - start)
        bend = (design * (weights * chance * (1 - chance))[:, None]).T @ design + pull
        step = np.linalg.solve(bend, slope)
        found -= np.clip(step, -1.0, 1.0)
        if float(np.abs(step).max()) < _STILL:
            break
    return found, bend
