"""Studies to parts, by patient and balanced over all eight targets."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.errors import LabelError


def split_patients(
    labels: pd.DataFrame, patients: "pd.Series[str]", fractions: Mapping[str, float], *, seed: int
) -> "pd.Series[str]":
    """Give every study to a part so that no patient is in two and each label is spread evenly.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011): the rarest label still to be spread
    comes first, and each of its patients goes to the part that lacks that label most. A patient counts as positive
    where any of the studies is.

    Parameters
    ----------
    labels : DataFrame
        Indexed by study, columns of 0 and 1.
    patients : Series
        Same index; who each study is of.
    fractions : mapping of str to float
        Share of patients per part; sums to 1.
    seed : int
        Decides between equals.

    Returns
    -------
    Series
        Study to part.

    Raises
    ------
    LabelError
        Fractions do not sum to 1, or labels and patients differ in their studies.
    """
    if not np.isclose(sum(fractions.values()), 1.0) or min(fractions.values()) < 0.0:
        raise LabelError(f"the parts' fractions sum to {sum(fractions.values()):.3f}, not 1; mend them")
    if not labels.index.equals(patients.index):
        raise LabelError("labels and patients are not of the same studies in the same order; align them")
    by_patient = labels.groupby(patients).max().sort_index()
    assigned = _stratify(by_patient.to_numpy(bool), np.array(list(fractions.values())), np.random.default_rng(seed))
    part_of = dict(zip(by_patient.index, np.array(list(fractions))[assigned].tolist(), strict=True))
    return patients.map(part_of)


def _stratify(
    truth: npt.NDArray[np.bool_], fractions: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return the part of each row; those without any label are spread last, as a label of their own."""
    truth = np.column_stack([truth, ~truth.any(axis=1)])
    wanted_rows = fractions * len(truth)
    wanted = np.outer(fractions, truth.sum(axis=0))
    part = np.full(len(truth), -1, dtype=np.intp)
    order = rng.permutation(len(truth))
    while np.any(part < 0):
        left = truth[part < 0].sum(axis=0)
        label = int(np.argmin(np.where(left > 0, left, np.inf)))
        for row in order[(part[order] < 0) & truth[order, label]]:
            best = max(range(len(fractions)), key=lambda p: (wanted[p, label], wanted_rows[p], rng.random()))
            part[row] = best
            wanted[best] -= truth[row]
            wanted_rows[best] -= 1
    return part
