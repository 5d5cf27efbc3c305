"""The two operating points of cspine: rule-out with high sensitivity, and triage with high specificity."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.findings import OperatingPointName
from cspine.core.typing import Floats

RULE_OUT_SENSITIVITY: Final = 0.97
"""Sensitivity of the rule-out point: 3 in 100 fractured cases fall below it."""

MIN_RULE_OUT_SPECIFICITY: Final = 0.5
"""Least specificity of a rule-out point that predictions use. Below it, most of the intact cases reach the point: it
rules out little, and its label says nothing."""

TRIAGE_SPECIFICITY: Final = 0.9
"""Specificity of the triage point: 1 in 10 cases without a fracture is prioritized falsely."""

POINT_CRITERIA: Final[dict[OperatingPointName, str]] = {
    "rule-out": f"sensitivity of at least {RULE_OUT_SENSITIVITY:.0%}",
    "triage": f"specificity of at least {TRIAGE_SPECIFICITY:.0%}",
}
"""Criterion that each point is chosen by, as findings and reports show it."""


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold with its performance on the cases that it was chosen on.

    Attributes
    ----------
    name : str
        Name of the operating point, ``rule-out`` or ``triage``.
    target : str
        Criterion that the threshold meets, for reports.
    threshold : float
        Cases with a probability at or above it count as fractured.
    sensitivity, specificity : float
        Weighted, on the cases that the threshold was chosen on.
    """

    name: OperatingPointName
    target: str
    threshold: float
    sensitivity: float
    specificity: float


def choose_operating_points(
    truth: npt.ArrayLike,
    probability: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> tuple[ThresholdChoice, ...]:
    """Return the rule-out and the triage point; none where one class is missing.

    Each criterion is met in every group that has cases of its class: the rule-out threshold is the lowest that a group
    needs, the triage threshold the highest.

    Parameters
    ----------
    truth : (n,) array_like
        Labels, 0 or 1.
    probability : (n,) array_like
        Calibrated probabilities of cases that were not trained on.
    weights : (n,) array_like, optional
        Weight of each case, to correct for a case mix other than that of the intended population.
    groups : (n,) array_like, optional
        Group of each case, such as phantoms and real scans; all cases are one group where omitted.
    """
    y, p = np.asarray(truth) > 0, np.asarray(probability, np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    if not y.any() or y.all():
        return ()
    group = np.zeros(len(y), int) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    parts = [group == number for number in np.unique(group)]
    rule_out = [rule_out_threshold(p[part & y], w[part & y]) for part in parts if (part & y).any()]
    triage = [triage_threshold(p[part & ~y], w[part & ~y]) for part in parts if (part & ~y).any()]
    thresholds: dict[OperatingPointName, float] = {"rule-out": min(rule_out), "triage": max(triage)}

    def evaluate_at(name: OperatingPointName, threshold: float) -> ThresholdChoice:
        sensitivity = np.average(p[y] >= threshold, weights=w[y])
        specificity = np.average(p[~y] < threshold, weights=w[~y])
        return ThresholdChoice(name, POINT_CRITERIA[name], threshold, float(sensitivity), float(specificity))

    return tuple(evaluate_at(name, threshold) for name, threshold in thresholds.items())


def is_useful_point(name: str, specificity: float) -> bool:
    """Return whether predictions use an operating point: any but a rule-out point of little specificity.

    >>> is_useful_point("rule-out", 0.1), is_useful_point("rule-out", 0.6), is_useful_point("triage", 0.1)
    (False, True, True)
    """
    return name != "rule-out" or specificity >= MIN_RULE_OUT_SPECIFICITY


def rule_out_threshold(fractured: Floats, weights: Floats) -> float:
    """Return the threshold that `RULE_OUT_SENSITIVITY` of the fractured cases reach, (n,) with their weights."""
    return float(np.quantile(fractured, 1 - RULE_OUT_SENSITIVITY, weights=weights, method="inverted_cdf"))


def triage_threshold(intact: Floats, weights: Floats, fraction: float = TRIAGE_SPECIFICITY) -> float:
    """Return the threshold that a fraction of intact cases lies below: just above their quantile.

    Parameters
    ----------
    intact : (n,) float
        Probabilities of cases without a fracture.
    weights : (n,) float
        Weight of each case.
    fraction : float
        Fraction of the weight that lies below the threshold, at least.
    """
    quantile = np.quantile(intact, fraction, weights=weights, method="inverted_cdf")
    return float(np.nextafter(quantile, 1.0))
