"""A split that is made once, and a record of every look at its hidden part."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine import __version__
from cspine.anatomy import TARGETS
from cspine.errors import LabelError, OutputTakenError
from cspine.evaluate.answers import Answers
from cspine.evaluate.split import split_patients
from cspine.evaluate.truths import Truth
from cspine.files import append_line, read_model, write_text
from cspine.settings import digest

TRAIN: Final = "train"
TUNE: Final = "tune"
HIDDEN: Final = "hidden"
PARTS: Final = (TRAIN, TUNE, "test", HIDDEN)
FRACTIONS: Final = {TRAIN: 0.6, TUNE: 0.15, "test": 0.1, HIDDEN: 0.15}

_LOOKS: Final = ".looks.jsonl"


class FrozenSplit(BaseModel):
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

    def to_learn(self, studies: Sequence[str]) -> "pd.Series[str]":
        """Return which of these studies are learnt from (`TRAIN`) and which choose the epoch (`TUNE`); no others.

        Raises LabelError where studies are in no part, or none of these is in one of the two.
        """
        part_of = {study: part for part, own in self.parts.items() for study in own}
        lost = [study for study in studies if study not in part_of]
        if lost:
            raise LabelError(
                f"the split does not know {len(lost)} of {len(studies)} studies (first: {lost[0]}); split these"
            )
        found = pd.Series({study: part_of[study] for study in studies if part_of[study] in {TRAIN, TUNE}}, dtype=str)
        for part in (TRAIN, TUNE):
            if not (found == part).any():
                raise LabelError(f"none of {len(studies)} studies is in the split's part '{part}'; compile those too")
        return found


def make_split(truth: Truth, fractions: Mapping[str, float], *, seed: int) -> FrozenSplit:
    """Split studies by patient, balanced over all eight targets; raises as `split_patients` does."""
    found = split_patients(truth.labels[list(TARGETS)], truth.patients, fractions, seed=seed)
    made = FrozenSplit(
        seed=seed,
        fractions=dict(fractions),
        labels_sha256=labels_hash(truth),
        parts={part: tuple(sorted(map(str, found.index[found == part]))) for part in fractions},
    )
    return made.model_copy(update={"sha256": made.digest})


def labels_hash(truth: Truth) -> str:
    """Return a hash of studies and labels."""
    table = truth.labels[list(TARGETS)].astype(int).sort_index()
    return hashlib.sha256(table.to_csv().encode()).hexdigest()


def write_split(split: FrozenSplit, path: Path) -> None:
    """Write a split; raises OutputTakenError where another lies there, which is then kept."""
    if path.exists():
        if read_split(path).sha256 == split.sha256:
            return
        raise OutputTakenError(f"{path}: holds another split, which is frozen; choose another --out")
    write_text(path, json.dumps(split.model_dump(mode="json"), indent=1) + "\n")


def read_split(path: Path) -> FrozenSplit:
    """Read a split; raises LabelError where it is none, or was changed by hand."""
    split = read_model(path, FrozenSplit, wrong="is no split; make one with `cspine split`")
    if split.sha256 != split.digest:
        raise LabelError(f"{path}: was changed since it was frozen; get the file again")
    return split


def take_part(truth: Truth, split: FrozenSplit, part: str) -> Truth:
    """Return what is true of one part's studies; raises LabelError where labels are not those that were split."""
    if labels_hash(truth) != split.labels_sha256:
        raise LabelError(f"{truth.name}: are not the labels that were split; give those, or split these anew")
    chosen = truth.labels.index[truth.labels.index.isin(split.studies(part))]
    return truth.only(chosen)


# --- looks -----------------------------------------------------------------------------------------------------------


def looks_path(split_path: Path) -> Path:
    """Return where looks at a split's hidden part are recorded."""
    return split_path.with_name(split_path.name + _LOOKS)


def record_look(
    split_path: Path, split: FrozenSplit, systems: Sequence[Answers], *, now: datetime | None = None
) -> int:
    """Record a look at the hidden part, before it is taken; return how many there were before.

    Raises
    ------
    LabelError
        The record is damaged.
    DiskFullError, OutputError
        It cannot be written.
    """
    before = read_looks(split_path)
    entry = {
        "when": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "split": split.sha256,
        "systems": {system.name: answers_hash(system) for system in systems},
        "weights": sorted({str(sha) for system in systems for sha in _weights(system)}),
        "software": __version__,
    }
    append_line(looks_path(split_path), json.dumps(entry, sort_keys=True))
    return len(before)


def read_looks(split_path: Path) -> list[dict[str, Any]]:
    """Return the looks that were taken, first ones first; raises LabelError where their record is damaged."""
    path = looks_path(split_path)
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise LabelError(f"{path}: the record of looks is damaged; restore it before another is taken") from error


def answers_hash(system: Answers) -> str:
    """Return a hash of what a system said, whatever file it was read from."""
    table = system.probability[list(TARGETS)].sort_index().round(9)
    return hashlib.sha256(table.to_csv().encode()).hexdigest()


def _weights(system: Answers) -> "pd.Series[str] | tuple[str, ...]":
    return system.about["weights"] if "weights" in system.about.columns else ()
