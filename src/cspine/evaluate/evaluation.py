"""Probabilities against truth: everything that a table of results needs."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.anatomy import TARGETS
from cspine.errors import InputError, LabelError
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
from cspine.evaluate.kaggle import challenge_loss, metric_optimal, study_optimal, weighted_losses

Floats = npt.NDArray[np.float64]

PLAIN: Final = "model, plain probability p"
GLOBAL_OPTIMAL: Final = "model, metric-optimal 2p/(1+p)"
STUDY_OPTIMAL: Final = "model, optimal per study"


@dataclass(frozen=True)
class LossRow:
    """The challenge's loss of one way to answer, with both normalisations.

    Attributes
    ----------
    name : str
        Which answer, and in which form.
    study, overall : Interval
        Normalised within each study ('study') and over all studies ('global').
    study_difference, overall_difference : Interval
        The same less the first answer's, in the same draws: above 0, this answer is worse than the first.
    """

    name: str
    study: Interval
    overall: Interval
    study_difference: Interval
    overall_difference: Interval


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
    """The results on one data set; probabilities are plain unless a name says metric-optimal.

    Attributes
    ----------
    threshold : float
        Plain probability from which a target counts as called, for sensitivity, specificity and accuracy.
    losses : tuple of LossRow
        The model's plain probability first.
    targets : tuple of TargetRow
        In the order of `TARGETS`.
    accuracy, all_negative_accuracy : float
        Share of all labels that are right: the model's, and that of calling nothing fractured.
    """

    studies: int
    patients: int
    draws: int
    threshold: float
    losses: tuple[LossRow, ...]
    targets: tuple[TargetRow, ...]
    accuracy: float
    all_negative_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries and lists; NaN, which JSON lacks, is None."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def evaluate(
    truth: pd.DataFrame,
    probability: pd.DataFrame | Mapping[str, pd.DataFrame],
    patients: "pd.Series[str]",
    *,
    baselines: Mapping[str, npt.ArrayLike] | None = None,
    threshold: float = 0.5,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Judge a model's probabilities, and answers that need no model beside them, against the truth.

    Parameters
    ----------
    truth : DataFrame
        Indexed by study, columns `TARGETS`, 0 or 1.
    probability : DataFrame, or mapping of str to DataFrame
        The model's plain probability p, same index and columns. The loss is told for p, its `metric_optimal` and its
        `study_optimal` form; all else is computed on p. A mapping names ready answers instead: the first is p, the
        others get a loss only.
    patients : Series
        Same index; draws are over patients.
    baselines : mapping of str to (8,), optional
        Constants from the training studies, as `cspine.evaluate.kaggle.constant_baselines` gives them.
    threshold : float
        Plain probability from which a target is called fractured.
    draws, seed : int
        Of the bootstrap over patients.

    Raises
    ------
    LabelError
        The tables are not of the same studies, lack columns or patients, name a study twice, or there are none.
    InputError
        A label is not 0 or 1, a probability is not from 0 to 1, or the threshold is not.
    """
    tables = _model_answers(probability) if isinstance(probability, pd.DataFrame) else dict(probability)
    tables |= {f"constant: {name}": _constant(truth.index, values) for name, values in (baselines or {}).items()}
    _check(truth, tables, patients, threshold)
    labels = truth[list(TARGETS)].to_numpy(np.float64)
    arrays = {name: table[list(TARGETS)].to_numpy(np.float64) for name, table in tables.items()}
    weights = patient_weights(patients.to_numpy(), draws=draws, seed=seed)
    plain = next(iter(arrays.values()))
    return Evaluation(
        studies=len(truth),
        patients=int(patients.nunique()),
        draws=draws,
        threshold=threshold,
        losses=_loss_rows(labels, arrays, weights),
        targets=tuple(
            _target_row(target, labels[:, column], plain[:, column], threshold, weights)
            for column, target in enumerate(TARGETS)
        ),
        accuracy=metrics.label_accuracy(labels, plain, threshold),
        all_negative_accuracy=metrics.all_negative_accuracy(labels),
    )


def _model_answers(probability: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the model's answer in the three forms that get a loss, the plain one first."""
    if set(TARGETS) - set(probability.columns):
        return {PLAIN: probability}  # _check says what is missing
    plain = probability[list(TARGETS)]
    forms = {GLOBAL_OPTIMAL: metric_optimal(plain), STUDY_OPTIMAL: study_optimal(plain)}
    return {PLAIN: plain} | {
        name: pd.DataFrame(values, index=plain.index, columns=plain.columns) for name, values in forms.items()
    }


def _constant(studies: "pd.Index[Any]", values: npt.ArrayLike) -> pd.DataFrame:
    constants = np.asarray(values, np.float64)
    if constants.shape != (len(TARGETS),):
        raise InputError(f"a baseline of shape {constants.shape} is not eight constants; give one per target")
    return pd.DataFrame(np.tile(constants, (len(studies), 1)), index=studies, columns=list(TARGETS))


def _check(truth: pd.DataFrame, tables: dict[str, pd.DataFrame], patients: "pd.Series[str]", threshold: float) -> None:
    """Refuse tables that are not of the same studies, before anything is computed."""
    if not 0.0 <= threshold <= 1.0:
        raise InputError(f"the threshold {threshold:g} is no probability; give one from 0 to 1")
    if truth.empty or not tables:
        raise LabelError("no study has both labels and probabilities; check that their StudyInstanceUIDs agree")
    for name, table in {"truth": truth, **tables}.items():
        missing = [target for target in TARGETS if target not in table.columns]
        if missing:
            raise LabelError(f"'{name}' lacks the columns {', '.join(missing)}; give all eight targets")
    if not truth.index.is_unique:
        raise LabelError(f"{int(truth.index.duplicated().sum())} studies stand twice in the labels; keep one row each")
    for name, index in {"patients": patients.index, **{name: table.index for name, table in tables.items()}}.items():
        if not index.equals(truth.index):
            raise LabelError(f"'{name}' and the labels are not of the same studies in the same order; align them")
    if patients.isna().any():
        raise LabelError(f"{int(patients.isna().sum())} studies have no patient; give each one, if need be its own UID")


def _loss_rows(labels: Floats, answers: dict[str, Floats], draws: npt.NDArray[np.int32]) -> tuple[LossRow, ...]:
    """Return the losses of all answers, and what each is above the first in the same draws."""
    values: list[tuple[float, float]] = []
    drawn: list[tuple[Floats, Floats]] = []
    for probability in answers.values():
        weights, losses = weighted_losses(labels, probability)
        above, below = losses.sum(axis=1), weights.sum(axis=1)
        values.append(
            (challenge_loss(labels, probability), challenge_loss(labels, probability, normalise="global")),
        )
        drawn.append((bootstrap_mean(above / below, draws), bootstrap_ratio(above, below, draws)))
    return tuple(
        LossRow(
            name,
            *(percentile_interval(values[row][kind], drawn[row][kind]) for kind in (0, 1)),
            *(
                percentile_interval(values[row][kind] - values[0][kind], drawn[row][kind] - drawn[0][kind])
                for kind in (0, 1)
            ),
        )
        for row, name in enumerate(answers)
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - anything JSON can hold
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _target_row(
    target: str, labels: Floats, values: Floats, threshold: float, draws: npt.NDArray[np.int32]
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
