"""What a system said of studies, however it was written down: findings, a table, or a submission to the challenge."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pydantic import ValidationError

from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.columns import MARK_COLUMNS, STUDY
from cspine.core.errors import LabelError
from cspine.core.findings import Findings
from cspine.datasets.rsna2022_labels import read_table, refuse_rows

ROW_ID: Final = "row_id"
FRACTURED: Final = "fractured"
FINDINGS_FILE: Final = "findings.json"

_LARGEST: Final = 32 * 2**20
"""Bytes of a findings file at most; real ones take a hundred kilobytes."""


@dataclass(frozen=True)
class Predictions:
    """One system's answers.

    Attributes
    ----------
    name : str
        Of the system, or of the file that it was read from.
    probability : DataFrame
        Indexed by StudyInstanceUID, columns `TARGETS`: plain probabilities; NaN of a vertebra of which the system says
        that it cannot be judged.
    not_assessable : dict
        Studies that it gave no answer to, and why.
    marks : DataFrame
        Columns `MARK_COLUMNS`: where it points, one row for each vertebra that it points at, and how sure it is of it:
        LPS mm, and the DICOM slice's InstanceNumber, row and column, each NaN where it is not told. None is no answer.
    about : DataFrame
        Indexed by study: what else is told of it, such as the weights (``weights``) or coverage (``C1 coverage``).
    phantom_only : bool
        Whether the system says that it has seen nothing but phantoms.
    """

    name: str
    probability: pd.DataFrame
    not_assessable: dict[str, str] = field(default_factory=dict)
    marks: pd.DataFrame | None = None
    about: pd.DataFrame = field(default_factory=pd.DataFrame)
    phantom_only: bool = False


def read_predictions(path: Path, *, name: str | None = None) -> Predictions:
    """Read what a system said.

    Parameters
    ----------
    path : Path
        A findings.json or a folder with such files, a CSV with the columns StudyInstanceUID, patient_overall and C1 to
        C7, or a submission to the challenge: a CSV with the columns row_id and fractured.
    name : str, optional
        Of the system; the file's where left out.

    Raises
    ------
    LabelError
        There are no answers, or they are malformed: which, how many, and the first of them.
    """
    called = name or path.stem
    if path.is_dir() or path.suffix.lower() == ".json":
        return _from_findings(path, called)
    if not path.exists():
        raise LabelError(f"{path}: is not there; give findings, a table or a submission")
    if ROW_ID in _header(path):
        return Predictions(called, _from_submission(path))
    return Predictions(called, _from_table(path))


def _header(path: Path) -> list[str]:
    try:
        return [str(column) for column in pd.read_csv(path, nrows=0).columns]
    except (OSError, ValueError):  # `read_table` says what is wrong
        return []


def _from_table(path: Path) -> pd.DataFrame:
    table = read_table(path, (STUDY, *TARGETS))
    refuse_rows(path, table, table[STUDY].duplicated(), "repeat an earlier study; keep one row per study")
    values = _probabilities(path, table, list(TARGETS), STUDY)
    values.index = pd.Index(table[STUDY], name=STUDY)
    return values


def _from_submission(path: Path) -> pd.DataFrame:
    """Return a submission's eight rows per study as one."""
    table = read_table(path, (ROW_ID, FRACTURED), key=ROW_ID)
    refuse_rows(path, table, table[ROW_ID].duplicated(), "repeat an earlier row_id; keep one of each", key=ROW_ID)
    parts = table[ROW_ID].str.extract(rf"^(.+)_({'|'.join(TARGETS)})$")
    refuse_rows(
        path, table, parts[0].isna(), "have a row_id that is not a study's UID, _ and C1 to C7 or patient_overall; "
        "mend them", key=ROW_ID,
    )  # fmt: skip
    values = _probabilities(path, table, [FRACTURED], ROW_ID)
    wide = values.assign(study=parts[0], target=parts[1]).pivot_table(
        index="study", columns="target", values=FRACTURED, sort=False
    )
    full = pd.DataFrame({target: wide.get(target, np.nan) for target in TARGETS}, index=wide.index).rename_axis(STUDY)
    lacking = full.index[full.isna().any(axis=1)]
    if len(lacking):
        raise LabelError(
            f"{path}: {len(lacking)} of {len(full)} studies lack some of their eight rows (first: {_first(lacking)}); "
            "give all of them"
        )
    return full


def _probabilities(path: Path, table: pd.DataFrame, columns: list[str], key: str) -> pd.DataFrame:
    """Return columns as numbers from 0 to 1, or refuse what is none."""
    text = table[columns]
    refuse_rows(path, table, text.isna().any(axis=1), "lack a probability; fill it in", key=key)
    values: pd.DataFrame = text.apply(pd.to_numeric, errors="coerce").astype(float)
    refuse_rows(path, table, values.isna().any(axis=1), "have probabilities that are no numbers; mend them", key=key)
    outside = ~((values >= 0.0) & (values <= 1.0)).all(axis=1)
    refuse_rows(path, table, outside, "have probabilities outside of 0 to 1; mend them", key=key)
    return values


# --- findings --------------------------------------------------------------------------------------------------------


def list_findings(path: Path) -> list[Path]:
    """Return the findings files in a folder, or the file itself; raises LabelError where there are none."""
    files = sorted(path.rglob(FINDINGS_FILE)) if path.is_dir() else [path]
    if not files:
        raise LabelError(f"{path}: holds no {FINDINGS_FILE}; give the folder that cspine predict wrote")
    return files


def load_findings(path: Path) -> Findings:
    """Return one file's findings; raises LabelError where it holds none, or those of another version."""
    try:
        if path.stat().st_size > _LARGEST:
            raise LabelError(f"{path}: is too large for findings; give what cspine predict wrote")
        return Findings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise LabelError(
            f"{path}: holds no findings of this version ({where}: {first['msg']}); predict again"
        ) from error


def _from_findings(path: Path, name: str) -> Predictions:
    files = list_findings(path)
    found = [load_findings(file) for file in files]
    studies = pd.Series([one.study_instance_uid for one in found])
    again = studies.duplicated()
    if again.any():
        raise LabelError(
            f"{path}: {int(again.sum())} of {len(found)} findings repeat an earlier study "
            f"(first: {_first(studies[again])}); keep one of each"
        )
    answered = [one for one in found if one.patient_overall is not None]
    rows = {one.study_instance_uid: _row(one) for one in answered}
    about = {one.study_instance_uid: _about(one) for one in found}
    marks = [mark for one in answered for mark in _marks(one)]
    localises = any(vertebra.coverage for one in answered for vertebra in one.vertebrae)
    return Predictions(
        name,
        pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis(STUDY),
        {one.study_instance_uid: one.not_assessable.code for one in found if one.not_assessable is not None},
        pd.DataFrame(marks, columns=list(MARK_COLUMNS)) if localises else None,
        pd.DataFrame.from_dict(about, orient="index").rename_axis(STUDY),
        all(one.weights.phantom_only for one in found),
    )


def _row(found: Findings) -> list[float]:
    told: dict[str, float | None] = {vertebra.level: vertebra.probability for vertebra in found.vertebrae}
    told[OVERALL] = found.patient_overall.probability if found.patient_overall else None
    values = [told[target] for target in TARGETS]
    return [np.nan if value is None else value for value in values]


def _about(found: Findings) -> dict[str, Any]:
    told: dict[str, Any] = {"weights": found.weights.sha256, "software": found.software.version}
    if found.acquisition is not None:
        told |= found.acquisition.model_dump()
    return told | {f"{vertebra.level} coverage": vertebra.coverage for vertebra in found.vertebrae}


def _marks(found: Findings) -> Iterator[tuple[Any, ...]]:
    for vertebra in found.vertebrae:
        best = vertebra.strongest
        if best is None or vertebra.probability is None:
            continue
        place = best.slice
        number = np.nan if place is None or place.instance_number is None else place.instance_number
        pixel = (np.nan, np.nan) if place is None else (place.row, place.column)
        yield found.study_instance_uid, vertebra.level, vertebra.probability, *best.point_lps_mm, number, *pixel


def _first(names: Iterable[object]) -> str:
    return ", ".join(str(name)[:80] for _, name in zip(range(3), names, strict=False))
