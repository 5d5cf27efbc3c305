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


@dataclass(frozen=True)
class Cases:
    """The cases of one target, with their labels and a model's probabilities.

    Attributes
    ----------
    target : str
        One of `TARGETS`, or `LEVELS`.
    truth : (n,) int
        Labels, 0 or 1.
    probability : (n,) float
        Predicted probabilities of a fracture, 0 to 1.
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
    """A reference standard, and the predictions of several models for the same studies and targets.

    Attributes
    ----------
    reference : ReferenceStandard
        Reference standard of the studies that every model assessed.
    probability : dict of str to (n, 8) float
        Probabilities of each model, columns `TARGETS`. Where one model gives none, it is NaN for all.
    not_assessable : dict of str to tuple of str
        Studies of the reference standard that each model rated not assessable.
    n_unmatched : dict of str to int
        Number of each model's studies that are not in the reference standard.
    """

    reference: ReferenceStandard
    probability: Mapping[str, Floats]
    not_assessable: Mapping[str, tuple[str, ...]]
    n_unmatched: Mapping[str, int]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Labels, (n, 8), columns `TARGETS`."""
        return self.reference.labels[list(TARGETS)].to_numpy(np.int64)

    @property
    def patients(self) -> npt.NDArray[np.intp]:
        """Number of each study's patient, (n,)."""
        return np.unique(self.reference.patients.to_numpy().astype(str), return_inverse=True)[1].astype(np.intp)

    def cases(self, model: str) -> dict[str, Cases]:
        """Return the cases of a model by target: `TARGETS` and `LEVELS`."""
        labels, probability, patients = self.labels, self.probability[model], self.patients
        columns_of = {target: [column] for column, target in enumerate(TARGETS)}
        columns_of[LEVELS] = [TARGETS.index(level) for level in VERTEBRAE]
        cases = {}
        for target, columns in columns_of.items():
            rows, positions = np.nonzero(~np.isnan(probability[:, columns]))
            of = np.array(columns)[positions]
            cases[target] = Cases(target, labels[rows, of], probability[rows, of], rows, patients[rows], of)
        return cases


def match_predictions(reference: ReferenceStandard, models: Sequence[Predictions]) -> MatchedPredictions:
    """Match predictions with a reference standard; what one model leaves out is left out for all.

    Parameters
    ----------
    reference : ReferenceStandard
        Labels of the studies.
    models : sequence of Predictions
        At least one, with different names.

    Raises
    ------
    LabelError
        A model lacks studies of the reference standard, names are equal, or no study remains.
    """
    names = [model.name for model in models]
    if not models or len(set(names)) != len(names):
        raise LabelError(f"models are called {', '.join(names) or 'nothing'}; give one at least, each its own name")
    studies: pd.Index[Any] = reference.labels.index
    is_assessed = np.ones(len(studies), bool)
    for model in models:
        is_assessed &= _is_assessed(model, studies)
    if not is_assessed.any():
        raise LabelError("no study was assessed by every model; there is nothing to evaluate")
    kept = studies[is_assessed]
    matched = reference.select(kept)
    tables = [model.probability.reindex(columns=list(TARGETS)).loc[kept].to_numpy(np.float64) for model in models]
    is_missing = np.any([np.isnan(table) for table in tables], axis=0)
    return MatchedPredictions(
        replace(matched, subgroups=_subgroups(matched, models)),
        {name: np.where(is_missing, np.nan, table) for name, table in zip(names, tables, strict=True)},
        {model.name: tuple(study for study in studies if study in model.not_assessable) for model in models},
        {model.name: int((~model.probability.index.isin(studies)).sum()) for model in models},
    )


def _is_assessed(model: Predictions, studies: "pd.Index[Any]") -> Bools:
    """Return which studies have probabilities; raises LabelError where others are not rated not assessable."""
    has_probability = studies.isin(model.probability.index)
    missing = studies[~has_probability & ~studies.isin(list(model.not_assessable))]
    if len(missing):
        first = ", ".join(str(study)[:80] for study in missing[:3])
        raise LabelError(
            f"{model.name}: {len(missing)} of {len(studies)} studies have no prediction (first: {first}); "
            "predict them, or leave them out of the reference standard"
        )
    return np.asarray(has_probability, bool)


def _subgroups(reference: ReferenceStandard, models: Sequence[Predictions]) -> pd.DataFrame:
    """Return the subgroup variables of the reference standard, completed by the first model with acquisition data."""
    table = reference.subgroups
    for model in models:
        metadata = model.study_metadata
        added = [name for name in _ACQUISITION_COLUMNS if name in metadata.columns and name not in table.columns]
        table = table.join(metadata[added].reindex(reference.labels.index), how="right") if added else table
    return table
