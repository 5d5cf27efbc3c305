"""Splitting of studies by patient, stratified over several labels."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.core.errors import LabelError
from cspine.core.typing import Bools, Floats

_MIN_IMPROVEMENT: Final = 1e-9
"""Smaller decreases of the squared imbalance are rounding errors."""


def split_patients(
    labels: pd.DataFrame, patients: "pd.Series[str]", fractions: Mapping[str, float], *, seed: int
) -> "pd.Series[str]":
    """Assign every study to a part, so that no patient is in two parts and each label is evenly distributed.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011): the rarest label that remains is
    distributed first, and each of its patients goes to the part that lacks that label most. Single patients are then
    moved as long as that improves the balance of all labels and sizes together. A patient is positive where any of the
    studies is.

    Parameters
    ----------
    labels : DataFrame
        Labels of 0 and 1, indexed by study.
    patients : Series
        Patient of each study, same index.
    fractions : mapping of str to float
        Fraction of patients per part; sums to 1.
    seed : int
        Seed of the random generator, which decides between equal choices.

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
        raise LabelError(f"the parts' fractions {dict(fractions)} are not fractions that sum to 1; correct them")
    if not labels.index.equals(patients.index):
        raise LabelError("labels and patients are not of the same studies in the same order; align them")
    if labels.empty:
        raise LabelError("there are no studies to split; give some with labels")
    incomplete = patients.isna() | labels.isna().any(axis=1)
    if incomplete.any():
        first = ", ".join(str(study) for study in labels.index[incomplete][:3])
        raise LabelError(f"{int(incomplete.sum())} studies lack a patient or a label; leave them out (first: {first})")
    by_patient = labels.groupby(patients).max().sort_index()
    part_index = _stratify(by_patient.to_numpy(bool), np.array(list(fractions.values())), np.random.default_rng(seed))
    part_of = dict(zip(by_patient.index, np.array(list(fractions))[part_index].tolist(), strict=True))
    return patients.map(part_of)


def _stratify(truth: Bools, fractions: Floats, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the part of each row; rows without any label are distributed as if that were a label of its own."""
    truth = np.column_stack([truth, ~truth.any(axis=1)])
    missing_rows = fractions * len(truth)
    missing_labels = np.outer(fractions, truth.sum(axis=0))
    part = np.full(len(truth), -1, dtype=np.intp)
    order = rng.permutation(len(truth))
    while np.any(part < 0):
        remaining = truth[part < 0].sum(axis=0)
        label = int(np.argmin(np.where(remaining > 0, remaining, np.inf)))
        for row in order[(part[order] < 0) & truth[order, label]]:
            best = max(range(len(fractions)), key=lambda p: (missing_labels[p, label], missing_rows[p], rng.random()))
            part[row] = best
            missing_labels[best] -= truth[row]
            missing_rows[best] -= 1
    return _balance(np.column_stack([truth, np.ones(len(truth), dtype=bool)]), fractions, part, order)


def _balance(
    truth: Bools, fractions: Floats, part: npt.NDArray[np.intp], order: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Move single rows as long as that reduces the imbalance of the parts.

    The greedy pass ends with rows of the commonest level alone. They can balance that level or the patient's label,
    which it implies, but not both. The imbalance is the sum over parts and columns of (count - target)^2 / total; every
    move reduces it, so the procedure terminates. Rows with the same labels are interchangeable, so moves are evaluated
    once per pattern of labels.
    """
    part = part.copy()
    patterns, pattern_of = np.unique(truth, axis=0, return_inverse=True)
    pattern_of = pattern_of.reshape(-1)  # numpy 2.0 gives it a second axis
    per_total = patterns / np.maximum(truth.sum(axis=0), 1)
    parts = range(len(fractions))
    excess = np.array([truth[part == p].sum(axis=0) for p in parts]) - np.outer(fractions, truth.sum(axis=0))
    while True:
        has_pattern = np.array([np.bincount(pattern_of[part == p], minlength=len(patterns)) > 0 for p in parts])
        change = 2 * (excess @ per_total.T)[None, :] - 2 * (excess @ per_total.T)[:, None] + 2 * per_total.sum(axis=1)
        is_allowed = has_pattern[:, None] & (fractions > 0)[None, :, None]
        source, target, pattern = np.unravel_index(np.argmin(np.where(is_allowed, change, 0.0)), change.shape)
        if change[source, target, pattern] > -_MIN_IMPROVEMENT or not is_allowed[source, target, pattern]:
            return part
        row = order[(part[order] == source) & (pattern_of[order] == pattern)][0]
        part[row] = target
        excess[source] -= truth[row]
        excess[target] += truth[row]
