"""Predictions of a model, read from findings, a table of probabilities, or a submission to the challenge."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.columns import MARK_COLUMNS, STUDY
from cspine.core.errors import LabelError
from cspine.core.findings import Findings, VertebraFinding
from cspine.datasets.rsna2022_labels import read_table, refuse_rows
from cspine.datasets.submission import FRACTURED, ROW_ID
from cspine.evaluation.findings_files import read_findings_files
from cspine.evaluation.operating_points import operating_points_of_findings
from cspine.metrics.calibration import logit, sigmoid
from cspine.models.operating_points import FixedOperatingPoints, Recalibration

NOT_FOUND: Final = "not found"
"""Coverage of a vertebra that lies within the scanned extent and was not found there."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of one model.

    Attributes
    ----------
    name : str
        Name of the model, or of the file that its predictions were read from.
    probability : DataFrame
        Probabilities of a fracture, indexed by StudyInstanceUID, columns `TARGETS`; NaN of a vertebra that the model
        does not answer, because it is absent from the scan or was not found.
    not_assessable : dict of str to str
        Studies without probabilities, and the code of the reason.
    marks : DataFrame or None
        Reported locations, columns `MARK_COLUMNS`: one row per vertebra with a location, with its strength, the point
        in LPS mm, and the DICOM slice's InstanceNumber, row and column, each NaN where it is not known. None where the
        model reports no locations.
    study_metadata : DataFrame
        Further columns indexed by study, such as the hash of the weights (``weights``), acquisition parameters or
        coverage (``C1 coverage``: one of `cspine.core.findings.Coverage`, or `NOT_FOUND`).
    phantom_only : bool
        Whether the model was trained on phantoms only.
    operating_points : FixedOperatingPoints or None
        Operating points that belong to these predictions, as findings carry them.
    operating_points_warnings : tuple of str
        What speaks against those operating points, or why there are none.
    warnings : tuple of str
        What a user has to know of how the predictions were read.
    is_recalibrated : bool
        Whether findings were made with a file of operating points that recalibrates.
    """

    name: str
    probability: pd.DataFrame
    not_assessable: dict[str, str] = field(default_factory=dict)
    marks: pd.DataFrame | None = None
    study_metadata: pd.DataFrame = field(default_factory=pd.DataFrame)
    phantom_only: bool = False
    operating_points: FixedOperatingPoints | None = None
    operating_points_warnings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_recalibrated: bool = False

    def recalibrate(self, recalibration: Recalibration) -> "Predictions":
        """Return the predictions after a recalibration; those that were recalibrated when they were made stay."""
        if self.is_recalibrated:
            return self
        levels, patients = recalibration.apply(self.probability[list(VERTEBRAE)], self.probability[OVERALL])
        table = pd.DataFrame(
            np.column_stack([patients, levels]), index=self.probability.index, columns=[OVERALL, *VERTEBRAE]
        )
        marks = None if self.marks is None else self.marks.copy()
        if marks is not None:
            strength = marks["strength"].to_numpy(np.float64)
            marks["strength"] = sigmoid(logit(strength) + recalibration.level_shift_logit)
        return replace(
            self,
            probability=table,
            marks=marks,
            warnings=(*self.warnings, "the probabilities were recalibrated as the file of operating points says"),
            is_recalibrated=True,
        )


def read_predictions(path: Path, *, name: str | None = None) -> Predictions:
    """Read the predictions of a model.

    Parameters
    ----------
    path : Path
        A findings.json or a folder with such files, a CSV with the columns StudyInstanceUID, patient_overall and C1 to
        C7, or a submission to the challenge: a CSV with the columns row_id and fractured.
    name : str, optional
        Name of the model; that of the file if omitted.

    Raises
    ------
    LabelError
        There are no predictions, or they are malformed; with the count and the first offenders.
    """
    model = name or path.stem
    if path.is_dir() or path.suffix.lower() == ".json":
        return _from_findings(path, model)
    if not path.exists():
        raise LabelError(f"{path}: is not there; give findings, a table or a submission")
    if ROW_ID in _header(path):
        return Predictions(model, _from_submission(path))
    return Predictions(model, _from_table(path))


def _header(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            return [str(column) for column in pd.read_csv(stream, nrows=0).columns]
    except (OSError, ValueError):  # `read_table` reports it
        return []


def _from_table(path: Path) -> pd.DataFrame:
    table = read_table(path, (STUDY, *TARGETS))
    refuse_rows(path, table, table[STUDY].duplicated(), "repeat an earlier study; keep one row per study")
    values = _probabilities(path, table, list(TARGETS), STUDY)
    values.index = pd.Index(table[STUDY], name=STUDY)
    return values


def _from_submission(path: Path) -> pd.DataFrame:
    """Return the eight rows of each study as one row."""
    table = read_table(path, (ROW_ID, FRACTURED), key=ROW_ID)
    refuse_rows(path, table, table[ROW_ID].duplicated(), "repeat an earlier row_id; keep one of each", key=ROW_ID)
    parts = table[ROW_ID].str.extract(rf"^(.+)_({'|'.join(TARGETS)})$")
    refuse_rows(
        path, table, parts[0].isna(), "have a row_id that is not a study's UID, _ and C1 to C7 or patient_overall; "
        "correct them", key=ROW_ID,
    )  # fmt: skip
    values = _probabilities(path, table, [FRACTURED], ROW_ID)
    wide = values.assign(study=parts[0], target=parts[1]).pivot_table(
        index="study", columns="target", values=FRACTURED, sort=False
    )
    full = pd.DataFrame({target: wide.get(target, np.nan) for target in TARGETS}, index=wide.index).rename_axis(STUDY)
    incomplete = full.index[full.isna().any(axis=1)]
    if len(incomplete):
        raise LabelError(
            f"{path}: {len(incomplete)} of {len(full)} studies lack some of their eight rows "
            f"(first: {_first(incomplete)}); give all of them"
        )
    return full


def _probabilities(path: Path, table: pd.DataFrame, columns: list[str], key: str) -> pd.DataFrame:
    """Return columns as probabilities; raises LabelError where a value is none."""
    text = table[columns]
    refuse_rows(path, table, text.isna().any(axis=1), "lack a probability; fill it in", key=key)
    values: pd.DataFrame = text.apply(pd.to_numeric, errors="coerce").astype(float)
    refuse_rows(path, table, values.isna().any(axis=1), "have probabilities that are no numbers; correct them", key=key)
    outside = ~((values >= 0.0) & (values <= 1.0)).all(axis=1)
    refuse_rows(path, table, outside, "have probabilities outside of 0 to 1; correct them", key=key)
    return values


# --- findings --------------------------------------------------------------------------------------------------------


def _from_findings(path: Path, name: str) -> Predictions:
    files = read_findings_files(path)
    all_findings = files.findings
    table = probability_table(str(path), all_findings)
    assessed = [findings for findings in all_findings if findings.patient_overall is not None]
    metadata = {findings.study_instance_uid: _metadata_row(findings) for findings in all_findings}
    marks = [mark for findings in assessed for mark in _marks(findings)]
    reports_locations = any(vertebra.coverage for findings in assessed for vertebra in findings.vertebrae)
    points, points_warnings = operating_points_of_findings(all_findings)
    return Predictions(
        name,
        table,
        {f.study_instance_uid: f.not_assessable.code for f in all_findings if f.not_assessable is not None},
        pd.DataFrame(marks, columns=list(MARK_COLUMNS)) if reports_locations else None,
        pd.DataFrame.from_dict(metadata, orient="index").rename_axis(STUDY),
        all(findings.weights.phantom_only for findings in all_findings),
        points,
        points_warnings,
        (*files.warnings, *_weights_warning(all_findings)),
        any(each.calibration is not None and each.calibration.patient_shift_logit != 0.0 for each in assessed),
    )


def probability_table(name: str, all_findings: Sequence[Findings]) -> pd.DataFrame:
    """Return the probabilities of all assessed studies.

    Parameters
    ----------
    name : str
        Where the findings come from, for the message.
    all_findings : sequence of Findings
        Findings of each study; those that are not assessable have no row.

    Returns
    -------
    DataFrame, (n, 8)
        Columns `TARGETS`, indexed by StudyInstanceUID; NaN of vertebrae that were not found or not scanned.

    Raises
    ------
    LabelError
        Findings repeat a study.
    """
    studies = pd.Series([findings.study_instance_uid for findings in all_findings])
    is_repeated = studies.duplicated()
    if is_repeated.any():
        raise LabelError(
            f"{name}: {int(is_repeated.sum())} of {len(all_findings)} findings repeat an earlier study "
            f"(first: {_first(studies[is_repeated])}); keep one of each"
        )
    rows = {each.study_instance_uid: _probability_row(each) for each in all_findings if each.patient_overall}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis(STUDY)


def _weights_warning(all_findings: Iterable[Findings]) -> Iterator[str]:
    """Yield a sentence where findings of several weights are taken for those of one model."""
    counts = pd.Series([f"{each.weights.name} {each.weights.sha256[:12]}" for each in all_findings]).value_counts()
    if len(counts) > 1:
        named = ", ".join(f"{weights} in {count}" for weights, count in counts.iloc[:3].items())
        yield f"the findings are those of {len(counts)} different weights, evaluated as one model ({named})"


def _is_answered(vertebra: VertebraFinding) -> bool:
    """Return whether a vertebra was found, at least partly, and has a probability."""
    return vertebra.probability is not None and vertebra.coverage != "absent" and not vertebra.not_found


def _probability_row(findings: Findings) -> list[float]:
    values = {each.level: each.probability for each in findings.vertebrae if _is_answered(each)}
    levels = [values.get(level) for level in VERTEBRAE]
    overall = findings.patient_overall.probability if findings.patient_overall else None
    return [np.nan if value is None else value for value in (overall, *levels)]


def _metadata_row(findings: Findings) -> dict[str, Any]:
    row: dict[str, Any] = {"weights": findings.weights.sha256, "software": findings.software.version}
    if findings.acquisition is not None:
        row |= findings.acquisition.model_dump()
    return row | {
        f"{each.level} coverage": NOT_FOUND if each.not_found else each.coverage for each in findings.vertebrae
    }


def _marks(findings: Findings) -> Iterator[tuple[Any, ...]]:
    for vertebra in findings.vertebrae:
        evidence = vertebra.strongest
        if evidence is None or vertebra.probability is None or not _is_answered(vertebra):
            continue
        position = evidence.slice
        number = np.nan if position is None or position.instance_number is None else position.instance_number
        pixel = (np.nan, np.nan) if position is None else (position.row, position.column)
        yield findings.study_instance_uid, vertebra.level, vertebra.probability, *evidence.point_lps_mm, number, *pixel


def _first(names: Iterable[object]) -> str:
    return ", ".join(str(name)[:80] for _, name in zip(range(3), names, strict=False))
