"""The challenge's metric, its baselines and its submission file.

The metric is the weighted log loss of the RSNA 2022 Cervical Spine Fracture Detection challenge:
L = -w [y ln p + (1 - y) ln(1 - p)], with w = 1 (negative) or 2 (positive) for a level, and 7 or 14 for the patient.

Two normalisations are seen: 'study' divides by the sum of weights within each study, 'global' once over all. The known
losses of constants on the challenge's 2,019 studies (raw prevalences 0.5638, best constants 0.5573) are those of
'study'; 'global' gives 0.6127 and 0.5667. They want different answers: 2p / (1 + p) is best for 'global' and worse than
p itself for 'study', where a fractured study's larger sum of weights takes back most of the doubling.
"""

from collections.abc import Sequence
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import InputError, LabelError
from cspine.core.typing import Floats

NEGATIVE_WEIGHT: Final = np.array([7.0 if target == OVERALL else 1.0 for target in TARGETS])
POSITIVE_FACTOR: Final = 2.0
EPSILON: Final = 1e-15
"""Probabilities are kept this far from 0 and 1, as the log loss of common libraries does."""

_PATIENT_AND_LEVELS: Final = float(NEGATIVE_WEIGHT.sum())
"""Sum of a study's weights where nothing is fractured: 7 + 7."""

Normalise = Literal["study", "global"]


def challenge_weights(truth: npt.ArrayLike) -> Floats:
    """Return the weight of each label, (n, 8) to (n, 8): 1 or 2 for a level, 7 or 14 for the patient.

    >>> challenge_weights([[1, 0, 1, 0, 0, 0, 0, 0]]).tolist()
    [[14.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
    """
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
        Probabilities are kept `EPSILON` away from 0 and 1.
    normalise : 'study' or 'global'
        'study' divides within each study and averages over studies; 'global' divides the sum of all weighted losses
        by the sum of all weights. 'study' is the one that the published constants come from.

    Returns
    -------
    float

    Raises
    ------
    InputError
        As `challenge_losses` does, there are no studies, or `normalise` is something else.

    Examples
    --------
    >>> round(challenge_loss([[0] * 8, [1] + [0] * 6 + [1]], [[0.5] * 8] * 2), 4)
    0.6931
    """
    _check_normalise(normalise)
    weights, losses = weighted_losses(truth, probability)
    if not len(losses):
        raise InputError("there are no studies to judge; check that predictions and labels share StudyInstanceUIDs")
    if normalise == "global":
        return float(losses.sum() / weights.sum())
    return float((losses.sum(axis=1) / weights.sum(axis=1)).mean())


def metric_optimal(probability: npt.ArrayLike) -> Floats:
    """Return what the metric, normalised globally, rewards most where the plain probability is p: p' = 2p / (1 + p).

    Minimising 2p(-ln q) + (1 - p)(-ln(1 - q)) over q gives q = 2p / (2p + 1 - p). Normalised per study this is not the
    best answer, and usually worse than p: see `study_optimal`.

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


def study_optimal(probability: npt.ArrayLike) -> Floats:
    """Return what the metric, normalised per study, rewards most where the plain probabilities are p.

    The best answer is E[w y / W] / E[w / W], with W the sum of the study's weights: 14 where nothing is fractured,
    21 + k where k levels are. Here k is taken at its expectation in a fractured study, and the patient as fractured
    whenever a level is.

    Parameters
    ----------
    probability : (..., 8)
        Plain probabilities, columns `TARGETS`.

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
    expected = levels.sum(axis=-1, keepdims=True) / np.maximum(patient, EPSILON)
    fractured = _PATIENT_AND_LEVELS + NEGATIVE_WEIGHT[0] + np.clip(expected, 1.0, len(VERTEBRAE))
    positive = POSITIVE_FACTOR * NEGATIVE_WEIGHT * plain / fractured
    other_level = np.maximum(patient - levels, 0.0) / fractured
    unfractured = NEGATIVE_WEIGHT * (1.0 - patient) / _PATIENT_AND_LEVELS
    negative = unfractured + np.concatenate([np.zeros_like(patient), other_level], axis=-1)
    return np.asarray(positive / (positive + negative))


def best_constants(truth: npt.ArrayLike) -> Floats:
    """Return the one probability per target that has the least loss on these labels, normalised per study.

    Within a study the weights are divided by their sum, which is larger for a positive study; the best constant is the
    mean of the labels under those weights. It differs from `metric_optimal` of the prevalence, which is best where
    weights are normalised globally.

    Parameters
    ----------
    truth : (n, 8)
        Columns `TARGETS`.

    Returns
    -------
    (8,) float
    """
    labels = np.asarray(truth, dtype=np.float64)
    weights = challenge_weights(labels)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights * labels).sum(axis=0) / weights.sum(axis=0))


def constant_baselines(prevalence: npt.ArrayLike, *, normalise: Normalise = "study") -> dict[str, Floats]:
    """Return answers that need no image, from the training studies' prevalence alone.

    Parameters
    ----------
    prevalence : (8,)
        Fraction of positive studies, columns `TARGETS`.
    normalise : 'study' or 'global'
        What 'best constants' are best for: `study_optimal` or `metric_optimal` of the prevalence. For 'study' they are
        within 0.005 of `best_constants`, which needs all labels, and lose nothing in the fourth decimal.

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


def submission(
    studies: Sequence[str], probability: npt.ArrayLike, *, row_ids: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the challenge's submission: eight rows per study, C1 to C7 and then patient_overall.

    Parameters
    ----------
    studies : sequence of str
        StudyInstanceUIDs.
    probability : (n, 8)
        Columns `TARGETS`.
    row_ids : sequence of str, optional
        The ``row_id`` column of the challenge's test.csv: the rows that are asked for, in that order. Without it, all
        rows of all studies in theirs.

    Returns
    -------
    DataFrame
        Columns ``row_id`` and ``fractured``.

    Raises
    ------
    InputError
        Lengths differ, a probability is not from 0 to 1, or a study stands twice.
    LabelError
        Rows are asked for twice, or without a probability to give.
    """
    values = np.asarray(probability, dtype=np.float64)
    if values.shape != (len(studies), len(TARGETS)):
        raise InputError(f"probabilities are {values.shape}, not ({len(studies)}, {len(TARGETS)}) as studies need")
    if len(set(studies)) != len(studies):
        raise InputError("a study stands twice in the submission; give each study once")
    _check_probability(values)
    order = [TARGETS.index(target) for target in (*VERTEBRAE, OVERALL)]
    rows = [f"{study}_{TARGETS[column]}" for study in studies for column in order]
    table = pd.DataFrame({"row_id": rows, "fractured": values[:, order].ravel()})
    return table if row_ids is None else _only_asked(table, row_ids)


def _only_asked(table: pd.DataFrame, row_ids: Sequence[str]) -> pd.DataFrame:
    """Return the rows that test.csv asks for, in its order."""
    asked = pd.Index(row_ids)
    known = set(table["row_id"])
    image_quality_problems = (
        (asked[asked.duplicated()].tolist(), "stand twice in test.csv; get the file again"),
        ([row for row in asked if row not in known], "of test.csv have no probability; predict their studies first"),
    )
    for offenders, what in image_quality_problems:
        if offenders:
            raise LabelError(f"{len(offenders)} of {len(asked)} rows {what} (first: {', '.join(offenders[:3])})")
    return table.set_index("row_id").loc[asked].rename_axis("row_id").reset_index()


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
    _check_probability(values)
    clipped = np.clip(values, EPSILON, 1.0 - EPSILON)
    weights = challenge_weights(labels)
    return weights, -weights * np.where(labels > 0, np.log(clipped), np.log1p(-clipped))


def _check_probability(values: Floats) -> None:
    outside = ~((values >= 0.0) & (values <= 1.0))  # true for NaN too
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise InputError(
            f"{int(outside.sum())} probabilities are not from 0 to 1, first in row {row}, {TARGETS[column]}: "
            f"{values[row, column]}; mend the predictions"
        )


def _check_normalise(normalise: str) -> None:
    if normalise not in get_args(Normalise):
        raise InputError(f"'{normalise}' is no normalisation of the challenge's loss; give 'study' or 'global'")
