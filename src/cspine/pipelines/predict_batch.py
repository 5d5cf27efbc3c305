"""Predict a batch: findings and reports of one study in a folder, or of many in a folder each with a worklist."""

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cspine
from cspine.core.errors import CspineError, InputError, memory_errors
from cspine.core.execution.execution import Execution, Workers
from cspine.core.execution.parallel import WorkerStartError, parallel_map
from cspine.core.execution.shard_records import ShardRecord, remove_records
from cspine.core.extras import require_extra
from cspine.core.files import write_text
from cspine.core.findings import SCHEMA_VERSION
from cspine.core.identifiers import study_key
from cspine.core.jobs import ResumableJob
from cspine.core.not_assessable import FAILED
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path, recorded_name
from cspine.dicom.study_collection import StudySource, open_collection
from cspine.localization.segmented.study_files import SegmentationFiles
from cspine.models.operating_points import OF_WEIGHTS, site_operating_points
from cspine.models.providers import CPU, ProviderName, fixed_provider, provider_of, requested_provider
from cspine.pipelines.case_folder import FINDINGS_FILE, CaseFolder, PredictSettings, write_lines
from cspine.pipelines.predict import Detector
from cspine.reports.worklist import MAX_WAIT_MIN, StudyResult, prioritize, worklist_csv, worklist_page

if TYPE_CHECKING:
    from cspine.reports.dicom.superseded import EarlierObjects

__all__ = ["PredictSettings", "is_complete", "predict_batch", "write_worklist"]

SKIPPED_FILES_FILE: Final = "skipped-files.txt"
"""Files that belong to no study, each with the reason."""

WORKLIST_FILE: Final = "worklist.csv"
WORKLIST_PAGE: Final = "worklist.html"
MARKER: Final = "predict.json"

_LOGGER: Final = logging.getLogger(__name__)


def predict_batch(
    path: str | Path,
    out: str | Path,
    settings: PredictSettings = PredictSettings(),  # noqa: B008 - immutable
    *,
    workers: Workers = 1,
    max_wait_min: float | None = MAX_WAIT_MIN,
    earlier: Sequence[Path] = (),
    progress: Progress = silent,
) -> list[StudyResult]:
    """Predict every study at a path and write the results; an interrupted run is resumed by the same call.

    Parameters
    ----------
    path : str or Path
        One study or many: a folder, a zip, a DICOMDIR or a file.
    out : str or Path
        Receives ``findings.json`` and ``report.html``, and ``dicom/`` and ``fhir.json`` on request. Of many studies
        each has a folder of its own, beside ``worklist.csv`` and ``worklist.html``.
    settings : PredictSettings
        How studies are predicted, and what is written of each.
    workers : int or Execution
        Number of processes for many studies, or how these are spread. A shard predicts its studies and writes no
        worklist; `cspine.pipelines.cluster.merge.merge_shards` writes it. Processes share the processors, and ONNX
        Runtime's sums depend on its number of threads: where that is not fixed by ``OMP_NUM_THREADS``, probabilities
        differ by about 1e-6 from those of one process.
    max_wait_min : float, optional
        Studies that have waited for longer, in minutes, come first in the worklist; None for never.
    earlier : sequence of Path
        Folders with earlier DICOM results beside that of the settings.
    progress : Progress
        Called with the number of studies done, or of one study with the number of slices decoded.

    Returns
    -------
    list of StudyResult
        One per study, in the worklist's order; studies that are not assessable or that crashed are included. Of a
        shard, those of its studies. Findings of many studies have no saliency maps, which would fill the memory;
        ``findings.json`` has them.

    Raises
    ------
    SourceError, ArchiveError
        There is nothing readable at `path`; or the segmentation does not exist, or is one for several studies.
    InputError
        There is a segmentation, but the weights do not localize.
    MissingExtraError
        A FHIR bundle is requested and the extra ``fhir`` is not installed.
    WeightsError
        The weights cannot be used, or the operating points are for others.
    LabelError
        The file holds no operating points.
    OutputTakenError, DiskFullError, OutputError
        As by `cspine.core.jobs.ResumableJob.open`.
    """
    execution = Execution.of(workers)
    path, out, settings = execution.locate(path), execution.locate(out), _for_workers(settings, execution)
    if settings.fhir:
        require_extra("fhir")  # before the first study is read
    collection = open_collection(path, progress=progress)
    if settings.vertebrae:
        SegmentationFiles.open(settings.vertebrae, settings.vertebrae_labels, n_studies=len(collection.studies))
    detector = _detector(settings)
    runs_on = detector.classifier.identity.execution_provider or CPU
    provider = fixed_provider(requested_provider(settings.provider), runs_on)
    settings = settings.model_copy(update={"provider": provider})  # workers may have other defaults
    if settings.vertebrae and detector.localizer is None:
        raise InputError(f"{settings.vertebrae}: the weights do not localize vertebrae; leave out --vertebrae")
    is_single = len(collection.studies) == 1
    _job(path, out, settings, detector, is_single=is_single).open()
    execution = execution.of_studies(len(collection.studies))
    for_merge = {"is_single": is_single, "skipped": len(collection.skipped), "max_wait_min": max_wait_min}
    uids = [source.study_instance_uid for source in collection.studies]
    shard = ShardRecord.begin(out, execution.shard, uids, for_merge)
    known = _read_earlier(settings, earlier)
    cases = [
        CaseFolder(
            source,
            out if is_single else out / study_key(source.study_instance_uid),
            settings,
            source.fingerprint(),
            is_single=is_single,
            earlier=known.get(_instance_uid(source)),
        )
        for source in execution.select(collection.studies, lambda source: source.study_instance_uid)
    ]
    if is_single:
        results = [case.read() or _predict(detector, case, progress) for case in cases]
    else:
        write_lines(out / SKIPPED_FILES_FILE, [f"{file.name}: {file.reason}" for file in collection.skipped])
        results = _predict_many(detector, cases, execution, progress)
    if shard is not None:
        keys = {case.source.study_instance_uid: case.key for case in cases}
        shard.finish(out, _crashes(results, keys))
        return results
    if not is_single:
        results = write_worklist(out, results, max_wait_min=max_wait_min, skipped=len(collection.skipped))
    remove_records(out)
    return results


def _for_workers(settings: PredictSettings, execution: Execution) -> PredictSettings:
    """Return settings that mean the same in all processes: the site's default, and paths as all of them see them."""
    points = settings.operating_points or site_operating_points()
    return settings.model_copy(
        update={
            "weights": tuple(map(execution.locate_name, settings.weights)),
            "localizer": settings.localizer and execution.locate_name(settings.localizer),
            "operating_points": points if points == OF_WEIGHTS else str(execution.locate(points)),
            "vertebrae": settings.vertebrae and str(execution.locate(settings.vertebrae)),
            "supersedes": settings.supersedes and str(execution.locate(settings.supersedes)),
        }
    )


def write_worklist(
    out: Path, results: Sequence[StudyResult], *, max_wait_min: float | None, skipped: int
) -> list[StudyResult]:
    """Write ``worklist.csv`` and ``worklist.html``, and return the results in their order.

    Parameters
    ----------
    out : Path
        Folder of the prediction.
    results : sequence of StudyResult
        One per study, in any order.
    max_wait_min : float or None
        As of `predict_batch`.
    skipped : int
        Number of files that belong to no study.
    """
    rows = prioritize(results, max_wait_min=max_wait_min)
    write_text(out / WORKLIST_FILE, worklist_csv(rows))
    write_text(out / WORKLIST_PAGE, worklist_page(rows, max_wait_min=max_wait_min, skipped=skipped))
    return [row.result for row in rows]


def is_complete(results: Sequence[StudyResult], *, strict: bool = False) -> bool:
    """Return whether every study has an answer, and every requested output was written.

    Parameters
    ----------
    results : sequence of StudyResult
        What `predict_batch` returned.
    strict : bool
        Whether a study that is not assessable counts as one without an answer. That it is not assessable is an answer;
        that its prediction crashed is none.
    """
    return not any(
        result.failed_outputs or ((reason := result.findings.not_assessable) and (strict or reason.code == FAILED))
        for result in results
    )


def _crashes(results: Sequence[StudyResult], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return, for the merge, the results of studies whose prediction crashed: of these nothing is written.

    The key tells what an earlier run may have left in the study's folder from what a later one wrote there.
    """
    crashed, failed = [], []
    for result in results:
        findings = result.findings
        if (reason := findings.not_assessable) and reason.code == FAILED:
            uid = findings.study_instance_uid
            failed.append([uid, reason.reason])
            content = findings.model_dump(mode="json")
            crashed.append({"study": uid, "job": keys[uid], "findings": content, "arrived": result.arrival_time_s})
    return {"failed": failed, "crashed": crashed}


def _job(path: Path, out: Path, settings: PredictSettings, detector: Detector, *, is_single: bool) -> ResumableJob:
    identity = {
        "kind": "predict",
        "software": cspine.__version__.partition("+")[0],  # a commit more is no other job
        "schema": SCHEMA_VERSION,
        "layout": "one study" if is_single else "many studies",
        "path": recorded_name(path),
        **_identity(detector),
        **settings.model_dump(mode="json", include={"tta", "dicom", "fhir"}),
        **({"segmentation_type": settings.segmentation_type} if settings.dicom else {}),
        **({"fhir_release": settings.fhir_release} if settings.fhir else {}),
        **(files.job if (files := settings.segmentation_files) else {}),
    }
    return ResumableJob(out, MARKER, identity)


def _read_earlier(settings: PredictSettings, folders: Sequence[Path]) -> "dict[str, EarlierObjects]":
    """Read the earlier DICOM results once for all studies; return those of each, by StudyInstanceUID."""
    folders = (*([as_path(settings.supersedes)] if settings.supersedes else []), *folders)
    if not folders or not settings.dicom:
        return {}
    from cspine.reports.dicom.superseded import EarlierObjects  # noqa: PLC0415 - only on request

    return EarlierObjects.read(folders)


def _instance_uid(source: StudySource) -> str:
    """Return the StudyInstanceUID of a study, without the number that distinguishes a further patient's."""
    return source.study.study_instance_uid if source.study else source.study_instance_uid


def _operating_points_of(detector: Detector) -> dict[str, str]:
    """Return the hash of the operating points' file; nothing where those of the weights are used."""
    calibration = detector.classifier.calibration
    sha256 = calibration.points_sha256 if calibration is not None else None
    return {"operating_points": sha256} if sha256 is not None else {}


def _detector(settings: PredictSettings) -> Detector:
    """Return the detector, which is loaded once in each process."""
    provider = requested_provider(settings.provider)
    return _load_detector(settings.weights, settings.localizer, settings.operating_points, provider, tta=settings.tta)


@lru_cache(maxsize=1)
def _load_detector(
    weights: tuple[str, ...],
    localizer: str | None,
    operating_points: str | None,
    provider: ProviderName,
    *,
    tta: bool,
) -> Detector:
    return Detector.load(*weights, localizer=localizer, tta=tta, operating_points=operating_points, provider=provider)


def _predict_many(
    detector: Detector, cases: Sequence[CaseFolder], execution: Execution, progress: Progress
) -> list[StudyResult]:
    """Return every study's result: what an earlier run wrote, or what is predicted and written now."""
    recorded = {case.folder: case.read() for case in cases}
    results = [result for result in recorded.values() if result is not None]
    _LOGGER.info("%d studies, %d of them predicted by an earlier run", len(cases), len(results))
    outcomes = parallel_map(
        partial(_predict_in_worker, expected=_identity(detector)),
        cases,
        is_done=lambda case: recorded[case.folder] is not None,
        written=lambda case: case.folder / FINDINGS_FILE,
        workers=execution,
        progress=progress,
    )
    results.extend(
        _failure_result(detector, outcome.item, outcome.error) if outcome.error else outcome.get()
        for outcome in outcomes
    )
    return results


def _predict_in_worker(case: CaseFolder, expected: dict[str, str | None]) -> StudyResult:
    """Predict a study in a worker, which must have the weights and the provider of the process that asks for it."""
    detector = _detector(case.settings)
    if _identity(detector) != expected:
        raise WorkerStartError(
            "a worker has other weights or another execution provider under the same name; install the same on all "
            "machines"
        )
    return _predict(detector, case, silent)


def _identity(detector: Detector) -> dict[str, str | None]:
    """Return what tells a detector from others."""
    identity = detector.classifier.identity
    return {
        "weights": identity.sha256,
        "localizer": detector.localizer.sha256 if detector.localizer else None,
        **_operating_points_of(detector),
        **provider_of(identity),
    }


def _predict(detector: Detector, case: CaseFolder, progress: Progress) -> StudyResult:
    settings = case.settings
    with memory_errors(f"study {case.source.study_instance_uid}"):
        result = detector.predict_case(
            case.source,
            series_uid=settings.series_uid,
            max_gap_mm=settings.max_gap_mm,
            vertebrae=settings.segmentation_files,
            progress=progress,
        )
        return case.write(result)


def _failure_result(detector: Detector, case: CaseFolder, error: Exception) -> StudyResult:
    """Return the result of a study whose prediction crashed; nothing is written, so that the next run tries again."""
    _LOGGER.warning("the prediction of a study failed (%s)", type(error).__name__)
    reason = str(error) if isinstance(error, CspineError) else f"the prediction failed ({type(error).__name__})"
    findings = detector.not_assessable(
        case.source.study_instance_uid, FAILED, f"{reason}; run again, and report it if it persists"
    )
    return StudyResult(findings, "", case.arrival_time_s())
