"""Drift detection: a comparison of recent findings with those of a reference period."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cspine.core.files import plain_json, write_json
from cspine.core.jobs import ResumableJob
from cspine.core.storage.locations import as_path
from cspine.evaluation.drift import Shift, find_shifts
from cspine.evaluation.holdout_access_log import hash_predictions
from cspine.evaluation.predictions import Predictions, read_predictions
from cspine.reports.evaluation.drift_report import drift_figure, drift_sections
from cspine.reports.evaluation.sections_page import write_sections

MARKER: Final = "monitor.json"
RESULT_FILE: Final = "drift.json"


@dataclass(frozen=True)
class DriftReport:
    """The shifts between two sets of findings.

    Attributes
    ----------
    shifts : tuple of Shift
        One per variable, significant ones first.
    page : Path or None
        The report's page; None where none was written.
    warnings : tuple of str
        What was noticed when the findings were read.
    """

    shifts: tuple[Shift, ...]
    page: Path | None
    warnings: tuple[str, ...] = ()

    @property
    def is_drift_detected(self) -> bool:
        """Whether any shift is significant."""
        return any(shift.is_significant for shift in self.shifts)

    def to_json(self) -> dict[str, Any]:
        """Return the shifts as plain dictionaries and lists; NaN becomes None."""
        return {
            "is_drift_detected": self.is_drift_detected,
            "shifts": [plain_json(asdict(shift)) for shift in self.shifts],
            "warnings": list(self.warnings),
        }


def monitor_findings(reference: str | Path, recent: str | Path, out: str | Path | None = None) -> DriftReport:
    """Compare recent findings with those of a reference period.

    Parameters
    ----------
    reference, recent : str or Path
        Folders of findings, as written by ``cspine predict``.
    out : str or Path, optional
        Folder of a report with a page, a figure and JSON; nothing is written if omitted.

    Raises
    ------
    LabelError
        A folder holds no findings, or too few.
    OutputTakenError
        The output folder holds something else.
    DiskFullError, OutputError
        The output folder cannot be written.
    """
    reference, recent = as_path(reference), as_path(recent)
    out = None if out is None else as_path(out)
    before, after = read_predictions(reference, name="reference"), read_predictions(recent, name="recent")
    shifts = find_shifts(before, after)
    warnings = tuple(f"{each.name}: {warning}" for each in (before, after) for warning in each.warnings)
    if out is None:
        return DriftReport(shifts, None, warnings)
    _job(out, before, after).open()
    is_phantom = before.phantom_only and after.phantom_only
    page = write_sections(
        out,
        "drift",
        drift_sections(shifts, before, after),
        drift_figure(before, after, is_phantom=is_phantom),
        title="Drift of findings",
        is_phantom=is_phantom,
        markdown=False,
    )
    report = DriftReport(shifts, page, warnings)
    write_json(out / RESULT_FILE, report.to_json())
    return report


def _job(out: Path, before: Predictions, after: Predictions) -> ResumableJob:
    identity = {"kind": "drift", "reference": hash_predictions(before), "recent": hash_predictions(after)}
    return ResumableJob(out, MARKER, identity)
