"""A locked split: made once, by patient, and protected against changes by its hash."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.anatomy import TARGETS
from cspine.core.columns import STUDY
from cspine.core.errors import LabelError, OutputTakenError
from cspine.core.files import read_model, write_text
from cspine.core.identifiers import study_key
from cspine.core.settings import digest
from cspine.datasets.duplicates import find_duplicates, group_patients
from cspine.datasets.imported import ImportedSet
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.datasets.scan_records import ScanRecord
from cspine.datasets.stratified_split import split_patients

TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"
HOLDOUT: Final = "holdout"
PARTS: Final = (TRAIN, VALIDATION, TEST, HOLDOUT)
FRACTIONS: Final = {TRAIN: 0.6, VALIDATION: 0.15, TEST: 0.1, HOLDOUT: 0.15}
"""Default fraction of patients in each part."""


class LockedSplit(BaseModel):
    """Assignment of studies to the parts of a split.

    Attributes
    ----------
    format : int
        Version of the file format.
    seed : int
        Seed of the stratified split.
    fractions : dict of str to float
        Fraction of patients in each part.
    labels_sha256 : str
        Hash of the labels that were split; other labels need a split of their own.
    sets : dict of str to str
        Of a split across data sets: name of each to the hash of its labels. Empty of one data set.
    parts : dict of str to tuple of str
        Part to StudyInstanceUIDs, sorted.
    sha256 : str
        Hash of all other fields, by which a change is detected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    seed: Annotated[int, Field(ge=0)]
    fractions: dict[str, float]
    labels_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sets: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = {}
    parts: dict[str, tuple[str, ...]]
    sha256: str = ""

    @model_validator(mode="after")
    def _check_each_study_once(self) -> Self:
        studies = [study for part in self.parts.values() for study in part]
        if len(set(studies)) != len(studies):
            raise ValueError("a study is in two parts")
        return self

    @property
    def digest(self) -> str:
        """Hash of all other fields, which `sha256` must equal."""
        return digest(self.model_dump(mode="json", exclude={"sha256"} if self.sets else {"sha256", "sets"}))

    def studies(self, part: str) -> tuple[str, ...]:
        """Return the studies of a part; raises LabelError where there is no such part, or it is empty."""
        studies = self.parts.get(part, ())
        if not studies:
            raise LabelError(f"the split has no studies in a part '{part}'; it has {', '.join(self.parts)}")
        return studies

    def train_val_assignment(self, studies: Sequence[str]) -> "pd.Series[str]":
        """Return which studies are trained on, and which choose the epoch.

        Parameters
        ----------
        studies : sequence of str
            StudyInstanceUIDs of a data set.

        Returns
        -------
        Series
            Study to `TRAIN` or `VALIDATION`; studies of other parts are left out.

        Raises
        ------
        LabelError
            Studies are in no part, or none of them is in one of the two parts.
        """
        part_of = {study: part for part, members in self.parts.items() for study in members}
        unknown = [study for study in studies if study not in part_of]
        if unknown:
            raise LabelError(
                f"the split does not know {len(unknown)} of {len(studies)} studies (first: {unknown[0]}); split these"
            )
        assignment = pd.Series(
            {study: part_of[study] for study in studies if part_of[study] in {TRAIN, VALIDATION}}, dtype=str
        )
        for part in (TRAIN, VALIDATION):
            if not (assignment == part).any():
                raise LabelError(f"none of {len(studies)} studies is in the split's part '{part}'; compile those too")
        return assignment


def make_split(reference: ReferenceStandard, fractions: Mapping[str, float], *, seed: int) -> LockedSplit:
    """Split studies by patient, stratified over all eight targets.

    Parameters
    ----------
    reference : ReferenceStandard
        Labels and patients of the studies.
    fractions : mapping of str to float
        Fraction of patients per part; sums to 1.
    seed : int
        Seed of the random generator, which decides between equal choices.

    Raises
    ------
    LabelError
        As by `cspine.datasets.stratified_split.split_patients`.
    """
    part_of = split_patients(reference.labels[list(TARGETS)], reference.patients, fractions, seed=seed)
    return _lock(part_of, fractions, seed, hash_labels(reference.labels), {})


def make_joint_split(sets: Sequence[ImportedSet], fractions: Mapping[str, float], *, seed: int) -> LockedSplit:
    """Split the studies of several data sets, so that no patient and no scan is in two parts of any of them.

    Patients who have a scan in common are one patient (`cspine.datasets.duplicates.group_patients`). All eight targets
    and the data sets are evenly distributed; a target that is not known counts as 0.

    Parameters
    ----------
    sets : sequence of ImportedSet
        The data sets, in an order that decides nothing.
    fractions, seed
        As of `make_split`.

    Raises
    ------
    LabelError
        A study has other labels in another data set, a name in place of a UID is that of two scans; or as of
        `make_split`.
    """
    sets = sorted(sets, key=lambda each: each.name)
    if repeated := {each.name for each in sets if sum(one.name == each.name for one in sets) > 1}:
        raise LabelError(f"{min(repeated)}: is the name of several of the data sets; rename a folder")
    records = [record for each in sets for record in each.records]
    duplicates = find_duplicates(records)
    _check_one_truth(records)
    patients = group_patients(records, duplicates)
    rows: dict[str, dict[str, int]] = {}
    patient_of: dict[str, str] = {}
    for record in records:
        row = rows.setdefault(record.study, dict.fromkeys([*TARGETS, *(each.name for each in sets)], 0))
        row |= {Path(record.data_set).name: 1} | (record.targets or {})
        patient_of[record.study] = patients[record.data_set, record.study]
    table = pd.DataFrame.from_dict(rows, orient="index").sort_index()
    part_of = split_patients(table, pd.Series(patient_of).reindex(table.index), fractions, seed=seed)
    hashes = {each.name: hash_labels(each.labels) for each in sets}
    return _lock(part_of, fractions, seed, hash_labels(table), hashes)


def _check_one_truth(records: Sequence[ScanRecord]) -> None:
    """Raise LabelError where a study has other labels in another data set, or its name is that of another scan."""
    first_of: dict[str, ScanRecord] = {}
    known: dict[tuple[str, str], int] = {}
    for record in records:
        study, first = record.study, first_of.setdefault(record.study, record)
        is_named = study_key(study) != study  # a UID may be that of several series
        if is_named and first.hash_name == record.hash_name and first.content_sha256 != record.content_sha256:
            raise LabelError(
                f"study {study}: is another scan in another data set; leave one out, or import it with another --name"
            )
        if any(known.setdefault((study, target), value) != value for target, value in (record.targets or {}).items()):
            raise LabelError(f"study {study}: has other labels in another data set; correct one of them")


def _lock(
    part_of: "pd.Series[str]", fractions: Mapping[str, float], seed: int, labels_sha256: str, sets: dict[str, str]
) -> LockedSplit:
    """Return a split with its hash."""
    split = LockedSplit(
        seed=seed,
        fractions=dict(fractions),
        labels_sha256=labels_sha256,
        sets=sets,
        parts={part: tuple(sorted(map(str, part_of.index[part_of == part]))) for part in fractions},
    )
    return split.model_copy(update={"sha256": split.digest})


def hash_labels(labels: pd.DataFrame) -> str:
    """Return the SHA-256 of studies and labels, independent of their order.

    Parameters
    ----------
    labels : DataFrame
        Labels of 0 or 1, indexed by StudyInstanceUID, columns `TARGETS`.
    """
    table = labels[list(TARGETS)].astype(int).sort_index().rename_axis(STUDY)
    return hashlib.sha256(table.to_csv(lineterminator="\n").encode()).hexdigest()


def write_split(split: LockedSplit, path: Path) -> None:
    """Write a split; raises OutputTakenError where the file holds another one, which is then kept."""
    if path.exists():
        try:
            is_same = read_split(path).sha256 == split.sha256
        except LabelError as error:
            raise OutputTakenError(
                f"{path}: holds something else or a split of cspine 0.1; choose another --out"
            ) from error
        if is_same:
            return
        raise OutputTakenError(f"{path}: holds another split, which is locked; choose another --out")
    content = split.model_dump(mode="json", exclude=None if split.sets else {"sets"})
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_split(path: Path) -> LockedSplit:
    """Read a split; raises LabelError where the file holds none, or was edited."""
    wrong = "is no split of this version (those of cspine 0.1 have other parts); make one with `cspine split`"
    split = read_model(path, LockedSplit, wrong=wrong)
    if split.sha256 != split.digest:
        raise LabelError(f"{path}: was changed after it was locked; get the file again")
    return split


def select_part(reference: ReferenceStandard, split: LockedSplit, part: str) -> ReferenceStandard:
    """Return the reference standard of one part of a split.

    Parameters
    ----------
    reference : ReferenceStandard
        Reference standard of all studies that were split.
    split : LockedSplit
        The split, with the studies of each part.
    part : str
        Name of the part.

    Raises
    ------
    LabelError
        The labels are not those that were split, or the part is empty.
    """
    if hash_labels(reference.labels) not in {split.labels_sha256, *split.sets.values()}:
        raise LabelError(f"{reference.name}: are not the labels that were split; give those, or make a new split")
    members = reference.labels.index[reference.labels.index.isin(split.studies(part))]
    if members.empty:
        raise LabelError(f"{reference.name}: none of its studies is in the split's part '{part}'; choose another part")
    return reference.select(members)
