"""Areas under ROC curves with their covariance in closed form: intervals and paired differences without resampling.

DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, for independent cases; Obuchowski, Biometrics 53 (1997)
567, for clustered cases such as the seven vertebrae of a patient. With one case per cluster both are equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cspine.core.errors import InputError
from cspine.core.typing import Bools, Floats
from cspine.metrics.bootstrap import CONFIDENCE_LEVEL, Interval


@dataclass(frozen=True)
class AucDifference:
    """Difference of the areas under two ROC curves on the same cases.

    Attributes
    ----------
    interval : Interval
        Difference with its 95 % interval.
    z : float
        Difference in standard errors; NaN without variance.
    p_value : float
        Two-sided p-value of equal areas; NaN where it is not defined.
    """

    interval: Interval
    z: float
    p_value: float


@dataclass(frozen=True)
class AucEstimates:
    """Areas under the ROC curves of several models on the same cases.

    Attributes
    ----------
    values : (k,) float
        Area of each model.
    covariance : (k, k) float
        Covariance matrix of the estimates.
    """

    values: Floats
    covariance: Floats

    def interval(self, model: int = 0) -> Interval:
        """Return a model's area with its normal interval, clipped to [0, 1].

        The estimated variance of an area of 0 or 1 is 0, and the interval then has no width. Close to these limits the
        patient bootstrap is no better; only more cases help.
        """
        return _normal_interval(float(self.values[model]), float(self.covariance[model, model]), 0.0, 1.0)

    def difference(self, model: int = 0, other: int = 1) -> AucDifference:
        """Return the area of one model minus that of another, with a two-sided test of equality."""
        value = float(self.values[model] - self.values[other])
        variance = float(
            self.covariance[model, model] + self.covariance[other, other] - 2.0 * self.covariance[model, other]
        )
        if variance <= 0.0:  # both rank all cases alike, or neither makes an error
            return AucDifference(Interval(value, value, value), float("nan"), 1.0 if value == 0.0 else float("nan"))
        z = value / float(np.sqrt(variance))
        return AucDifference(_normal_interval(value, variance, -1.0, 1.0), z, float(2.0 * stats.norm.sf(abs(z))))


def estimate_aucs(
    truth: npt.ArrayLike, scores: npt.ArrayLike, patients: Sequence[object] | None = None
) -> AucEstimates:
    """Return the areas under the ROC curves of models that scored the same cases.

    Parameters
    ----------
    truth : (n,) array_like
        Labels, 0 or 1.
    scores : (n,) or (k, n) array_like
        Scores of one model or of k models; higher means more likely positive. Ties count half.
    patients : (n,) sequence, optional
        Patient identifier of each case where patients have several cases. Cases are independent if omitted.

    Returns
    -------
    AucEstimates

    Raises
    ------
    InputError
        Fewer than two patients have a positive, or a negative; or a score is not finite.

    Notes
    -----
    With m positives X and n negatives Y, the placement value V10(X) is the fraction of negatives below X, and V01(Y)
    the fraction of positives above Y. Summed over a cluster and centered, their products give S10, S01 and S11, and the
    covariance is S10 / m + S01 / n + (S11 + S11') / (m n). Midranks give all placement values at once (Sun and Xu, IEEE
    Signal Processing Letters 21, 2014).
    """
    labels, values = np.asarray(truth) > 0, np.atleast_2d(np.asarray(scores, np.float64))
    if values.shape[1] != len(labels) or not np.isfinite(values).all():
        raise InputError(f"{values.shape[1]} scores of {len(labels)} cases; give a finite one for each case")
    cluster = np.arange(len(labels)) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    holders = [np.unique(cluster[in_class]) for in_class in (labels, ~labels)]
    if min(map(len, holders)) < 2:
        raise InputError(
            f"{len(holders[0])} patients with a positive and {len(holders[1])} with a negative; it takes two of each"
        )
    m, n = int(labels.sum()), int((~labels).sum())
    areas, v10, v01 = _placement_values(labels, values)
    n_bins = int(cluster.max()) + 1
    centered = [
        np.stack([np.bincount(cluster[in_class], (row - area), n_bins) for row, area in zip(part, areas, strict=True)])
        for in_class, part in ((labels, v10), (~labels, v01))
    ]
    s10, s01 = (
        len(patients_of_class) / ((len(patients_of_class) - 1) * n_cases) * part @ part.T
        for patients_of_class, n_cases, part in zip(holders, (m, n), centered, strict=True)
    )
    n_clusters = len(np.unique(cluster))
    s11 = n_clusters / (n_clusters - 1) * centered[0] @ centered[1].T
    return AucEstimates(areas, s10 / m + s01 / n + (s11 + s11.T) / (m * n))


def _placement_values(labels: Bools, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the areas, (k,), V10 of each positive, (k, m), and V01 of each negative, (k, n)."""
    m, n = int(labels.sum()), int((~labels).sum())
    ranks = stats.rankdata(scores, axis=1)
    v10 = (ranks[:, labels] - stats.rankdata(scores[:, labels], axis=1)) / n
    v01 = 1.0 - (ranks[:, ~labels] - stats.rankdata(scores[:, ~labels], axis=1)) / m
    return v10.mean(axis=1), v10, v01


def _normal_interval(value: float, variance: float, minimum: float, maximum: float) -> Interval:
    half_width = float(stats.norm.ppf(0.5 + CONFIDENCE_LEVEL / 2)) * float(np.sqrt(max(variance, 0.0)))
    return Interval(value, max(value - half_width, minimum), min(value + half_width, maximum))
