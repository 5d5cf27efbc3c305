"""Truth and a system's answers as cases: patients, the vertebrae of one level, and all vertebrae."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.core.findings import Acquisition
from cspine.core.typing import Floats
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.predictions import Predictions

_ACQUIRED: Final = tuple(Acquisition.model_fields)

LEVELS: Final = "levels"
"""All vertebrae together."""


@dataclass(frozen=True)
class Cases:
    """Cases of one kind, with their truth and what a system says.

    Attributes
    ----------
    what : str
        One of `TARGETS`, or `LEVELS`.
    truth : (n,) int
        0 or 1.
    said : (n,)
        Probabilities.
    studies : (n,) int
        Row of each case's study.
    patients : (n,) int
        Number of each case's patient.
    columns : (n,) int
        Which of `TARGETS` each case is.
    """

    what: str
    truth: npt.NDArray[np.int64]
    said: Floats
    studies: npt.NDArray[np.intp]
    patients: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]

    @property
    def is_patient(self) -> bool:
        """Whether cases are patients' studies, and not vertebrae."""
        return self.what == OVERALL

    @property
    def positives(self) -> int:
        """How many are fractured."""
        return int(self.truth.sum())

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Cases":
        """Return some of the cases."""
        return Cases(
            self.what,
            self.truth[chosen],
            self.said[chosen],
            self.studies[chosen],
            self.patients[chosen],
            self.columns[chosen],
        )


@dataclass(frozen=True)
class Matched:
    """Truth and several systems' answers to the same studies and targets.

    Attributes
    ----------
    truth : Truth
        Of the studies that every system answered.
    said : dict of str to (studies, 8)
        Each system's probabilities, columns `TARGETS`; where any system gives none, NaN of all.
    not_assessable : dict of str to tuple of str
        Studies of the truth that each system refused.
    unasked : dict of str to int
        Studies that a system answered and the truth does not hold.
    """

    truth: ReferenceStandard
    said: Mapping[str, Floats]
    not_assessable: Mapping[str, tuple[str, ...]]
    unasked: Mapping[str, int]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The truth, (studies, 8)."""
        return self.truth.labels[list(TARGETS)].to_numpy(np.int64)

    @property
    def patients(self) -> npt.NDArray[np.intp]:
        """The number of each study's patient."""
        return np.unique(self.truth.patients.to_numpy().astype(str), return_inverse=True)[1].astype(np.intp)

    def cases(self, name: str) -> dict[str, Cases]:
        """Return a system's cases by kind: `TARGETS` and `LEVELS`."""
        labels, said, patients = self.labels, self.said[name], self.patients
        kinds = {target: [column] for column, target in enumerate(TARGETS)}
        kinds[LEVELS] = [TARGETS.index(level) for level in VERTEBRAE]
        return {what: _cases(what, labels, said, patients, columns) for what, columns in kinds.items()}


def _cases(
    what: str,
    labels: npt.NDArray[np.int64],
    said: Floats,
    patients: npt.NDArray[np.intp],
    columns: list[int],
) -> Cases:
    rows, places = np.nonzero(~np.isnan(said[:, columns]))
    of = np.array(columns)[places]
    return Cases(what, labels[rows, of], said[rows, of], rows, patients[rows], of)


def _groups(truth: ReferenceStandard, systems: Sequence[Predictions]) -> pd.DataFrame:
    """Return what studies differ in, as the truth tells, or else as the first system does that was told by headers."""
    found = truth.groups
    for system in systems:
        told = [name for name in _ACQUIRED if name in system.about.columns and name not in found.columns]
        found = found.join(system.about[told].reindex(truth.labels.index), how="right") if told else found
    return found


def match(truth: ReferenceStandard, systems: Sequence[Predictions]) -> Matched:
    """Bring truth and answers to the same studies; what any system leaves out is left out for all.

    Parameters
    ----------
    truth : Truth
        What is true.
    systems : sequence of Answers
        One at least, with different names.

    Raises
    ------
    LabelError
        A system neither answers nor refuses studies that the truth holds, names are the same, or nothing is left.
    """
    names = [system.name for system in systems]
    if not systems or len(set(names)) != len(names):
        raise LabelError(f"systems are called {', '.join(names) or 'nothing'}; give one at least, each its own name")
    studies: pd.Index[Any] = truth.labels.index
    answered = np.ones(len(studies), bool)
    for system in systems:
        has = studies.isin(system.probability.index)
        lacking = studies[~has & ~studies.isin(list(system.not_assessable))]
        if len(lacking):
            first = ", ".join(str(study)[:80] for study in lacking[:3])
            raise LabelError(
                f"{system.name}: {len(lacking)} of {len(studies)} studies have no answer (first: {first}); "
                "answer them, or leave them out of the truth"
            )
        answered &= has
    if not answered.any():
        raise LabelError("no study was answered by every system; there is nothing to judge")
    kept = studies[answered]
    asked = truth.only(kept)
    tables = [system.probability.reindex(columns=list(TARGETS)).loc[kept].to_numpy(np.float64) for system in systems]
    gaps = np.any([np.isnan(table) for table in tables], axis=0)
    return Matched(
        replace(asked, groups=_groups(asked, systems)),
        {name: np.where(gaps, np.nan, table) for name, table in zip(names, tables, strict=True)},
        {system.name: tuple(study for study in studies if study in system.not_assessable) for system in systems},
        {system.name: int((~system.probability.index.isin(studies)).sum()) for system in systems},
    )
