"""Two declared operating points: one that misses little, one that alarms little."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from cspine.evaluate.metrics import sensitivity_specificity

RULE_OUT_SENSITIVITY: Final = 0.97
"""A scan called clear is then fractured in a few of a hundred fractured ones only."""

TRIAGE_SPECIFICITY: Final = 0.9
"""One in ten clear scans is then read first for nothing."""


@dataclass(frozen=True)
class Point:
    """A threshold and what it does to the cases that it was chosen on."""

    name: Literal["rule-out", "triage"]
    meaning: str
    threshold: float
    sensitivity: float
    specificity: float


def choose_points(truth: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Point, ...]:
    """Return both operating points; none where one class is missing.

    Parameters
    ----------
    truth : (n,)
        0 and 1.
    probability : (n,)
        Calibrated, of cases that were not trained on.
    """
    y, p = np.asarray(truth) > 0, np.asarray(probability, np.float64)
    if not y.any() or y.all():
        return ()
    missed = np.quantile(p[y], 1 - RULE_OUT_SENSITIVITY, method="lower")
    alarmed = np.nextafter(np.quantile(p[~y], TRIAGE_SPECIFICITY, method="higher"), 1.0)
    return (
        _point("rule-out", f"sensitivity of {RULE_OUT_SENSITIVITY:.0%} at least", float(missed), y, p),
        _point("triage", f"specificity of {TRIAGE_SPECIFICITY:.0%} at least", float(alarmed), y, p),
    )


def _point(
    name: Literal["rule-out", "triage"],
    meaning: str,
    threshold: float,
    truth: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float64],
) -> Point:
    sensitivity, specificity = sensitivity_specificity(truth, probability, threshold)
    return Point(name, meaning, threshold, sensitivity, specificity)
