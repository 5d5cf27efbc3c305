"""AUC within strata: ranking of cases against cases of the same stratum only."""

import numpy as np
import numpy.typing as npt

from cspine.metrics.bootstrap import N_RESAMPLES, Interval, bootstrap_auc, patient_weights, percentile_interval
from cspine.metrics.scores import auc


def stratified_auc(
    truth: npt.ArrayLike,
    score: npt.ArrayLike,
    strata: npt.ArrayLike,
    patients: npt.ArrayLike,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the AUC over pairs of one positive and one negative case of the same stratum.

    It is the mean of the strata's AUCs weighted by their numbers of such pairs (the covariate-adjusted AUC of Janes and
    Pepe, Biometrika 96, 2009, with discrete strata). With vertebral levels as strata, a score that reflects nothing but
    how often each level fractures gets 0.5.

    Parameters
    ----------
    truth : (n,)
        Labels, 0 or 1.
    score : (n,)
        Higher for positive cases.
    strata : (n,)
        Stratum of each case; a stratum with one class only has no pairs.
    patients : (n,)
        Patient of each case; resampling draws patients, with all of their cases.
    n_resamples, seed : int
        Number of bootstrap resamples, and seed of their random numbers.

    Returns
    -------
    Interval
        With the percentile interval; NaN without any pair.

    >>> interval = stratified_auc([1, 0, 1, 0], [0.2, 0.1, 0.9, 0.8], ["C1", "C1", "C7", "C7"], [0, 1, 2, 3])
    >>> interval.value
    1.0
    """
    labels, scores, groups = np.asarray(truth, np.int64), np.asarray(score, np.float64), np.asarray(strata)
    weights = patient_weights(patients, n_resamples=n_resamples, seed=seed)
    wins = n_pairs = 0.0
    resampled_wins, resampled_pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for group in np.unique(groups):
        chosen = groups == group
        own, ranked, drawn = labels[chosen], scores[chosen], weights[:, chosen]
        pairs = float(own.sum()) * float((1 - own).sum())
        if not pairs:
            continue
        wins, n_pairs = wins + pairs * auc(own, ranked), n_pairs + pairs
        drawn_pairs = (drawn @ own).astype(np.float64) * (drawn @ (1 - own))
        resampled_wins += drawn_pairs * np.nan_to_num(bootstrap_auc(own, ranked, drawn))
        resampled_pairs += drawn_pairs
    with np.errstate(invalid="ignore", divide="ignore"):
        return percentile_interval(wins / n_pairs if n_pairs else float("nan"), resampled_wins / resampled_pairs)
