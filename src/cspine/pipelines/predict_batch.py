"""Findings and reports in folders: one study in the folder itself, many in one folder each with a worklist."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from cspine import __version__
from cspine.classification.result import CaseResult
from cspine.core.errors import CspineError, InputError, OutputError
from cspine.core.files import open_run_directory, write_bytes, write_json, write_text
from cspine.core.findings import SCHEMA_VERSION, Findings
from cspine.core.identifiers import study_key
from cspine.core.parallel import parallel_map
from cspine.core.progress import Progress, silent
from cspine.core.settings import Settings, digest
from cspine.dicom.geometry import MAX_GAP_MM
from cspine.dicom.study_collection import SourceFingerprint, StudySource, open_collection
from cspine.pipelines.predict import Detector
from cspine.reports.html import write_report
from cspine.reports.images.thumbnail import thumbnail
from cspine.reports.worklist import MAX_WAIT_MIN, StudyResult, order, worklist_page, worklist_table

FINDINGS_FILE: Final = "findings.json"
REPORT_FILE: Final = "report.html"
THUMBNAIL_FILE: Final = "thumbnail.jpg"
SKIPPED_FILES_FILE: Final = "passed-over.txt"
"""Files that no study can be told of, each with the reason."""

NOT_WRITTEN_FILE: Final = "not-written.txt"
SOURCE_FILE: Final = "source.json"
"""Which files of a study were read and how, and when they came."""

DICOM_FOLDER: Final = "dicom"
WORKLIST_FILE: Final = "worklist.csv"
WORKLIST_PAGE: Final = "worklist.html"
MARKER: Final = "predict.json"

FAILED: Final = "failed"
"""The code of a study whose reading broke; it is tried again by the next run."""


class PredictSettings(Settings):
    """How studies are read, and what is written of each."""

    weights: tuple[str, ...] = Field((), description="Names or files; those that come with cspine where empty.")
    localizer: str | None = Field(None, description="A localizer's name or file; that of the weights where left out.")
    tta: bool = Field(False, description="Whether necks are looked at in a mirror too.")
    series_uid: str | None = Field(None, description="Read this series instead of the best.")
    max_gap_mm: float = Field(MAX_GAP_MM, gt=0.0, description="The widest gap between slices that is bridged.")
    dicom: bool = Field(False, description="Whether DICOM objects are written.")
    fhir: bool = Field(False, description="Whether a FHIR Bundle is written.")

    def detector(self) -> Detector:
        """Load what reads; raises WeightsError."""
        return Detector.load(*self.weights, localizer=self.localizer, tta=self.tta)


@dataclass(frozen=True)
class _Task:
    source: StudySource
    folder: Path
    settings: PredictSettings
    alone: bool
    stamp: SourceFingerprint

    @property
    def job(self) -> str:
        """What a study's answer depends on beside the weights: its files as they were found, and how they are read."""
        return digest([self.stamp.fingerprint, self.settings.series_uid, self.settings.max_gap_mm])


def predict_batch(
    path: Path,
    out: Path,
    settings: PredictSettings | None = None,
    *,
    workers: int = 1,
    max_wait_min: float | None = MAX_WAIT_MIN,
    progress: Progress = silent,
) -> list[StudyResult]:
    """Read every study at `path` and write what was found; an interrupted run goes on where it stopped.

    Parameters
    ----------
    path : Path
        One study or many.
    out : Path
        Gets ``findings.json`` and ``report.html``, and ``dicom/`` and ``fhir.json`` where they are asked for; for many
        studies these are in a folder per study, beside ``worklist.csv`` and ``worklist.html``.
    settings : PredictSettings, optional
        How, and what is written.
    workers : int
        Processes that read many studies; what is found does not depend on it.
    max_wait_min : float, optional
        As `cspine.reports.worklist.order` takes it.
    progress : Progress
        Told how many studies are done, or about one study's decoding.

    Returns
    -------
    list of StudyResult
        One per study, refused and broken ones included; of many in the worklist's order.

    Raises
    ------
    SourceError, ArchiveError
        Nothing readable is there.
    WeightsError
        The weights cannot be used.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    settings = settings or PredictSettings()
    root = open_collection(path, progress=progress)
    studies = root.studies
    detector = _detector(settings)
    identity = {
        "kind": "predict",
        "software": __version__,
        "schema": SCHEMA_VERSION,
        "layout": "one study" if len(studies) == 1 else "many studies",
        "path": str(path.resolve()),
        "weights": detector.classifier.identity.sha256,
        "localizer": detector.localizer.sha256 if detector.localizer else None,
        **settings.model_dump(mode="json", include={"tta", "dicom", "fhir"}),
    }
    open_run_directory(out, MARKER, identity, remedy="choose another --out, or delete it")
    if len(studies) == 1:
        task = _Task(studies[0], out, settings, alone=True, stamp=studies[0].stamp())
        return [_done(task) or _write(task, _examine(detector, task, progress))]
    _tell(out / SKIPPED_FILES_FILE, [f"{each.name}: {each.reason}" for each in root.skipped])
    tasks = [
        _Task(source, out / study_key(source.study_instance_uid), settings, alone=False, stamp=source.stamp())
        for source in studies
    ]
    results = _read_many(detector, tasks, workers, progress)
    rows = order(results, max_wait_min=max_wait_min)
    write_text(out / WORKLIST_FILE, worklist_table(rows).to_csv(index=False))
    page = worklist_page(rows, max_wait_min=max_wait_min, skipped=len(root.skipped))
    write_text(out / WORKLIST_PAGE, page)
    return [row.result for row in rows]


@lru_cache(maxsize=1)
def _detector(settings: PredictSettings) -> Detector:
    return settings.detector()


def _read_many(detector: Detector, tasks: Sequence[_Task], workers: int, progress: Progress) -> list[StudyResult]:
    """Return every study's result: what an earlier run wrote, or what is read and written now."""
    results, missing = [], []
    for task in tasks:
        result = _done(task)
        if result is None:
            missing.append(task)
        else:
            results.append(result)
    results.extend(
        _broken(detector, outcome.item, outcome.error) if outcome.error else outcome.get()
        for outcome in parallel_map(_read, missing, workers=workers, progress=progress)
    )
    return results


def _read(task: _Task) -> StudyResult:
    """Read one study and write what was found, in a worker."""
    return _write(task, _examine(_detector(task.settings), task, silent))


def _examine(detector: Detector, task: _Task, progress: Progress) -> CaseResult:
    chosen = task.settings
    return detector.predict_case(
        task.source, series_uid=chosen.series_uid, max_gap_mm=chosen.max_gap_mm, progress=progress
    )


def _write(task: _Task, case_result: CaseResult) -> StudyResult:
    """Write one study's results, its findings last: they say that it is done."""
    folder, settings, lacking = task.folder, task.settings, []
    picture = None if task.alone else thumbnail(case_result)
    if picture is not None:
        write_bytes(folder / THUMBNAIL_FILE, picture)
    writers = {
        "no DICOM objects": _dicom_writer() if settings.dicom and case_result.findings.not_assessable is None else None,
        "no FHIR": _fhir_writer() if settings.fhir else None,
    }
    for what, writer in writers.items():
        try:
            if writer is not None:
                writer(case_result, folder)
        except OutputError:
            raise
        except InputError as error:
            lacking.append(f"{what}: {error}")
        except Exception as error:  # noqa: BLE001 - what is written beside an answer must not cost the answer
            lacking.append(f"{what}: writing it broke ({type(error).__name__}); report it")
    _tell(folder / NOT_WRITTEN_FILE, lacking)
    write_json(folder / SOURCE_FILE, {"job": task.job, "arrived": _arrived(task)})
    write_examination(case_result, folder)
    return _result(task, case_result.findings)


def _tell(path: Path, handle_errors: Sequence[str]) -> None:
    """Write sentences, one to a line; where there are none, take away what an earlier run told."""
    if handle_errors:
        write_text(path, "\n".join(handle_errors) + "\n")
    else:
        path.unlink(missing_ok=True)


def write_examination(case_result: CaseResult, folder: Path) -> None:
    """Write one study's ``report.html`` and ``findings.json``; raises DiskFullError or OutputError."""
    write_report(case_result, folder / REPORT_FILE)
    write_text(folder / FINDINGS_FILE, case_result.findings.model_dump_json(indent=2) + "\n")


Writer = Callable[[CaseResult, Path], object]


def _dicom_writer() -> Writer:
    from cspine.reports.dicom.objects import write_dicom  # noqa: PLC0415 - only who asks for it pays for it

    return lambda case_result, folder: write_dicom(case_result, folder / DICOM_FOLDER)


def _fhir_writer() -> Writer:
    from cspine.reports.fhir import FHIR_FILE, write_fhir  # noqa: PLC0415 - only who asks for it pays for it

    return lambda case_result, folder: write_fhir(case_result, folder / FHIR_FILE)


def _done(task: _Task) -> StudyResult | None:
    """Return what an earlier run wrote of a study; None where it did not write all, or would read otherwise."""
    try:
        findings = Findings.model_validate_json((task.folder / FINDINGS_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    result = _result(task, findings)
    return None if result.not_written or _seen(task).get("job") != task.job else result


def _seen(task: _Task) -> dict[str, Any]:
    """Return what was read of a study, and when it had come."""
    try:
        found: dict[str, Any] = json.loads((task.folder / SOURCE_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _arrived(task: _Task) -> float:
    """Return when a study came: when its newest file was written, never later than it was first seen."""
    now = time.time()
    return min(float(_seen(task).get("arrived", now)), task.stamp.newest or now, now)


def _result(task: _Task, findings: Findings) -> StudyResult:
    folder, lacking = task.folder, task.folder / NOT_WRITTEN_FILE
    return StudyResult(
        findings,
        "" if task.alone else folder.name,
        _arrived(task),
        thumbnail=(folder / THUMBNAIL_FILE).is_file(),
        not_written=tuple(lacking.read_text(encoding="utf-8").splitlines()) if lacking.is_file() else (),
    )


def _broken(detector: Detector, task: _Task, error: Exception) -> StudyResult:
    """Return the result of a study whose reading broke; it has no findings on the disk, so the next run tries again."""
    told = str(error) if isinstance(error, CspineError) else f"reading it broke ({type(error).__name__})"
    findings = detector.refusal(task.source.study_instance_uid, FAILED, f"{told}; run again, and report it if it stays")
    return StudyResult(findings, "", _arrived(task))


def any_incomplete(results: Sequence[StudyResult]) -> bool:
    """Tell whether a study has no answer, or something that was asked for could not be written."""
    return any(result.findings.not_assessable is not None or result.not_written for result in results)
