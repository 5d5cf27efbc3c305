"""Splitting of a reference standard into locked parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cspine.core.anatomy import TARGETS
from cspine.core.storage.locations import as_path
from cspine.datasets.imported import ImportedSet
from cspine.datasets.locked_split import FRACTIONS, LockedSplit, make_joint_split, make_split, write_split
from cspine.datasets.reference_standard import read_reference_standard


@dataclass(frozen=True)
class SplitSummary:
    """A locked split, with the number of fractured cases in each part.

    Attributes
    ----------
    path : Path
        File of the split.
    split : LockedSplit
        The split, with the studies of each part.
    n_fractured : dict of str to dict of str to int
        Part to the number of positive studies per target.
    """

    path: Path
    split: LockedSplit
    n_fractured: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Return file, hash and counts as plain dictionaries."""
        return {
            "file": str(self.path),
            "sha256": self.split.sha256,
            "n_studies": {part: len(studies) for part, studies in self.split.parts.items()},
            "n_fractured": self.n_fractured,
        }


def split_studies(
    reference: str | Path, out: str | Path, fractions: Mapping[str, float] = FRACTIONS, *, seed: int = 0
) -> SplitSummary:
    """Split studies by patient, stratified over all labels, and lock the split.

    Parameters
    ----------
    reference : str or Path
        The challenge's train.csv, a folder that holds it, or a compiled data set.
    out : str or Path
        The JSON file to write. A different split in it is never replaced.
    fractions, seed
        As of `cspine.datasets.locked_split.make_split`.

    Raises
    ------
    LabelError
        There are no labels, or the fractions do not sum to 1.
    OutputTakenError
        The file holds another split.
    """
    standard = read_reference_standard(as_path(reference))
    split = make_split(standard, fractions, seed=seed)
    write_split(split, as_path(out))
    return SplitSummary(as_path(out), split, _count(split, standard.labels))


def split_sets(
    sets: Sequence[str | Path], out: str | Path, fractions: Mapping[str, float] = FRACTIONS, *, seed: int = 0
) -> SplitSummary:
    """Split the studies of several imported data sets, so that no patient and no scan is in two parts, and lock it.

    Parameters
    ----------
    sets : sequence of str or Path
        Data sets of `cspine import`.
    out : str or Path
        The JSON file to write. A different split in it is never replaced.
    fractions, seed
        As of `cspine.datasets.locked_split.make_split`.

    Raises
    ------
    LabelError
        A folder is no imported data set, a study has different labels in two of them, or the fractions do not sum to 1.
    OutputTakenError
        The file holds another split.
    """
    imported = [ImportedSet.open(as_path(folder)) for folder in sets]
    split = make_joint_split(imported, fractions, seed=seed)
    write_split(split, as_path(out))
    labels = pd.concat([each.labels for each in imported])
    return SplitSummary(as_path(out), split, _count(split, labels[~labels.index.duplicated()]))


def _count(split: LockedSplit, labels: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return the number of positive studies per part and target, of those with labels."""
    sums = {part: labels.loc[labels.index.isin(studies), list(TARGETS)].sum() for part, studies in split.parts.items()}
    return {part: {target: int(sums[part][target]) for target in TARGETS} for part in split.parts}
