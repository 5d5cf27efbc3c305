"""The reference standard of a set of studies: labels, patients, fractures, lesion locations and subgroups."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import STUDY
from cspine.core.errors import LabelError
from cspine.core.files import complete_files
from cspine.core.settings import digest
from cspine.datasets.compiled import MARKER, CompiledDataset
from cspine.datasets.lesion_reference import BoxReference, LesionReference, PointReference
from cspine.datasets.phantom_records import (
    VISIBILITY_GRADES,
    fracture_table,
    mimic_table,
    read_phantom_records,
    scan_table,
)
from cspine.datasets.rsna2022_labels import read_boxes, read_labels, refuse_rows
from cspine.dicom.files.manifest import is_imported, read_manifest
from cspine.dicom.study_collection import BOXES_FILE, FRACTURES_FOLDER, LABELS_FILE, PHANTOM_MARKER, TRUTH_FOLDER

_MAX_CATEGORIES: Final = 24
"""A column with more distinct words, relative to few studies, is taken for names of persons and refused."""

_SCAN_COLUMNS: Final = ("slices", "slice_thickness_mm", "slice_spacing_mm", "pixel_spacing_mm", "kernel", "noise_hu")


@dataclass(frozen=True)
class ReferenceStandard:
    """The reference standard of a set of studies.

    Attributes
    ----------
    name : str
        Name for headings: a file or a data set.
    labels : DataFrame
        Labels of 0 or 1, indexed by StudyInstanceUID, columns `TARGETS`.
    patients : Series
        Patient of each study, same index; the study itself where the patient is not known.
    fractures : DataFrame or None
        One row per fracture, columns `cspine.datasets.phantom_records.FRACTURE_COLUMNS`; None where only levels are
        known.
    lesions : LesionReference or None
        Locations of the fractures, where they are known.
    subgroups : DataFrame
        Variables that studies differ in, such as ``slice_thickness_mm``, indexed by study; may be empty.
    is_phantom : bool
        Whether all studies are phantoms.
    mimics : DataFrame or None
        Findings that may be taken for a fracture, columns `cspine.datasets.phantom_records.MIMIC_COLUMNS`; None where
        they are not known.
    """

    name: str
    labels: pd.DataFrame
    patients: "pd.Series[str]"
    fractures: pd.DataFrame | None = None
    lesions: LesionReference | None = None
    subgroups: pd.DataFrame = field(default_factory=pd.DataFrame)
    is_phantom: bool = False
    mimics: pd.DataFrame | None = None

    @property
    def studies_sha256(self) -> str:
        """Hash of the set of studies, independent of their order."""
        return digest(sorted(map(str, self.labels.index)))

    def select(self, studies: "pd.Index[Any]") -> "ReferenceStandard":
        """Return the reference standard of some of the studies, in the given order."""
        fractures = None if self.fractures is None else self.fractures[self.fractures[STUDY].isin(studies)]
        mimics = None if self.mimics is None else self.mimics[self.mimics[STUDY].isin(studies)]
        subgroups = self.subgroups.reindex(studies) if len(self.subgroups.columns) else self.subgroups
        return replace(
            self,
            labels=self.labels.loc[studies],
            patients=self.patients.loc[studies],
            fractures=fractures,
            subgroups=subgroups,
            mimics=mimics,
        )


def read_reference_standard(
    path: Path, *, boxes: Path | None = None, subgroups: Path | None = None
) -> ReferenceStandard:
    """Read a reference standard.

    Parameters
    ----------
    path : Path
        The challenge's train.csv; a folder that holds it, with bounding boxes, label maps of fractures and phantom
        records where there are any; or a compiled data set.
    boxes : Path, optional
        The challenge's train_bounding_boxes.csv; the one beside the labels if omitted.
    subgroups : Path, optional
        A CSV with StudyInstanceUID and further variables of the studies, which are added to the known ones.

    Raises
    ------
    LabelError, InputError
        There are no labels, or something is malformed; with the count and the first offenders.
    """
    is_compiled = (path / MARKER).is_file()
    if is_compiled and boxes is not None:
        raise LabelError(f"{boxes}: a compiled data set has no pixels that boxes could lie in; give the labels")
    reference = _from_compiled(path) if is_compiled else _from_challenge(path, boxes)
    return reference if subgroups is None else replace(reference, subgroups=_add_subgroups(subgroups, reference))


def best_visibility(reference: ReferenceStandard) -> pd.DataFrame:
    """Return the visibility of the most visible fracture of each vertebra.

    Parameters
    ----------
    reference : ReferenceStandard
        Reference standard with the location of its fractures.

    Returns
    -------
    DataFrame
        One of `cspine.datasets.phantom_records.VISIBILITY_GRADES`, or '' without a fracture; indexed by study, columns
        C1 to C7.
    """
    grades = np.full((len(reference.labels), len(VERTEBRAE)), "", dtype=object)
    if reference.fractures is not None:
        rows = reference.labels.index.get_indexer(pd.Index(reference.fractures[STUDY]))
        columns = [VERTEBRAE.index(level) for level in reference.fractures["level"]]
        ranks = [VISIBILITY_GRADES.index(grade) for grade in reference.fractures["visibility"]]
        for row, column, rank in sorted(zip(rows.tolist(), columns, ranks, strict=True), key=lambda part: part[2]):
            grades[row, column] = VISIBILITY_GRADES[rank]
    return pd.DataFrame(grades, index=reference.labels.index, columns=list(VERTEBRAE))


def _from_challenge(path: Path, boxes: Path | None) -> ReferenceStandard:
    folder, labels_path = (path, path / LABELS_FILE) if path.is_dir() else (path.parent, path)
    if not labels_path.is_file():
        raise LabelError(
            f"{labels_path}: is not there; give a train.csv, a folder that holds one, or a compiled data set"
        )
    labels = read_labels(labels_path)
    records = read_phantom_records(folder) if path.is_dir() else {}
    return ReferenceStandard(
        labels_path.name,
        labels,
        _patients(folder, labels),
        fracture_table(records),
        _read_lesions(path, folder, boxes, labels),
        scan_table(records),
        (folder / PHANTOM_MARKER).is_file(),
        mimic_table(records, labels.index),
    )


def _patients(folder: Path, labels: pd.DataFrame) -> "pd.Series[str]":
    """Return the patient of each study: by the manifest of an imported data set, otherwise the study itself."""
    studies = pd.Series(labels.index, index=labels.index, name="patient")
    if not is_imported(folder):  # of a table beside a manifest, too
        return studies
    return studies.map({entry.study: entry.patient for entry in read_manifest(folder)}).fillna(studies)


def _read_lesions(path: Path, folder: Path, boxes: Path | None, labels: pd.DataFrame) -> LesionReference | None:
    """Return the locations of fractures from label maps, or else from bounding boxes."""
    if (folder / FRACTURES_FOLDER).is_dir() and path.is_dir():
        maps = {file.name.split(".nii")[0]: file for file in complete_files(folder / FRACTURES_FOLDER, "*.nii*")}
        return PointReference(maps, frozenset(labels.index[labels[OVERALL] == 0]))
    boxes_path = boxes or (folder / BOXES_FILE if (folder / BOXES_FILE).is_file() else None)
    return None if boxes_path is None else BoxReference(_read_boxes_of_fractured(boxes_path, labels), labels)


def _read_boxes_of_fractured(path: Path, labels: pd.DataFrame) -> pd.DataFrame:
    """Return the boxes of labeled studies; raises LabelError where one of them is labeled as not fractured."""
    boxes = read_boxes(path)
    labeled = boxes[boxes[STUDY].isin(labels.index)]
    if labeled.empty:
        count = boxes[STUDY].nunique()
        raise LabelError(f"{path}: none of its {count} studies is among the labeled ones; check the UIDs")
    contradicting = labeled[labels.loc[labeled[STUDY], OVERALL].to_numpy() == 0][STUDY].unique()
    if len(contradicting):
        first = ", ".join(map(str, contradicting[:3]))
        raise LabelError(
            f"{path}: {len(contradicting)} studies have boxes and no fracture (first: {first}); correct them"
        )
    return labeled


def _from_compiled(path: Path) -> ReferenceStandard:
    dataset = CompiledDataset.open(path)
    studies = dataset.studies().set_index("study_instance_uid").sort_index().rename_axis(STUDY)
    is_known = studies[list(TARGETS)].notna()
    is_partial = is_known.any(axis=1) & ~is_known.all(axis=1)
    if is_partial.any():
        raise LabelError(
            f"{path}: {int(is_partial.sum())} of {len(studies)} studies lack some labels (first: "
            f"{studies.index[is_partial][0]}); compile them again with a complete train.csv"
        )
    labeled = studies.dropna(subset=list(TARGETS))
    if labeled.empty:
        raise LabelError(f"{path}: no study has labels; compile a folder with train.csv")
    records = read_phantom_records(path)
    subgroups = scan_table(records).reindex(labeled.index).combine_first(labeled.reindex(columns=list(_SCAN_COLUMNS)))
    lesions = PointReference({study: path / TRUTH_FOLDER / f"{study}.json" for study in records}) if records else None
    return ReferenceStandard(
        path.resolve().name,
        labeled[list(TARGETS)].astype(int),
        labeled["patient"].fillna(labeled.index.to_series()),
        fracture_table(records),
        lesions,
        subgroups.dropna(axis="columns", how="all"),
        dataset.is_phantom,
        mimic_table(records, labeled.index),
    )


def _add_subgroups(path: Path, reference: ReferenceStandard) -> pd.DataFrame:
    """Return the columns of a table of studies beside the known subgroups."""
    try:
        with path.open("rb") as stream:
            table = pd.read_csv(stream, dtype={STUDY: str})
    except (OSError, ValueError) as error:
        raise LabelError(f"{path}: is not a CSV table ({type(error).__name__}); get the file again") from error
    if STUDY not in table.columns or len(table.columns) < 2:
        raise LabelError(f"{path}: must have {STUDY} and a column of what studies differ in; give such a table")
    refuse_rows(path, table, table[STUDY].duplicated(), "repeat an earlier study; keep one row per study")
    if not table[STUDY].isin(reference.labels.index).any():
        raise LabelError(f"{path}: none of its {len(table)} studies is among the labeled ones; check the UIDs")
    name_like = [
        str(name)
        for name in table.columns.drop(STUDY)
        if not is_numeric_dtype(table[name]) and table[name].nunique() > max(_MAX_CATEGORIES, len(table) // 2)
    ]
    if name_like:
        raise LabelError(
            f"{path}: {', '.join(name_like[:3])} has another word for nearly every study, as names have, and they "
            "would be shown; leave it out"
        )
    studies = reference.labels.index
    added = table.set_index(STUDY).reindex(studies)
    return added.combine_first(reference.subgroups.reindex(studies)) if len(reference.subgroups.columns) else added
