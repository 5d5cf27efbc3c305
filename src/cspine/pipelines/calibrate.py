"""Calibrate: operating points and recalibration of a site, from its own scans or from findings of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field

from cspine.core.columns import STUDY
from cspine.core.files import write_json
from cspine.core.findings import Findings
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.settings import Settings
from cspine.core.storage.locations import as_path
from cspine.datasets.rsna2022_labels import read_table, refuse_rows
from cspine.evaluation.findings_files import holds_findings, read_findings_files
from cspine.evaluation.site_calibration import SiteCalibration, calibrate_site
from cspine.evaluation.site_scans import SiteScans, site_scans
from cspine.metrics.bootstrap import N_RESAMPLES
from cspine.models.operating_points import OF_WEIGHTS
from cspine.pipelines.case_folder import PredictSettings
from cspine.pipelines.predict_batch import predict_batch
from cspine.reports.evaluation.calibration_report import calibration_figure, calibration_sections
from cspine.reports.evaluation.sections_page import write_sections

MARKER: Final = "calibrate.json"
OPERATING_POINTS_FILE: Final = "operating-points.json"
RESULT_FILE: Final = "calibration.json"

PREDICTED_FOLDER: Final = "predicted"
"""Folder of the findings of scans that were predicted for the calibration."""

_PATIENT: Final = "patient"


class CalibrateSettings(Settings):
    """What is known of a site's scans, and how those without findings are predicted."""

    is_intact: bool = Field(description="Whether all scans are of patients without a fracture.")
    prevalence: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="Fraction of fractured patients at the site; with intact scans, that of the weights where null.",
    )
    patients: Path | None = Field(
        None, description="CSV with the columns StudyInstanceUID and patient; each study is a patient's where null."
    )
    weights: tuple[str, ...] = Field((), description="Weights for scans without findings; the default where empty.")
    localizer: str | None = Field(None, description="Localizer for scans without findings.")
    tta: bool = Field(False, description="Whether test-time augmentation is used for scans without findings.")
    n_resamples: int = Field(N_RESAMPLES, ge=1, description="Number of bootstrap resamples of patients.")


@dataclass(frozen=True)
class CalibrationReport:
    """The calibration of a site, and where it was written.

    Attributes
    ----------
    result : SiteCalibration
        Operating points and recalibration with their intervals.
    points : Path
        The file that ``predict --operating-points`` takes.
    page : Path
        The report.
    """

    result: SiteCalibration
    points: Path
    page: Path


def calibrate(
    path: str | Path, out: str | Path, settings: CalibrateSettings, *, workers: int = 1, progress: Progress = silent
) -> CalibrationReport:
    """Choose operating points and fit a recalibration on scans of a site.

    Parameters
    ----------
    path : str or Path
        Findings of the scans, at the operating points of the weights; or the scans, which are predicted first.
    out : str or Path
        Receives ``operating-points.json``, a report, and the findings of scans that were predicted.
    settings : CalibrateSettings
        What is known of the scans.
    workers : int
        Number of processes for the prediction of scans.
    progress : Progress
        Called with the number of scans predicted.

    Raises
    ------
    LabelError
        There are too few scans, or their findings cannot be used together.
    SourceError, ArchiveError
        There is nothing readable at `path`.
    WeightsError
        The weights cannot be used.
    OutputTakenError, DiskFullError, OutputError
        As by `cspine.core.jobs.ResumableJob.open`.
    """
    path, out = as_path(path), as_path(out)
    identity = {"kind": "calibration", "path": str(path.resolve()), **settings.model_dump(mode="json")}
    is_predicted = holds_findings(path)
    scans = _scans(path, read_findings_files(path).findings, settings) if is_predicted else None
    result = _calibrate(scans, settings) if scans else None  # what is wrong is reported before anything is written
    ResumableJob(out, MARKER, identity).open()
    if scans is None or result is None:
        scans = _scans(path, _predict(path, out / PREDICTED_FOLDER, settings, workers, progress), settings)
        result = _calibrate(scans, settings)
    page = write_sections(
        out,
        "calibration",
        calibration_sections(result),
        calibration_figure(scans, result),
        title="Operating points of a site",
        is_phantom=False,
        markdown=False,
    )
    write_json(out / RESULT_FILE, result.to_json())
    points = out / OPERATING_POINTS_FILE
    result.points.write(points)
    return CalibrationReport(result, points, page)


def _calibrate(scans: SiteScans, settings: CalibrateSettings) -> SiteCalibration:
    return calibrate_site(
        scans, prevalence=settings.prevalence, is_intact=settings.is_intact, n_resamples=settings.n_resamples
    )


def _predict(
    path: Path, out: Path, settings: CalibrateSettings, workers: int, progress: Progress
) -> tuple[Findings, ...]:
    """Predict scans at the operating points of the weights; an interrupted run is resumed."""
    predict_settings = PredictSettings(
        weights=settings.weights, localizer=settings.localizer, tta=settings.tta, operating_points=OF_WEIGHTS
    )
    results = predict_batch(path, out, predict_settings, workers=workers, progress=progress)
    return tuple(result.findings for result in results)


def _scans(path: Path, findings: Sequence[Findings], settings: CalibrateSettings) -> SiteScans:
    return site_scans(str(path), findings, _read_patients(settings.patients) if settings.patients else None)


def _read_patients(path: Path) -> dict[str, str]:
    """Return the patient of each study."""
    table = read_table(path, (STUDY, _PATIENT))
    refuse_rows(path, table, table[STUDY].duplicated(), "repeat an earlier study; keep one row per study")
    refuse_rows(path, table, table[_PATIENT].isna(), "lack a patient; fill it in")
    return dict(zip(table[STUDY], table[_PATIENT], strict=True))
