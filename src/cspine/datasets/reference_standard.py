"""What is true of studies, however it was written down: labels, boxes, label maps, or a phantom's own record."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from pydantic import BaseModel, ValidationError

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE, Level
from cspine.core.columns import STUDY
from cspine.core.errors import LabelError
from cspine.core.files import complete_files, read_json
from cspine.core.settings import digest
from cspine.datasets.compiled import MARKER, CompiledDataset
from cspine.datasets.lesion_reference import BoxReference, LesionReference, PointReference
from cspine.datasets.rsna2022_labels import read_boxes, read_labels, refuse_rows
from cspine.dicom.study_collection import BOXES_FILE, FRACTURES_FOLDER, LABELS_FILE, PHANTOM_MARKER, TRUTH_FOLDER

WORDS: Final = ("occult", "subtle", "clear", "obvious")
"""How well a phantom's fracture can be seen, least first."""

FRACTURE_COLUMNS: Final = (STUDY, "level", "kind", "visibility")

_MAX_EFFECTIVE_VOTES: Final = 24
"""More different words than this in a column of few studies are taken for names."""

_GROUPS: Final = ("slices", "slice_thickness_mm", "slice_spacing_mm", "pixel_spacing_mm", "kernel", "noise_hu")


@dataclass(frozen=True)
class ReferenceStandard:
    """What is true of studies.

    Attributes
    ----------
    name : str
        For headings.
    labels : DataFrame
        Indexed by StudyInstanceUID, columns `TARGETS`, 0 or 1.
    patients : Series
        Same index: whose each study is; the study itself where that is not known.
    fractures : DataFrame or None
        Columns `FRACTURE_COLUMNS`, one row for each fracture; None where only levels are known.
    places : Places or None
        Where it is broken, where that is known.
    groups : DataFrame
        Indexed by study, columns of what studies differ in, such as ``slice_thickness_mm``; may be empty.
    is_phantom : bool
        Whether no patient is among them.
    """

    name: str
    labels: pd.DataFrame
    patients: "pd.Series[str]"
    fractures: pd.DataFrame | None = None
    places: LesionReference | None = None
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)
    is_phantom: bool = False

    @property
    def studies_sha256(self) -> str:
        """Hash of which studies these are, in whatever order."""
        return digest(sorted(map(str, self.labels.index)))

    def only(self, studies: "pd.Index[Any]") -> "ReferenceStandard":
        """Return what is true of some of the studies, in their order."""
        fractures = None if self.fractures is None else self.fractures[self.fractures[STUDY].isin(studies)]
        groups = self.groups.reindex(studies) if len(self.groups.columns) else self.groups
        return replace(
            self,
            labels=self.labels.loc[studies],
            patients=self.patients.loc[studies],
            fractures=fractures,
            groups=groups,
        )


def read_reference_standard(path: Path, *, boxes: Path | None = None, groups: Path | None = None) -> ReferenceStandard:
    """Read what is true.

    Parameters
    ----------
    path : Path
        The challenge's train.csv, a folder that holds it (with boxes, label maps of fractures, and a phantom's record,
        where they are), or a compiled data set.
    boxes : Path, optional
        The challenge's train_bounding_boxes.csv; the one beside the labels where left out.
    groups : Path, optional
        A CSV with StudyInstanceUID and columns of what studies differ in; added to what is known.

    Raises
    ------
    LabelError, InputError
        There are no labels, or something is malformed: which, how many, and the first of it.
    """
    is_store = (path / MARKER).is_file()
    if is_store and boxes is not None:
        raise LabelError(f"{boxes}: a compiled data set has no pixels that boxes could lie in; give the labels")
    truth = _of_store(path) if is_store else _of_challenge(path, boxes)
    return truth if groups is None else replace(truth, groups=_more_groups(groups, truth))


def _of_challenge(path: Path, boxes: Path | None) -> ReferenceStandard:
    folder, file = (path, path / LABELS_FILE) if path.is_dir() else (path.parent, path)
    if not file.is_file():
        raise LabelError(f"{file}: is not there; give a train.csv, a folder that holds one, or a compiled data set")
    labels = read_labels(file)
    patients = pd.Series(labels.index, index=labels.index, name="patient")
    records = _records(folder) if path.is_dir() else {}
    fractures, groups = _of_records(records)
    boxes = boxes or (folder / BOXES_FILE if (folder / BOXES_FILE).is_file() else None)
    places: LesionReference | None = None
    if (folder / FRACTURES_FOLDER).is_dir() and path.is_dir():
        maps = {file.name.split(".nii")[0]: file for file in complete_files(folder / FRACTURES_FOLDER, "*.nii*")}
        places = PointReference(maps, frozenset(labels.index[labels[OVERALL] == 0]))
    elif boxes is not None:
        places = BoxReference(_of_fractured(boxes, labels), labels)
    return ReferenceStandard(
        file.name, labels, patients, fractures, places, groups, (folder / PHANTOM_MARKER).is_file()
    )


def _of_fractured(path: Path, labels: pd.DataFrame) -> pd.DataFrame:
    """Return boxes; they must be of studies that are labelled fractured."""
    boxes = read_boxes(path)
    known = boxes[boxes[STUDY].isin(labels.index)]
    if known.empty:
        count = boxes[STUDY].nunique()
        raise LabelError(f"{path}: none of its {count} studies is among the labelled ones; check the UIDs")
    wrong = known[labels.loc[known[STUDY], OVERALL].to_numpy() == 0][STUDY].unique()
    if len(wrong):
        first = ", ".join(map(str, wrong[:3]))
        raise LabelError(f"{path}: {len(wrong)} studies have boxes and no fracture (first: {first}); mend them")
    return known


def _of_store(path: Path) -> ReferenceStandard:
    store = CompiledDataset.open(path)
    studies = store.studies().set_index("study_instance_uid").sort_index().rename_axis(STUDY)
    labelled = studies.dropna(subset=list(TARGETS))
    if labelled.empty:
        raise LabelError(f"{path}: no study has labels; compile a folder with train.csv")
    records = _records(path)
    fractures, groups = _of_records(records)
    known = groups.reindex(labelled.index).combine_first(labelled.reindex(columns=list(_GROUPS)))
    places = PointReference({study: path / TRUTH_FOLDER / f"{study}.json" for study in records}) if records else None
    patients = labelled["patient"].fillna(labelled.index.to_series())
    return ReferenceStandard(
        path.resolve().name,
        labelled[list(TARGETS)].astype(int),
        patients,
        fractures,
        places,
        known.dropna(axis="columns", how="all"),
        store.is_phantom,
    )


class _Fracture(BaseModel):
    level: Level
    kind: str
    visibility_word: Literal["occult", "subtle", "clear", "obvious"]


class _Scanner(BaseModel):
    thickness_mm: float
    blur_mm: float
    noise_hu: float


class _Record(BaseModel):
    """What is read of a phantom's own record."""

    study_instance_uid: str
    fractures: tuple[_Fracture, ...]
    scanner: _Scanner


def _records(folder: Path) -> dict[str, _Record]:
    """Return a phantom's own records, by study."""
    found = {}
    for path in complete_files(folder / TRUTH_FOLDER, "*.json"):
        try:
            record = _Record.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise LabelError(f"{path}: is no phantom's record ({where}: {first['msg']}); draw it again") from error
        found[record.study_instance_uid] = record
    return found


def _of_records(records: dict[str, _Record]) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Return a phantom's fractures, and what its scans differ in."""
    if not records:
        return None, pd.DataFrame()
    fractures = [
        (study, found.level, found.kind, found.visibility_word)
        for study, record in records.items()
        for found in record.fractures
    ]
    groups = {
        study: {
            "slice_thickness_mm": record.scanner.thickness_mm,
            "kernel": _kernel(record.scanner.blur_mm),
            "noise_hu": record.scanner.noise_hu,
        }
        for study, record in records.items()
    }
    return (
        pd.DataFrame(fractures, columns=list(FRACTURE_COLUMNS)),
        pd.DataFrame.from_dict(groups, orient="index").rename_axis(STUDY),
    )


def _kernel(blur_mm: float) -> str:
    """Return a word for a phantom scanner's point spread."""
    return "sharp" if blur_mm < _SHARP_MM else "medium" if blur_mm < _SOFT_MM else "soft"


_SHARP_MM: Final = 0.75
_SOFT_MM: Final = 1.0


def _more_groups(path: Path, truth: ReferenceStandard) -> pd.DataFrame:
    """Return a table's columns beside those that are known."""
    try:
        table = pd.read_csv(path, dtype={STUDY: str})
    except (OSError, ValueError) as error:
        raise LabelError(f"{path}: is not a CSV table ({type(error).__name__}); get the file again") from error
    if STUDY not in table.columns or len(table.columns) < 2:
        raise LabelError(f"{path}: must have {STUDY} and a column of what studies differ in; give such a table")
    refuse_rows(path, table, table[STUDY].duplicated(), "repeat an earlier study; keep one row per study")
    if not table[STUDY].isin(truth.labels.index).any():
        raise LabelError(f"{path}: none of its {len(table)} studies is among the labelled ones; check the UIDs")
    named = [
        str(name)
        for name in table.columns.drop(STUDY)
        if not is_numeric_dtype(table[name]) and table[name].nunique() > max(_MAX_EFFECTIVE_VOTES, len(table) // 2)
    ]
    if named:
        raise LabelError(
            f"{path}: {', '.join(named[:3])} has another word for nearly every study, as names have, and they would be "
            "shown; leave it out"
        )
    more = table.set_index(STUDY).reindex(truth.labels.index)
    return more.combine_first(truth.groups.reindex(truth.labels.index)) if len(truth.groups.columns) else more


def best_visibility(truth: ReferenceStandard) -> pd.DataFrame:
    """Return how well the best visible fracture of each vertebra can be seen: studies by C1 to C7, '' of whole ones."""
    words = np.full((len(truth.labels), len(VERTEBRAE)), "", dtype=object)
    if truth.fractures is not None:
        rows = truth.labels.index.get_indexer(pd.Index(truth.fractures[STUDY]))
        columns = [VERTEBRAE.index(level) for level in truth.fractures["level"]]
        ranks = [WORDS.index(word) for word in truth.fractures["visibility"]]
        for row, column, rank in sorted(zip(rows.tolist(), columns, ranks, strict=True), key=lambda part: part[2]):
            words[row, column] = WORDS[rank]
    return pd.DataFrame(words, index=truth.labels.index, columns=list(VERTEBRAE))
