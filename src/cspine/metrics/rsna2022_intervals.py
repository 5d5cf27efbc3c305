"""The challenge's loss of several sets of predictions on the same studies, with intervals and paired differences."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Floats
from cspine.metrics.bootstrap import Interval, bootstrap_mean, bootstrap_ratio, percentile_interval
from cspine.metrics.rsna2022 import weighted_losses


@dataclass(frozen=True)
class ChallengeLoss:
    """The challenge's loss of one set of predictions.

    Attributes
    ----------
    name : str
        Name of the predictions, and the transform applied to them.
    normalized_per_study, normalized_globally : Interval
        Loss in the two normalizations of `cspine.metrics.rsna2022.challenge_loss`.
    per_study_difference, global_difference : Interval
        Loss minus that of the first predictions in the same resamples. Above 0 the first predictions are better.
    """

    name: str
    normalized_per_study: Interval
    normalized_globally: Interval
    per_study_difference: Interval
    global_difference: Interval


@dataclass(frozen=True)
class _Estimate:
    """A loss, and the same loss in each resample, (n_resamples,)."""

    value: float
    resampled: Floats

    def interval(self) -> Interval:
        return percentile_interval(self.value, self.resampled)

    def minus(self, other: "_Estimate") -> Interval:
        return percentile_interval(self.value - other.value, self.resampled - other.resampled)


def challenge_loss_intervals(
    labels: npt.ArrayLike, predictions: Mapping[str, Floats], weights: npt.NDArray[np.int32]
) -> tuple[ChallengeLoss, ...]:
    """Return the losses of all predictions, with their differences to the first.

    Parameters
    ----------
    labels : (n, 8) array_like
        Labels, 0 or 1, columns `TARGETS`.
    predictions : mapping of str to (n, 8) float
        Probabilities by name. A NaN contributes neither to the losses nor to the sum of weights.
    weights : (n_resamples, n) int32
        As returned by `cspine.metrics.bootstrap.patient_weights`.

    Raises
    ------
    InputError
        A label is not 0 or 1, or a probability is not from 0 to 1.
    """
    estimates = [_estimate(labels, probability, weights) for probability in predictions.values()]
    first_per_study, first_global = estimates[0]
    return tuple(
        ChallengeLoss(
            name,
            per_study.interval(),
            overall.interval(),
            per_study.minus(first_per_study),
            overall.minus(first_global),
        )
        for name, (per_study, overall) in zip(predictions, estimates, strict=True)
    )


def _estimate(
    labels: npt.ArrayLike, probability: Floats, weights: npt.NDArray[np.int32]
) -> tuple[_Estimate, _Estimate]:
    """Return the loss normalized per study, and globally."""
    is_known = ~np.isnan(probability)
    label_weights, losses = weighted_losses(labels, np.where(is_known, probability, 0.5))
    numerator, denominator = (losses * is_known).sum(axis=1), (label_weights * is_known).sum(axis=1)
    per_study = numerator / denominator
    return (
        _Estimate(float(np.mean(per_study)), bootstrap_mean(per_study, weights)),
        _Estimate(float(numerator.sum() / denominator.sum()), bootstrap_ratio(numerator, denominator, weights)),
    )
