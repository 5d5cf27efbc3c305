"""The worklist of many studies, most urgent first, with a limit on the time that any study waits."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cspine import __version__
from cspine.classification.prediction import synthetic_data_warning
from cspine.core.anatomy import OVERALL, RESEARCH_USE_ONLY, VERTEBRAE
from cspine.core.findings import Findings, assessment_label
from cspine.core.not_assessable import remedy_of
from cspine.reports.pages import environment
from cspine.reports.priority import (
    MAX_WAIT_MIN,
    PRIORITY_REASONS,
    WorklistRow,
    format_minutes,
    is_overdue,
    prioritize,
)

WORKLIST_COLUMNS: Final = (
    "rank", "study_instance_uid", "priority_reason", "waiting_min", OVERALL, *VERTEBRAE, "suspicious_levels",
    "not_assessable", "not_assessable_reason", "remarks", "warnings", "failed_outputs", "folder", "statement",
)  # fmt: skip
"""Columns of ``worklist.csv``."""

_TEMPLATE: Final = "worklist.html"

__all__ = [
    "MAX_WAIT_MIN", "WORKLIST_COLUMNS", "StudyResult", "WorklistRow", "prioritize", "worklist_csv", "worklist_page",
]  # fmt: skip

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")

_Cell = str | int | float | None


@dataclass(frozen=True)
class StudyResult:
    """The result of one study of many.

    Attributes
    ----------
    findings : Findings
        The findings. If the evaluation raised an error, they say that the study is not assessable and why.
    folder : str
        The study's folder, relative to the worklist; empty if nothing was written.
    arrival_time_s : float
        When the newest file of the study was written or, if that is earlier, when the study was first processed;
        seconds since 1970.
    has_thumbnail : bool
        Whether the folder holds a thumbnail.
    failed_outputs : tuple of str
        One sentence for each requested output that could not be written.
    """

    findings: Findings
    folder: str
    arrival_time_s: float
    has_thumbnail: bool = False
    failed_outputs: tuple[str, ...] = ()

    @property
    def is_suspicious(self) -> bool:
        """Whether the patient or a vertebra reaches the triage operating point."""
        overall = self.findings.patient_overall
        return bool(self.findings.suspicious) or (overall is not None and overall.is_suspicious)

    @property
    def priority_group(self) -> int:
        """The position among the four groups of `prioritize`: 0 suspicious to 3 not suspicious."""
        if self.findings.not_assessable is not None:
            return 2
        if self.is_suspicious:
            return 0
        return 3 if self.findings.calibration is not None else 1

    @property
    def priority_reason(self) -> str:
        """Why the study has its position among others."""
        return PRIORITY_REASONS[self.priority_group]

    @property
    def study_instance_uid(self) -> str:
        """The UID of the study."""
        return self.findings.study_instance_uid

    @property
    def probability(self) -> float:
        """The probability of any fracture; -1 if the study is not assessable."""
        overall = self.findings.patient_overall
        return overall.probability if overall else -1.0


def worklist_csv(rows: Sequence[WorklistRow[StudyResult]]) -> str:
    """Return the worklist as CSV with the columns `WORKLIST_COLUMNS`, one row per study.

    Text that a spreadsheet would evaluate as a formula is preceded by an apostrophe, because file names and UIDs come
    from the files.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, WORKLIST_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _escape_formula(cell) for column, cell in _cells(row).items()})
    return text.getvalue()


def _cells(row: WorklistRow[StudyResult]) -> dict[str, _Cell]:
    findings = row.result.findings
    overall, not_assessable = findings.patient_overall, findings.not_assessable
    levels: dict[str, float | None] = dict.fromkeys(VERTEBRAE)
    levels |= {vertebra.level: vertebra.probability for vertebra in findings.vertebrae}
    return {
        "rank": row.rank,
        "study_instance_uid": findings.study_instance_uid,
        "priority_reason": row.priority_reason,
        "waiting_min": round(row.waiting_min, 1),
        OVERALL: overall.probability if overall else None,
        **levels,
        "suspicious_levels": " ".join(findings.suspicious),
        "not_assessable": not_assessable.code if not_assessable else None,
        "not_assessable_reason": not_assessable.reason if not_assessable else None,
        "remarks": "; ".join(overall.reasons) if overall else None,
        "warnings": "; ".join(findings.warnings),
        "failed_outputs": "; ".join(row.result.failed_outputs),
        "folder": row.result.folder,
        "statement": findings.statement,
    }


def _escape_formula(cell: _Cell) -> _Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def worklist_page(
    rows: Sequence[WorklistRow[StudyResult]], *, max_wait_min: float | None = MAX_WAIT_MIN, skipped: int = 0
) -> str:
    """Return the worklist as an HTML page without scripts, to be written beside the studies' folders.

    All text that comes from files is escaped.

    Parameters
    ----------
    rows : sequence of WorklistRow
        Rows that `prioritize` returned, in their order.
    max_wait_min : float, optional
        The limit that `prioritize` used.
    skipped : int
        Number of files that belong to no readable study.
    """
    first = rows[0].result.findings if rows else None
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            rows=rows,
            statement=RESEARCH_USE_ONLY,
            n_not_assessable=sum(row.result.findings.not_assessable is not None for row in rows),
            n_suspicious=sum(row.result.is_suspicious for row in rows),
            max_wait_min=max_wait_min,
            n_overdue=sum(is_overdue(row.waiting_min, max_wait_min) for row in rows),
            format_minutes=format_minutes,
            skipped=skipped,
            warnings=synthetic_data_warning(first.weights, first.localizer) if first else (),
            assessment_label=assessment_label,
            remedy_of=remedy_of,
            version=__version__,
        )
    )
