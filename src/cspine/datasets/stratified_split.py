"""Studies to parts, by patient and balanced over all eight targets."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.errors import LabelError


def split_patients(
    labels: pd.DataFrame, patients: "pd.Series[str]", fractions: Mapping[str, float], *, seed: int
) -> "pd.Series[str]":
    """Give every study to a part so that no patient is in two and each label is spread evenly.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011): the rarest label still to be spread
    comes first, and each of its patients goes to the part that lacks that label most. Single patients are then moved as
    long as that evens out all labels and sizes together. A patient counts as positive where any of the studies is.

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
        There are no studies, fractions are negative or do not sum to 1, labels and patients differ in their studies,
        or a label or a patient is missing.
    """
    if min(fractions.values(), default=0.0) < 0.0 or not np.isclose(sum(fractions.values()), 1.0):
        raise LabelError(f"the parts' fractions {dict(fractions)} are not shares that sum to 1; mend them")
    if not labels.index.equals(patients.index):
        raise LabelError("labels and patients are not of the same studies in the same order; align them")
    if labels.empty:
        raise LabelError("there are no studies to split; give some with labels")
    lacking = patients.isna() | labels.isna().any(axis=1)
    if lacking.any():
        first = ", ".join(str(study) for study in labels.index[lacking][:3])
        raise LabelError(f"{int(lacking.sum())} studies lack a patient or a label; leave them out (first: {first})")
    by_patient = labels.groupby(patients).max().sort_index()
    assigned = _stratify(by_patient.to_numpy(bool), np.array(list(fractions.values())), np.random.default_rng(seed))
    part_of = dict(zip(by_patient.index, np.array(list(fractions))[assigned].tolist(), strict=True))
    return patients.map(part_of)


def _stratify(
    truth: npt.NDArray[np.bool_], fractions: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return the part of each row; those without any label are spread as a label of their own."""
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
    return _mend(np.column_stack([truth, np.ones(len(truth), dtype=bool)]), fractions, part, order)


def _mend(
    truth: npt.NDArray[np.bool_],
    fractions: npt.NDArray[np.float64],
    part: npt.NDArray[np.intp],
    order: npt.NDArray[np.intp],
) -> npt.NDArray[np.intp]:
    """Move single rows as long as that brings the parts nearer to what they should hold.

    The greedy pass ends with rows of the commonest level alone. They can make good that level or the patient's label,
    which it implies, but not both. Nearness is the sum over parts and columns of (count - wanted)^2 / total; every move
    lessens it, so this ends. Rows with the same labels are alike, so moves are weighed once per pattern.
    """
    part = part.copy()
    patterns, kind = np.unique(truth, axis=0, return_inverse=True)
    kind = kind.reshape(-1)  # numpy 2.0 gives it a second axis
    per_total = patterns / np.maximum(truth.sum(axis=0), 1)
    parts = range(len(fractions))
    excess = np.array([truth[part == p].sum(axis=0) for p in parts]) - np.outer(fractions, truth.sum(axis=0))
    while True:
        there = np.array([np.bincount(kind[part == p], minlength=len(patterns)) > 0 for p in parts])
        change = 2 * (excess @ per_total.T)[None, :] - 2 * (excess @ per_total.T)[:, None] + 2 * per_total.sum(axis=1)
        allowed = there[:, None] & (fractions > 0)[None, :, None]
        source, target, pattern = np.unravel_index(np.argmin(np.where(allowed, change, 0.0)), change.shape)
        if change[source, target, pattern] > -1e-9 or not allowed[source, target, pattern]:
            return part
        row = order[(part[order] == source) & (kind[order] == pattern)][0]
        part[row] = target
        excess[source] -= truth[row]
        excess[target] += truth[row]
