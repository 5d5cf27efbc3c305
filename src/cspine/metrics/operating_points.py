"""The two operating points of cspine: rule-out with high sensitivity, and triage with high specificity."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.findings import OperatingPointName

RULE_OUT_SENSITIVITY: Final = 0.97
"""Sensitivity of the rule-out point: 3 in 100 fractured cases fall below it."""

TRIAGE_SPECIFICITY: Final = 0.9
"""Specificity of the triage point: 1 in 10 cases without a fracture is prioritized falsely."""


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
    truth: npt.ArrayLike, probability: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[ThresholdChoice, ...]:
    """Return the rule-out and the triage point; none where one class is missing.

    Parameters
    ----------
    truth : (n,) array_like
        Labels, 0 or 1.
    probability : (n,) array_like
        Calibrated probabilities of cases that were not trained on.
    weights : (n,) array_like, optional
        Weight of each case, to correct for a case mix other than that of the intended population.
    """
    y, p = np.asarray(truth) > 0, np.asarray(probability, np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    if not y.any() or y.all():
        return ()
    rule_out = np.quantile(p[y], 1 - RULE_OUT_SENSITIVITY, weights=w[y], method="inverted_cdf")
    triage = np.nextafter(np.quantile(p[~y], TRIAGE_SPECIFICITY, weights=w[~y], method="inverted_cdf"), 1.0)

    def evaluate_at(name: OperatingPointName, target: str, threshold: float) -> ThresholdChoice:
        sensitivity = np.average(p[y] >= threshold, weights=w[y])
        specificity = np.average(p[~y] < threshold, weights=w[~y])
        return ThresholdChoice(name, target, threshold, float(sensitivity), float(specificity))

    return (
        evaluate_at("rule-out", f"sensitivity of at least {RULE_OUT_SENSITIVITY:.0%}", float(rule_out)),
        evaluate_at("triage", f"specificity of at least {TRIAGE_SPECIFICITY:.0%}", float(triage)),
    )
