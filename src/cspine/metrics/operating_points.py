"""Two declared operating points: one that misses little, one that alarms little."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

RULE_OUT_SENSITIVITY: Final = 0.97
"""A scan called clear is then fractured in a few of a hundred fractured ones only."""

TRIAGE_SPECIFICITY: Final = 0.9
"""One in ten clear scans is then read first for nothing."""


@dataclass(frozen=True)
class Point:
    """A threshold and what it does to the cases that it was chosen on."""

    name: Literal["rule-out", "triage"]
    target: str
    threshold: float
    sensitivity: float
    specificity: float


def choose_points(
    truth: npt.ArrayLike, probability: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[Point, ...]:
    """Return both operating points; none where one class is missing.

    Parameters
    ----------
    truth : (n,)
        0 and 1.
    probability : (n,)
        Calibrated, of cases that were not trained on.
    weights : (n,), optional
        How much each case counts, where they are not as frequent as among those that shall be judged.
    """
    y, p = np.asarray(truth) > 0, np.asarray(probability, np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    if not y.any() or y.all():
        return ()
    missed = np.quantile(p[y], 1 - RULE_OUT_SENSITIVITY, weights=w[y], method="inverted_cdf")
    alarmed = np.nextafter(np.quantile(p[~y], TRIAGE_SPECIFICITY, weights=w[~y], method="inverted_cdf"), 1.0)

    def point(name: Literal["rule-out", "triage"], target: str, at: float) -> Point:
        found, cleared = np.average(p[y] >= at, weights=w[y]), np.average(p[~y] < at, weights=w[~y])
        return Point(name, target, at, float(found), float(cleared))

    return (
        point("rule-out", f"sensitivity of {RULE_OUT_SENSITIVITY:.0%} at least", float(missed)),
        point("triage", f"specificity of {TRIAGE_SPECIFICITY:.0%} at least", float(alarmed)),
    )
