"""Matching of predictions with a reference standard, as cases: patients, vertebrae of one level, and all vertebrae."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.core.findings import Acquisition
from cspine.core.typing import Bools, Floats
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.predictions import Predictions

_ACQUISITION_COLUMNS: Final = tuple(Acquisition.model_fields)

LEVELS: Final = "levels"
"""Target that stands for the vertebrae of all levels together."""

UNANSWERED_SCORE: Final = -1.0
"""Score of a fractured case without an answer: below every probability and every threshold."""


@dataclass(frozen=True)
class Cases:
    """The cases of one target, with their labels and a model's probabilities.

    Every case of the reference standard is there, whether the model answers it or not. A case is not answered where the
    study is not assessable, or where the vertebra has no probability. Metrics take the cases that `ranked` or
    `answered` returns.

    Attributes
    ----------
    target : str
        One of `TARGETS`, or `LEVELS`.
    truth : (n,) int
        Labels, 0 or 1.
    probability : (n,) float
        Predicted probabilities of a fracture, 0 to 1; NaN of cases that the model does not answer.
    studies : (n,) int
        Index of each case's study in the reference standard.
    patients : (n,) int
        Number of each case's patient.
    columns : (n,) int
        Index of each case's target in `TARGETS`.
    """

    target: str
    truth: npt.NDArray[np.int64]
    probability: Floats
    studies: npt.NDArray[np.intp]
    patients: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]

    @property
    def is_patient(self) -> bool:
        """Whether a case is a patient's study rather than a vertebra."""
        return self.target == OVERALL

    @property
    def n_positives(self) -> int:
        """Number of fractured cases."""
        return int(self.truth.sum())

    @property
    def is_answered(self) -> Bools:
        """Whether the model answers each case, (n,)."""
        return np.asarray(~np.isnan(self.probability), bool)

    @property
    def n_unanswered_fractured(self) -> int:
        """Number of fractured cases that the model does not answer."""
        return int(np.sum(~self.is_answered & (self.truth > 0)))

    @property
    def n_unanswered_intact(self) -> int:
        """Number of intact cases that the model does not answer."""
        return int(np.sum(~self.is_answered & (self.truth == 0)))

    def answered(self) -> "Cases":
        """Return the cases that the model answers."""
        return self.select(self.is_answered)

    def ranked(self, is_comparable: Bools | None = None) -> "Cases":
        """Return all fractured cases and the answered intact ones; a fractured one without an answer ranks lowest.

        So a fracture that a model does not answer is missed at every threshold. An intact case without an answer is
        neither a true negative nor a false positive, and is left out.

        Parameters
        ----------
        is_comparable : (n,) bool, optional
            Intact cases to take; those that this model answers if omitted.
        """
        chosen = self.select((self.truth > 0) | (self.is_answered if is_comparable is None else is_comparable))
        return replace(chosen, probability=np.where(chosen.is_answered, chosen.probability, UNANSWERED_SCORE))

    def select(self, is_selected: Bools) -> "Cases":
        """Return some of the cases."""
        return Cases(
            self.target,
            self.truth[is_selected],
            self.probability[is_selected],
            self.studies[is_selected],
            self.patients[is_selected],
            self.columns[is_selected],
        )


@dataclass(frozen=True)
class MatchedPredictions:
    """A reference standard, and the predictions of several models for its studies.

    Attributes
    ----------
    reference : ReferenceStandard
        Reference standard, with all of its studies.
    probability : dict of str to (n, 8) float
        Probabilities of each model, columns `TARGETS`; NaN where the model does not answer.
    not_assessable : dict of str to tuple of str
        Studies of the reference standard that each model rated not assessable.
    unmatched : dict of str to tuple of str
        Studies that each model predicted and the reference standard does not hold.
    """

    reference: ReferenceStandard
    probability: Mapping[str, Floats]
    not_assessable: Mapping[str, tuple[str, ...]]
    unmatched: Mapping[str, tuple[str, ...]]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Labels, (n, 8), columns `TARGETS`."""
        return self.reference.labels[list(TARGETS)].to_numpy(np.int64)

    @property
    def patients(self) -> npt.NDArray[np.intp]:
        """Number of each study's patient, (n,)."""
        return np.unique(self.reference.patients.to_numpy().astype(str), return_inverse=True)[1].astype(np.intp)

    def cases(self, model: str) -> dict[str, Cases]:
        """Return the cases of a model by target, `TARGETS` and `LEVELS`: the same for every model, answered or not."""
        labels, probability, patients = self.labels, self.probability[model], self.patients
        columns_of = {target: [column] for column, target in enumerate(TARGETS)}
        columns_of[LEVELS] = [TARGETS.index(level) for level in VERTEBRAE]
        cases = {}
        for target, columns in columns_of.items():
            rows, of = (part.ravel() for part in np.meshgrid(np.arange(len(labels)), columns, indexing="ij"))
            cases[target] = Cases(target, labels[rows, of], probability[rows, of], rows, patients[rows], of)
        return cases


def match_predictions(reference: ReferenceStandard, models: Sequence[Predictions]) -> MatchedPredictions:
    """Match predictions with a reference standard; every study of it is kept.

    Parameters
    ----------
    reference : ReferenceStandard
        Labels of the studies.
    models : sequence of Predictions
        At least one, with different names.

    Raises
    ------
    LabelError
        A label is missing, a model lacks studies of the reference standard or predicts one twice, names are equal, or a
        model assessed no study.
    """
    names = [model.name for model in models]
    if not models or len(set(names)) != len(names):
        raise LabelError(f"models are called {', '.join(names) or 'nothing'}; give one at least, each its own name")
    studies: pd.Index[Any] = reference.labels.index
    unlabeled = studies[reference.labels[list(TARGETS)].isna().any(axis=1)]
    if len(unlabeled):
        raise LabelError(
            f"{reference.name}: {_count(unlabeled, studies, 'lack a label')}; fill it in or leave the studies out"
        )
    for model in models:
        _check_studies(model, studies)
    selected = reference.select(studies)
    return MatchedPredictions(
        replace(selected, subgroups=_subgroups(selected, models)),
        {
            model.name: model.probability.reindex(studies, columns=list(TARGETS)).to_numpy(np.float64)
            for model in models
        },
        {model.name: _not_assessable(model, studies) for model in models},
        {model.name: _unmatched(model, studies) for model in models},
    )


def _check_studies(model: Predictions, studies: "pd.Index[Any]") -> None:
    """Raise LabelError where a model predicts a study twice, lacks one that it does not rate, or assessed none."""
    predicted = model.probability.index
    if predicted.has_duplicates:
        repeated = predicted[predicted.duplicated()].unique()
        raise LabelError(f"{model.name}: {_count(repeated, predicted, 'are predicted twice')}; keep one of each")
    has_probability = studies.isin(predicted)
    missing = studies[~has_probability & ~studies.isin(list(model.not_assessable))]
    if len(missing):
        raise LabelError(
            f"{model.name}: {_count(missing, studies, 'have no prediction')}; "
            "predict them, or leave them out of the reference standard"
        )
    if not has_probability.any():
        raise LabelError(f"{model.name}: assessed no study of {len(studies)}; there is nothing to evaluate")


def _count(studies: "pd.Index[Any]", among: "pd.Index[Any]", fact: str) -> str:
    """Return of how many studies a fact is true, and the first three."""
    return f"{len(studies)} of {len(among)} studies {fact} (first: {', '.join(str(name)[:80] for name in studies[:3])})"


def _not_assessable(model: Predictions, studies: "pd.Index[Any]") -> tuple[str, ...]:
    predicted = set(model.probability.index)
    return tuple(str(study) for study in studies if study in model.not_assessable and study not in predicted)


def _unmatched(model: Predictions, studies: "pd.Index[Any]") -> tuple[str, ...]:
    known = set(studies)
    predicted = dict.fromkeys([*model.probability.index, *model.not_assessable])
    return tuple(str(study) for study in predicted if study not in known)


def _subgroups(reference: ReferenceStandard, models: Sequence[Predictions]) -> pd.DataFrame:
    """Return the subgroup variables of the reference standard, completed by the first model with acquisition data."""
    table = reference.subgroups
    for model in models:
        metadata = model.study_metadata
        added = [name for name in _ACQUISITION_COLUMNS if name in metadata.columns and name not in table.columns]
        table = table.join(metadata[added].reindex(reference.labels.index), how="right") if added else table
    return table
