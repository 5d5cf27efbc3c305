"""Areas under ROC curves with their covariance, without drawing: one system's interval, and two systems' difference.

DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, for independent cases; Obuchowski, Biometrics 53 (1997)
567, for cases that come in clusters, such as the seven vertebrae of a patient. Where each case is a cluster of its own,
the second is the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cspine.core.errors import InputError
from cspine.core.typing import Floats
from cspine.metrics.bootstrap import LEVEL, Interval


@dataclass(frozen=True)
class Areas:
    """Areas under several systems' ROC curves on the same cases.

    Attributes
    ----------
    values : (k,)
        One for each system.
    covariance : (k, k)
        Of their estimates.
    """

    values: Floats
    covariance: Floats

    def interval(self, system: int = 0) -> Interval:
        """Return a system's area with its interval, normal and cut off at 0 and 1.

        An area of 1 or 0 has no variance by this estimate and an interval of no width; where areas come near, the
        bootstrap over patients is no better, and more cases are what is needed.
        """
        return _interval(float(self.values[system]), float(self.covariance[system, system]), 0.0, 1.0)

    def difference(self, one: int = 0, other: int = 1) -> "Difference":
        """Return by how much one system's area is greater than another's, and whether that may be chance."""
        gap = float(self.values[one] - self.values[other])
        variance = float(self.covariance[one, one] + self.covariance[other, other] - 2.0 * self.covariance[one, other])
        if variance <= 0.0:  # they rank all cases alike, or neither errs
            return Difference(Interval(gap, gap, gap), float("nan"), 1.0 if gap == 0.0 else float("nan"))
        z = gap / float(np.sqrt(variance))
        return Difference(_interval(gap, variance, -1.0, 1.0), z, float(2.0 * stats.norm.sf(abs(z))))


@dataclass(frozen=True)
class Difference:
    """One area less another.

    Attributes
    ----------
    interval : Interval
    z : float
        In standard errors; NaN where there is no variance.
    p : float
        Two-sided; NaN where it cannot be told.
    """

    interval: Interval
    z: float
    p: float


def areas(truth: npt.ArrayLike, scores: npt.ArrayLike, patients: Sequence[object] | None = None) -> Areas:
    """Return the areas under the ROC curves of systems that scored the same cases.

    Parameters
    ----------
    truth : (n,)
        0 and 1.
    scores : (n,) or (k, n)
        Of one system, or of each; greater means more likely. Ties count half.
    patients : (n,), optional
        Whose each case is, where one has several; each case by itself where left out.

    Returns
    -------
    Areas

    Raises
    ------
    InputError
        Fewer than two clusters hold a positive, or a negative; or scores are no numbers.

    Notes
    -----
    With m positives X and n negatives Y, V10(X) is the share of negatives below X and V01(Y) that of positives above Y.
    Summed over a cluster and centred, their products give S10, S01 and S11, and the covariance is
    S10 / m + S01 / n + (S11 + S11') / (m n). Ranks give all V at once (Sun and Xu, IEEE Signal Processing Letters 21,
    2014).
    """
    labels, said = np.asarray(truth) > 0, np.atleast_2d(np.asarray(scores, np.float64))
    if said.shape[1] != len(labels) or not np.isfinite(said).all():
        raise InputError(f"{said.shape[1]} scores of {len(labels)} cases; give a finite one for each case")
    who = np.arange(len(labels)) if patients is None else np.unique(np.asarray(patients), return_inverse=True)[1]
    holds = [np.unique(who[of]) for of in (labels, ~labels)]
    if min(map(len, holds)) < 2:
        raise InputError(
            f"{len(holds[0])} patients with a positive and {len(holds[1])} with a negative; it takes two of each"
        )
    m, n = int(labels.sum()), int((~labels).sum())
    values, above, below = _placements(labels, said)
    count = int(who.max()) + 1
    centred = [
        np.stack([np.bincount(who[of], (row - value), count) for row, value in zip(part, values, strict=True)])
        for of, part in ((labels, above), (~labels, below))
    ]
    s10, s01 = (
        len(own) / ((len(own) - 1) * cases) * part @ part.T
        for own, cases, part in zip(holds, (m, n), centred, strict=True)
    )
    clusters = len(np.unique(who))
    s11 = clusters / (clusters - 1) * centred[0] @ centred[1].T
    return Areas(values, s10 / m + s01 / n + (s11 + s11.T) / (m * n))


def _placements(labels: npt.NDArray[np.bool_], said: Floats) -> tuple[Floats, Floats, Floats]:
    """Return areas, (k,), the share of negatives below each positive, (k, m), and of positives above each negative."""
    m, n = int(labels.sum()), int((~labels).sum())
    among_all = stats.rankdata(said, axis=1)
    above = (among_all[:, labels] - stats.rankdata(said[:, labels], axis=1)) / n
    below = 1.0 - (among_all[:, ~labels] - stats.rankdata(said[:, ~labels], axis=1)) / m
    return above.mean(axis=1), above, below


def _interval(value: float, variance: float, least: float, most: float) -> Interval:
    half = float(stats.norm.ppf(0.5 + LEVEL / 2)) * float(np.sqrt(max(variance, 0.0)))
    return Interval(value, max(value - half, least), min(value + half, most))
