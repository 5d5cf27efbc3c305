"""Point estimates of classification performance from labels and probabilities."""

from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from cspine.core.errors import InputError
from cspine.core.typing import Floats

RELIABILITY_BINS: Final = 10
"""Number of equal-width bins of the reliability diagram."""


def auc(truth: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, with ties counted half.

    The probability that a positive scores higher than a negative (Hanley and McNeil, Radiology 1982).

    Parameters
    ----------
    truth, score : (n,) array_like
        Labels of 0 or 1, and scores; higher means more likely positive.

    Returns
    -------
    float
        NaN where one class is missing.

    Examples
    --------
    >>> auc([0, 1, 1], [0.1, 0.1, 0.9])
    0.75
    """
    labels = np.asarray(truth)
    if len(np.unique(labels)) < 2:
        return float("nan")
    return float(metrics.roc_auc_score(labels, np.asarray(score)))


def brier(truth: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Return the Brier score: the mean squared difference between probability and outcome (Brier 1950)."""
    return float(np.mean((np.asarray(probability, np.float64) - np.asarray(truth, np.float64)) ** 2))


def label_accuracy(truth: npt.ArrayLike, probability: npt.ArrayLike, threshold: float) -> float:
    """Return the fraction of all labels, over studies and targets, that are predicted correctly at a threshold."""
    return float(np.mean((np.asarray(probability) >= threshold) == (np.asarray(truth) > 0)))


def all_negative_accuracy(truth: npt.ArrayLike) -> float:
    """Return the label accuracy of predicting no fracture anywhere, the baseline of any accuracy."""
    return float(np.mean(np.asarray(truth) == 0))


def confusion(truth: npt.ArrayLike, probability: npt.ArrayLike, threshold: float) -> tuple[int, int, int, int]:
    """Return true positives, false negatives, true negatives and false positives at a threshold."""
    labels, called = np.asarray(truth) > 0, np.asarray(probability) >= threshold
    return (
        int(np.sum(labels & called)),
        int(np.sum(labels & ~called)),
        int(np.sum(~labels & ~called)),
        int(np.sum(~labels & called)),
    )


def sensitivity_specificity(truth: npt.ArrayLike, probability: npt.ArrayLike, threshold: float) -> tuple[float, float]:
    """Return sensitivity and specificity at a threshold; NaN without positives or negatives.

    >>> sensitivity_specificity([1, 1, 0, 0], [0.5, 0.2, 0.1, 0.3], 0.5)
    (0.5, 1.0)
    """
    tp, fn, tn, fp = confusion(truth, probability, threshold)
    sensitivity = tp / (tp + fn) if tp + fn else float("nan")
    specificity = tn / (tn + fp) if tn + fp else float("nan")
    return sensitivity, specificity


def roc_points(truth: npt.ArrayLike, score: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return false- and true-positive rates along the ROC curve, from (0, 0) to (1, 1).

    Raises
    ------
    InputError
        One class is missing.
    """
    if len(np.unique(np.asarray(truth))) < 2:
        raise InputError("all labels are of one class, so there is no ROC curve; leave this target out")
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(np.asarray(truth), np.asarray(score))
    return np.asarray(false_positive_rate, np.float64), np.asarray(true_positive_rate, np.float64)


def reliability(truth: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """Return mean probability, observed frequency and count in each of `RELIABILITY_BINS` equal-width bins.

    The means of empty bins are NaN.
    """
    labels, values = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    bins = np.minimum((values * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    counts = np.bincount(bins, minlength=RELIABILITY_BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(bins, values, RELIABILITY_BINS) / counts
        observed = np.bincount(bins, labels, RELIABILITY_BINS) / counts
    return mean, observed, counts
