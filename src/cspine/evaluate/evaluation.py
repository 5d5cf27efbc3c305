"""Probabilities against truth: everything that a table of results needs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.anatomy import TARGETS
from cspine.errors import LabelError
from cspine.evaluate import metrics
from cspine.evaluate.intervals import (
    DRAWS,
    Interval,
    bootstrap_auc,
    bootstrap_mean,
    bootstrap_ratio,
    patient_weights,
    percentile_interval,
    wilson,
)
from cspine.evaluate.kaggle import challenge_loss, weighted_losses

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LossRow:
    """The challenge's loss of one way to answer, with both normalisations."""

    name: str
    study: Interval
    overall: Interval
    """Normalised over all studies ('global')."""


@dataclass(frozen=True)
class TargetRow:
    """How one target is told."""

    target: str
    studies: int
    positives: int
    auc: Interval
    sensitivity: Interval
    specificity: Interval
    brier: float


@dataclass(frozen=True)
class Evaluation:
    """The results on one data set; probabilities are plain unless a name says metric-optimal."""

    studies: int
    patients: int
    draws: int
    threshold: float
    losses: tuple[LossRow, ...]
    targets: tuple[TargetRow, ...]
    accuracy: float
    all_negative_accuracy: float


def evaluate(
    truth: pd.DataFrame,
    answers: dict[str, pd.DataFrame],
    patients: "pd.Series[str]",
    *,
    threshold: float = 0.5,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Judge answers against the truth.

    Parameters
    ----------
    truth : DataFrame
        Indexed by study, columns `TARGETS`, 0 or 1.
    answers : dict of DataFrame
        Name to probabilities with the same index and columns. The first is the model's plain probability, on which
        all but the loss is computed; the others, such as its metric-optimal form and constants, get a loss only.
    patients : Series
        Same index; draws are over patients.
    threshold : float
        Probability from which a target is called fractured.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    Evaluation

    Raises
    ------
    LabelError
        The tables are not of the same studies, or there are none.
    """
    for name, table in answers.items():
        if not table.index.equals(truth.index) or not patients.index.equals(truth.index):
            raise LabelError(f"'{name}' and the labels are not of the same studies in the same order; align them")
    if truth.empty:
        raise LabelError("no study has both labels and probabilities; check that their StudyInstanceUIDs agree")
    labels = truth[list(TARGETS)].to_numpy(np.int64)
    arrays = {name: table[list(TARGETS)].to_numpy(np.float64) for name, table in answers.items()}
    weights = patient_weights(patients.to_numpy(), draws=draws, seed=seed)
    plain = next(iter(arrays.values()))
    return Evaluation(
        studies=len(truth),
        patients=int(patients.nunique()),
        draws=draws,
        threshold=threshold,
        losses=tuple(_loss_row(name, labels, values, weights) for name, values in arrays.items()),
        targets=tuple(
            _target_row(target, labels[:, column], plain[:, column], threshold, weights)
            for column, target in enumerate(TARGETS)
        ),
        accuracy=metrics.label_accuracy(labels, plain, threshold),
        all_negative_accuracy=metrics.all_negative_accuracy(labels),
    )


def _loss_row(name: str, labels: npt.NDArray[np.int64], values: Floats, draws: npt.NDArray[np.int32]) -> LossRow:
    weights, losses = weighted_losses(labels, values)
    above, below = losses.sum(axis=1), weights.sum(axis=1)
    return LossRow(
        name,
        percentile_interval(challenge_loss(labels, values), bootstrap_mean(above / below, draws)),
        percentile_interval(challenge_loss(labels, values, normalise="global"), bootstrap_ratio(above, below, draws)),
    )


def _target_row(
    target: str, labels: npt.NDArray[np.int64], values: Floats, threshold: float, draws: npt.NDArray[np.int32]
) -> TargetRow:
    hit, missed, cleared, alarmed = metrics.confusion(labels, values, threshold)
    return TargetRow(
        target=target,
        studies=len(labels),
        positives=int(labels.sum()),
        auc=percentile_interval(metrics.auc(labels, values), bootstrap_auc(labels, values, draws)),
        sensitivity=wilson(hit, hit + missed),
        specificity=wilson(cleared, cleared + alarmed),
        brier=metrics.brier(labels, values),
    )
