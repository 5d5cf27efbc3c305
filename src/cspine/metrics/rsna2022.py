"""The metric of the RSNA 2022 Cervical Spine Fracture Detection challenge, and its constant baselines.

The metric is a weighted log loss: L = -w [y ln p + (1 - y) ln(1 - p)], with w = 1 (negative) or 2 (positive) for a
level, and 7 or 14 for the patient.

Two normalizations are in use: 'study' divides by the sum of weights within each study, 'global' once over all studies.
The published losses of constants on the challenge's 2,019 studies (raw prevalences 0.5638, best constants 0.5573) are
those of 'study'; 'global' gives 0.6127 and 0.5667. Their optimal predictions differ: 2p / (1 + p) is optimal for
'global', but worse than p itself for 'study', where the larger sum of weights of a fractured study cancels most of the
doubling.
"""

from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import InputError
from cspine.core.typing import Floats

LEVEL_WEIGHT: Final = 1.0
"""Weight of a level without a fracture."""

OVERALL_WEIGHT: Final = 7.0
"""Weight of a patient without a fracture."""

POSITIVE_FACTOR: Final = 2.0
"""Weight of a fractured target relative to the same target without a fracture."""

NEGATIVE_WEIGHTS: Final = np.array([OVERALL_WEIGHT if target == OVERALL else LEVEL_WEIGHT for target in TARGETS])
"""Weights of `TARGETS` where nothing is fractured."""

NEGATIVE_STUDY_WEIGHT: Final = float(NEGATIVE_WEIGHTS.sum())
"""Sum of the weights of a study without fractures: 7 + 7."""

EPSILON: Final = 1e-15
"""Probabilities are clipped to [EPSILON, 1 - EPSILON], as in common implementations of the log loss."""

Normalise = Literal["study", "global"]


def challenge_weights(truth: npt.ArrayLike) -> Floats:
    """Return the weight of each label: 1 or 2 for a level, 7 or 14 for the patient.

    Parameters
    ----------
    truth : (n, 8) array_like
        Labels, 0 or 1, columns `TARGETS`.

    Returns
    -------
    (n, 8) float

    Examples
    --------
    >>> challenge_weights([[1, 0, 1, 0, 0, 0, 0, 0]]).tolist()
    [[14.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
    """
    return np.asarray(NEGATIVE_WEIGHTS * np.where(np.asarray(truth) > 0, POSITIVE_FACTOR, 1.0))


def weighted_losses(truth: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the weights and the weighted log losses of all labels.

    Parameters
    ----------
    truth, probability : (n, 8) array_like
        Labels of 0 or 1, and probabilities; columns `TARGETS`.

    Returns
    -------
    (n, 8) float, (n, 8) float

    Raises
    ------
    InputError
        Shapes differ, a label is not 0 or 1, or a probability is not from 0 to 1.
    """
    labels, values = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if labels.ndim != 2 or labels.shape[1] != len(TARGETS) or labels.shape != values.shape:
        raise InputError(
            f"labels are {labels.shape} and probabilities {values.shape}; both must be (n, {len(TARGETS)}), columns "
            f"{', '.join(TARGETS)}"
        )
    if not np.isin(labels, (0.0, 1.0)).all():
        raise InputError(f"{int((~np.isin(labels, (0.0, 1.0))).sum())} labels are neither 0 nor 1; correct the labels")
    check_probabilities(values)
    clipped = np.clip(values, EPSILON, 1.0 - EPSILON)
    weights = challenge_weights(labels)
    return weights, -weights * np.where(labels > 0, np.log(clipped), np.log1p(-clipped))


def challenge_losses(truth: npt.ArrayLike, probability: npt.ArrayLike) -> Floats:
    """Return the loss of each study: its weighted log losses divided by the sum of its weights.

    Parameters
    ----------
    truth, probability
        As of `weighted_losses`.

    Returns
    -------
    (n,) float

    Raises
    ------
    InputError
        As by `weighted_losses`.
    """
    weights, losses = weighted_losses(truth, probability)
    return np.asarray(losses.sum(axis=1) / weights.sum(axis=1))


def challenge_loss(truth: npt.ArrayLike, probability: npt.ArrayLike, *, normalise: Normalise = "study") -> float:
    """Return the challenge's loss over all studies.

    Parameters
    ----------
    truth, probability : (n, 8) array_like
        Labels of 0 or 1, and probabilities; columns `TARGETS`: patient_overall, then C1 to C7. Probabilities are
        clipped to [`EPSILON`, 1 - `EPSILON`].
    normalise : 'study' or 'global'
        'study' divides within each study and averages over studies; 'global' divides the sum of all weighted losses
        by the sum of all weights. The published losses of constants are those of 'study'.

    Returns
    -------
    float

    Raises
    ------
    InputError
        As by `weighted_losses`; or there are no studies, or `normalise` is something else.

    Examples
    --------
    >>> round(challenge_loss([[0] * 8, [1] + [0] * 6 + [1]], [[0.5] * 8] * 2), 4)
    0.6931
    """
    _check_normalise(normalise)
    weights, losses = weighted_losses(truth, probability)
    if not len(losses):
        raise InputError("there are no studies to evaluate; check that predictions and labels share StudyInstanceUIDs")
    if normalise == "global":
        return float(losses.sum() / weights.sum())
    return float((losses.sum(axis=1) / weights.sum(axis=1)).mean())


def metric_optimal(probability: npt.ArrayLike) -> Floats:
    """Return the prediction with the least expected loss under global normalization: p' = 2p / (1 + p).

    Minimizing 2p(-ln q) + (1 - p)(-ln(1 - q)) over q gives q = 2p / (2p + 1 - p). Under normalization per study this
    is not optimal, and usually worse than p; see `study_optimal`.

    Parameters
    ----------
    probability : array_like
        Probabilities of a fracture, of any shape.

    Returns
    -------
    float array of the same shape

    Examples
    --------
    >>> metric_optimal([0.0, 0.5, 1.0]).round(4).tolist()
    [0.0, 0.6667, 1.0]
    """
    plain = np.asarray(probability, dtype=np.float64)
    return np.asarray(POSITIVE_FACTOR * plain / (1.0 + (POSITIVE_FACTOR - 1.0) * plain))


def remove_positive_weight(probability: npt.ArrayLike, *, positive_weight: float = POSITIVE_FACTOR) -> Floats:
    """Return the probability of a fracture from a prediction trained with weighted positives.

    The inverse of `metric_optimal`.

    Parameters
    ----------
    probability : array_like
        Predictions of a model trained with weighted positives, of any shape.
    positive_weight : float
        Weight of a positive relative to a negative in training.

    Returns
    -------
    float array of the same shape

    Examples
    --------
    >>> remove_positive_weight(metric_optimal([0.1, 0.7])).round(6).tolist()
    [0.1, 0.7]
    """
    trained = np.asarray(probability, dtype=np.float64)
    return np.asarray(trained / (positive_weight - (positive_weight - 1.0) * trained))


def study_optimal(probability: npt.ArrayLike) -> Floats:
    """Return the predictions with the least expected loss under normalization per study.

    The optimum is E[w y / W] / E[w / W], with W the sum of the study's weights: 14 where nothing is fractured, 21 + k
    where k levels are. Here k is set to its expectation in a fractured study, and the patient is taken as fractured
    whenever a level is.

    Parameters
    ----------
    probability : (..., 8) array_like
        Probabilities of a fracture, columns `TARGETS`.

    Returns
    -------
    (..., 8) float

    Examples
    --------
    >>> study_optimal([0.5, 0, 0, 0, 0, 0, 0, 0.5]).round(3).tolist()
    [0.56, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.56]
    """
    plain = np.asarray(probability, dtype=np.float64)
    patient, levels = plain[..., :1], plain[..., 1:]
    n_fractured = levels.sum(axis=-1, keepdims=True) / np.maximum(patient, EPSILON)
    fractured_weight = NEGATIVE_STUDY_WEIGHT + NEGATIVE_WEIGHTS[0] + np.clip(n_fractured, 1.0, len(VERTEBRAE))
    positive = POSITIVE_FACTOR * NEGATIVE_WEIGHTS * plain / fractured_weight
    other_level = np.maximum(patient - levels, 0.0) / fractured_weight
    unfractured = NEGATIVE_WEIGHTS * (1.0 - patient) / NEGATIVE_STUDY_WEIGHT
    negative = unfractured + np.concatenate([np.zeros_like(patient), other_level], axis=-1)
    return np.asarray(positive / (positive + negative))


def best_constants(truth: npt.ArrayLike) -> Floats:
    """Return the constant per target with the least loss on these labels, normalized per study.

    Within a study the weights are divided by their sum, which is larger for a positive study; the best constant is the
    mean of the labels under those weights. It differs from `metric_optimal` of the prevalence, which is best under
    global normalization.

    Parameters
    ----------
    truth
        As of `challenge_weights`.

    Returns
    -------
    (8,) float
    """
    labels = np.asarray(truth, dtype=np.float64)
    weights = challenge_weights(labels)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights * labels).sum(axis=0) / weights.sum(axis=0))


def constant_baselines(prevalence: npt.ArrayLike, *, normalise: Normalise = "study") -> dict[str, Floats]:
    """Return predictions that need no image, from the prevalence in the training studies.

    Parameters
    ----------
    prevalence : (8,) array_like
        Fraction of positive studies, columns `TARGETS`.
    normalise : 'study' or 'global'
        Normalization that 'best constants' are optimal for: `study_optimal` or `metric_optimal` of the prevalence. For
        'study' they are within 0.005 of `best_constants`, which needs all labels; the loss agrees to four decimals.

    Returns
    -------
    dict of str to (8,) float
        'all 0.5', 'prevalence' and 'best constants'.

    Raises
    ------
    InputError
        There are not eight prevalences from 0 to 1, or `normalise` is something else.
    """
    _check_normalise(normalise)
    plain = np.asarray(prevalence, dtype=np.float64)
    if plain.shape != (len(TARGETS),) or not ((plain >= 0.0) & (plain <= 1.0)).all():
        raise InputError(f"prevalences of shape {plain.shape} are not eight numbers from 0 to 1; give one per target")
    best = metric_optimal(plain) if normalise == "global" else study_optimal(plain)
    return {"all 0.5": np.full(len(TARGETS), 0.5), "prevalence": plain, "best constants": best}


def check_probabilities(values: Floats) -> None:
    """Check that all values are from 0 to 1.

    Parameters
    ----------
    values : (n, 8) float
        One row per study, columns `TARGETS`.

    Raises
    ------
    InputError
        A value is outside of 0 to 1, or NaN.
    """
    outside = ~((values >= 0.0) & (values <= 1.0))  # true for NaN too
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise InputError(
            f"{int(outside.sum())} probabilities are not from 0 to 1, first in row {row}, {TARGETS[column]}: "
            f"{values[row, column]}; correct the predictions"
        )


def _check_normalise(normalise: str) -> None:
    if normalise not in get_args(Normalise):
        raise InputError(f"'{normalise}' is no normalization of the challenge's loss; give 'study' or 'global'")
