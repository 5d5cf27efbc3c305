"""A split that is made once, and a record of every look at its hidden part."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError, OutputTakenError
from cspine.core.files import read_model, write_text
from cspine.core.settings import digest
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.datasets.stratified_split import split_patients

TRAIN: Final = "train"
VALIDATION: Final = "validation"
HOLDOUT: Final = "holdout"
PARTS: Final = (TRAIN, VALIDATION, "test", HOLDOUT)
FRACTIONS: Final = {TRAIN: 0.6, VALIDATION: 0.15, "test": 0.1, HOLDOUT: 0.15}


class LockedSplit(BaseModel):
    """Which studies belong to which part.

    Attributes
    ----------
    labels_sha256 : str
        Of the labels that it was made of: others need a split of their own.
    parts : dict
        Part to StudyInstanceUIDs, sorted.
    sha256 : str
        Of all else, so that a change shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    seed: Annotated[int, Field(ge=0)]
    fractions: dict[str, float]
    labels_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    parts: dict[str, tuple[str, ...]]
    sha256: str = ""

    @model_validator(mode="after")
    def _each_study_once(self) -> Self:
        studies = [study for part in self.parts.values() for study in part]
        if len(set(studies)) != len(studies):
            raise ValueError("a study is in two parts")
        return self

    @property
    def digest(self) -> str:
        """The hash that `sha256` should be."""
        return digest(self.model_dump(mode="json", exclude={"sha256"}))

    def studies(self, part: str) -> tuple[str, ...]:
        """Return a part's studies; raises LabelError where there is no such part, or none in it."""
        found = self.parts.get(part, ())
        if not found:
            raise LabelError(f"the split has no studies in a part '{part}'; it has {', '.join(self.parts)}")
        return found

    def train_val_assignment(self, studies: Sequence[str]) -> "pd.Series[str]":
        """Return which of these studies are learnt from (`TRAIN`) and which choose the epoch (`VALIDATION`); no others.

        Raises LabelError where studies are in no part, or none of these is in one of the two.
        """
        part_of = {study: part for part, own in self.parts.items() for study in own}
        lost = [study for study in studies if study not in part_of]
        if lost:
            raise LabelError(
                f"the split does not know {len(lost)} of {len(studies)} studies (first: {lost[0]}); split these"
            )
        found = pd.Series(
            {study: part_of[study] for study in studies if part_of[study] in {TRAIN, VALIDATION}}, dtype=str
        )
        for part in (TRAIN, VALIDATION):
            if not (found == part).any():
                raise LabelError(f"none of {len(studies)} studies is in the split's part '{part}'; compile those too")
        return found


def make_split(truth: ReferenceStandard, fractions: Mapping[str, float], *, seed: int) -> LockedSplit:
    """Split studies by patient, balanced over all eight targets; raises as `split_patients` does."""
    found = split_patients(truth.labels[list(TARGETS)], truth.patients, fractions, seed=seed)
    made = LockedSplit(
        seed=seed,
        fractions=dict(fractions),
        labels_sha256=labels_hash(truth),
        parts={part: tuple(sorted(map(str, found.index[found == part]))) for part in fractions},
    )
    return made.model_copy(update={"sha256": made.digest})


def labels_hash(truth: ReferenceStandard) -> str:
    """Return a hash of studies and labels."""
    table = truth.labels[list(TARGETS)].astype(int).sort_index()
    return hashlib.sha256(table.to_csv().encode()).hexdigest()


def write_split(split: LockedSplit, path: Path) -> None:
    """Write a split; raises OutputTakenError where another lies there, which is then kept."""
    if path.exists():
        if read_split(path).sha256 == split.sha256:
            return
        raise OutputTakenError(f"{path}: holds another split, which is frozen; choose another --out")
    write_text(path, json.dumps(split.model_dump(mode="json"), indent=1) + "\n")


def read_split(path: Path) -> LockedSplit:
    """Read a split; raises LabelError where it is none, or was changed by hand."""
    split = read_model(path, LockedSplit, wrong="is no split; make one with `cspine split`")
    if split.sha256 != split.digest:
        raise LabelError(f"{path}: was changed since it was frozen; get the file again")
    return split


def take_part(truth: ReferenceStandard, split: LockedSplit, part: str) -> ReferenceStandard:
    """Return what is true of one part's studies; raises LabelError where labels are not those that were split."""
    if labels_hash(truth) != split.labels_sha256:
        raise LabelError(f"{truth.name}: are not the labels that were split; give those, or split these anew")
    chosen = truth.labels.index[truth.labels.index.isin(split.studies(part))]
    return truth.only(chosen)
