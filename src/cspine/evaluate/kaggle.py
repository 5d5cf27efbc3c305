"""The challenge's metric, its baselines and its submission file.

The metric is the weighted log loss of the RSNA 2022 Cervical Spine Fracture Detection challenge:
L = -w [y ln p + (1 - y) ln(1 - p)], with w = 1 (negative) or 2 (positive) for a level, and 7 or 14 for the patient.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.errors import InputError

Floats = npt.NDArray[np.float64]

NEGATIVE_WEIGHT: Final = np.array([7.0 if target == OVERALL else 1.0 for target in TARGETS])
POSITIVE_FACTOR: Final = 2.0
EPSILON: Final = 1e-15
"""Probabilities are kept this far from 0 and 1, as the log loss of common libraries does."""

Normalise = Literal["study", "global"]


def challenge_weights(truth: npt.ArrayLike) -> Floats:
    """Return the weight of each label, (n, 8) to (n, 8)."""
    return np.asarray(NEGATIVE_WEIGHT * np.where(np.asarray(truth) > 0, POSITIVE_FACTOR, 1.0))


def challenge_losses(truth: npt.ArrayLike, probability: npt.ArrayLike) -> Floats:
    """Return each study's loss: its weighted log losses over the sum of its weights.

    Parameters
    ----------
    truth, probability : (n, 8)
        Columns `TARGETS`.

    Returns
    -------
    (n,) float

    Raises
    ------
    InputError
        Shapes differ, a label is not 0 or 1, or a probability is not from 0 to 1.
    """
    weights, losses = weighted_losses(truth, probability)
    return np.asarray(losses.sum(axis=1) / weights.sum(axis=1))


def challenge_loss(truth: npt.ArrayLike, probability: npt.ArrayLike, *, normalise: Normalise = "study") -> float:
    """Return the challenge's loss.

    Parameters
    ----------
    truth, probability : (n, 8)
        Columns `TARGETS`: patient_overall, then C1 to C7.
    normalise : 'study' or 'global'
        'study' divides within each study and averages over studies; 'global' divides the sum of all weighted losses
        by the sum of all weights.

    Raises
    ------
    InputError
        As `challenge_losses` does, or there are no studies.

    Examples
    --------
    >>> round(challenge_loss([[0] * 8, [1] + [0] * 6 + [1]], [[0.5] * 8] * 2), 4)
    0.6931
    """
    weights, losses = weighted_losses(truth, probability)
    if not len(losses):
        raise InputError("there are no studies to judge; check that predictions and labels share StudyInstanceUIDs")
    if normalise == "global":
        return float(losses.sum() / weights.sum())
    return float((losses.sum(axis=1) / weights.sum(axis=1)).mean())


def metric_optimal(probability: npt.ArrayLike) -> Floats:
    """Return what the metric rewards most where the plain probability is p: p' = 2p / (1 + p).

    Minimising 2p(-ln q) + (1 - p)(-ln(1 - q)) over q gives q = 2p / (2p + 1 - p).

    >>> metric_optimal([0.0, 0.5, 1.0]).round(4).tolist()
    [0.0, 0.6667, 1.0]
    """
    plain = np.asarray(probability, dtype=np.float64)
    return np.asarray(POSITIVE_FACTOR * plain / (1.0 + (POSITIVE_FACTOR - 1.0) * plain))


def unweighted(probability: npt.ArrayLike, *, positive_weight: float = POSITIVE_FACTOR) -> Floats:
    """Return the plain probability of one that was trained with positives weighted: the inverse of `metric_optimal`.

    >>> unweighted(metric_optimal([0.1, 0.7])).round(6).tolist()
    [0.1, 0.7]
    """
    trained = np.asarray(probability, dtype=np.float64)
    return np.asarray(trained / (positive_weight - (positive_weight - 1.0) * trained))


def best_constants(truth: npt.ArrayLike) -> Floats:
    """Return the one probability per target that has the least loss on these labels, normalised per study.

    Within a study the weights are divided by their sum, which is larger for a positive study; the best constant is the
    mean of the labels under those weights. It differs from `metric_optimal` of the prevalence, which is best where
    weights are normalised globally.
    """
    labels = np.asarray(truth, dtype=np.float64)
    weights = challenge_weights(labels)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights * labels).sum(axis=0) / weights.sum(axis=0))


def submission(studies: Sequence[str], probability: npt.ArrayLike) -> pd.DataFrame:
    """Return the challenge's submission: eight rows per study, C1 to C7 and then patient_overall.

    Parameters
    ----------
    studies : sequence of str
        StudyInstanceUIDs.
    probability : (n, 8)
        Columns `TARGETS`.

    Returns
    -------
    DataFrame
        Columns ``row_id`` and ``fractured``.

    Raises
    ------
    InputError
        Lengths differ, or a study stands twice.
    """
    values = np.asarray(probability, dtype=np.float64)
    if values.shape != (len(studies), len(TARGETS)):
        raise InputError(f"probabilities are {values.shape}, not ({len(studies)}, {len(TARGETS)}) as studies need")
    if len(set(studies)) != len(studies):
        raise InputError("a study stands twice in the submission; give each study once")
    order = [TARGETS.index(target) for target in (*VERTEBRAE, OVERALL)]
    rows = [f"{study}_{TARGETS[column]}" for study in studies for column in order]
    return pd.DataFrame({"row_id": rows, "fractured": values[:, order].ravel()})


def weighted_losses(truth: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return weights and weighted log losses, both (n, 8).

    Raises
    ------
    InputError
        As `challenge_losses` says.
    """
    labels, values = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if labels.ndim != 2 or labels.shape[1] != len(TARGETS) or labels.shape != values.shape:
        raise InputError(
            f"labels are {labels.shape} and probabilities {values.shape}; both must be (n, {len(TARGETS)}), columns "
            f"{', '.join(TARGETS)}"
        )
    if not np.isin(labels, (0.0, 1.0)).all():
        raise InputError(f"{int((~np.isin(labels, (0.0, 1.0))).sum())} labels are neither 0 nor 1; mend the labels")
    outside = ~((values >= 0.0) & (values <= 1.0))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise InputError(
            f"{int(outside.sum())} probabilities are not from 0 to 1, first in row {row}, {TARGETS[column]}: "
            f"{values[row, column]}; mend the predictions"
        )
    clipped = np.clip(values, EPSILON, 1.0 - EPSILON)
    weights = challenge_weights(labels)
    return weights, -weights * np.where(labels > 0, np.log(clipped), np.log1p(-clipped))
