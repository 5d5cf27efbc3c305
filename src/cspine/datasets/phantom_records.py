"""The ground-truth records of phantoms as tables: fractures, mimics of fractures, and parameters of the scans."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

import pandas as pd
from pydantic import BaseModel, ValidationError

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.core.columns import POINT_COLUMNS, STUDY
from cspine.core.errors import LabelError
from cspine.core.files import complete_files, read_json
from cspine.dicom.study_collection import TRUTH_FOLDER

VISIBILITY_GRADES: Final = ("occult", "subtle", "clear", "obvious")
"""Grades of the visibility of a phantom's fracture, ascending."""

FRACTURE_COLUMNS: Final = (STUDY, "level", "fracture_type", "visibility", "bone_lost_mm")
"""Columns of a table of fractures: the last is the width of lost bone, 0 without and NaN where it is not known."""

MIMIC_COLUMNS: Final = (STUDY, "level", "mimic", *POINT_COLUMNS)
"""Columns of a table of mimics: one row per point of a mimic, or one with NaN where its place is not known."""

_MAX_SHARP_BLUR_MM: Final = 0.75
_MAX_MEDIUM_BLUR_MM: Final = 1.0


class _Fracture(BaseModel):
    level: Level
    fracture_type: str
    visibility_grade: Literal["occult", "subtle", "clear", "obvious"]
    bone_lost_mm: float = float("nan")  # not in the records of earlier phantoms


class _Mimic(BaseModel):
    name: str
    level: str | None
    points_lps_mm: tuple[tuple[float, float, float], ...]


class _Scanner(BaseModel):
    thickness_mm: float
    blur_mm: float
    noise_hu: float


class PhantomRecord(BaseModel):
    """The fields of a phantom's ground-truth record that are evaluated.

    Attributes
    ----------
    study_instance_uid : str
        Study of the phantom.
    fractures : tuple
        Level, type, visibility and width of lost bone of each fracture.
    scanner : object
        Slice thickness, in-plane blur and noise of the scan.
    mimics : tuple or None
        Name, level (None for the whole neck) and points of each finding that may be taken for a fracture; None where
        the record does not list them, as those of earlier phantoms and of virtual fractures.
    """

    study_instance_uid: str
    fractures: tuple[_Fracture, ...]
    scanner: _Scanner
    mimics: tuple[_Mimic, ...] | None = None


def read_phantom_records(folder: Path) -> dict[str, PhantomRecord]:
    """Return the ground-truth records in a folder of phantoms, by study.

    Parameters
    ----------
    folder : Path
        Root of a data set; the records lie in its `TRUTH_FOLDER`. There are none for patients.

    Raises
    ------
    LabelError
        A file holds no record.
    """
    records = {}
    for path in complete_files(folder / TRUTH_FOLDER, "*.json"):
        try:
            record = PhantomRecord.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise LabelError(f"{path}: is no phantom's record ({where}: {first['msg']}); draw it again") from error
        records[record.study_instance_uid] = record
    return records


def fracture_table(records: Mapping[str, PhantomRecord]) -> pd.DataFrame | None:
    """Return one row per fracture, columns `FRACTURE_COLUMNS`; None without records."""
    if not records:
        return None
    rows = [
        (study, fracture.level, fracture.fracture_type, fracture.visibility_grade, fracture.bone_lost_mm)
        for study, record in records.items()
        for fracture in record.fractures
    ]
    return pd.DataFrame(rows, columns=list(FRACTURE_COLUMNS))


def mimic_table(records: Mapping[str, PhantomRecord], studies: Iterable[str]) -> pd.DataFrame | None:
    """Return the mimics of fractures at C1 to C7, columns `MIMIC_COLUMNS`; those of the whole neck at every level.

    Parameters
    ----------
    records : mapping of str to PhantomRecord
        Record of each study.
    studies : iterable of str
        Studies of the table.

    Returns
    -------
    DataFrame or None
        None unless the record of every study lists its mimics: a vertebra without any is then known to have none.
    """
    rows = []
    for study in studies:
        mimics = records[study].mimics if study in records else None
        if mimics is None:
            return None
        rows += [
            (study, level, mimic.name, *point)
            for mimic in mimics
            for level in ((mimic.level,) if mimic.level else VERTEBRAE)
            if level in VERTEBRAE
            for point in (mimic.points_lps_mm or [(float("nan"),) * 3])
        ]
    return pd.DataFrame(rows, columns=list(MIMIC_COLUMNS))


def scan_table(records: Mapping[str, PhantomRecord]) -> pd.DataFrame:
    """Return slice thickness, kernel and noise of each scan, indexed by study; empty without records."""
    if not records:
        return pd.DataFrame()
    rows = {
        study: {
            "slice_thickness_mm": record.scanner.thickness_mm,
            "kernel": _kernel_name(record.scanner.blur_mm),
            "noise_hu": record.scanner.noise_hu,
        }
        for study, record in records.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(STUDY)


def _kernel_name(blur_mm: float) -> str:
    """Return a name for the reconstruction kernel of a simulated scanner, by its in-plane blur."""
    return "sharp" if blur_mm < _MAX_SHARP_BLUR_MM else "medium" if blur_mm < _MAX_MEDIUM_BLUR_MM else "soft"
