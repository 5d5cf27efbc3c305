"""Compile: many studies to a data set of small images; resumable, parallel, and not stopped by a damaged study."""

import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from cspine import __version__
from cspine.core.columns import STUDY
from cspine.core.errors import OUT_OF_MEMORY, CspineError, SourceError, is_memory_error
from cspine.core.execution.execution import Execution, Workers
from cspine.core.execution.parallel import Outcome, parallel_map
from cspine.core.execution.shard_records import ShardRecord, remove_records
from cspine.core.identifiers import pseudonym, study_key
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import recorded_name
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.compiled_files import image_files
from cspine.datasets.rsna2022_labels import match_labels, read_boxes, read_labels
from cspine.dicom.limits import MAX_GAP_MM
from cspine.dicom.loading import LoadPolicy, open_series, read_first
from cspine.dicom.study_collection import StudyCollection, StudySource, open_collection
from cspine.dicom.volume import Provenance
from cspine.localization.compiler import Compiler, compile_study
from cspine.localization.loading import load_localizer
from cspine.localization.localizer import fallback_warning
from cspine.localization.segmented.study_files import SegmentationFiles
from cspine.localization.series_choice import choose_series
from cspine.models.memory import freed_memory_released
from cspine.views.compiled import CompiledStudy
from cspine.views.fracture_labels import BoxLabelSource, FractureLabelSource, MaskLabelSource
from cspine.views.settings import CompileSettings

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompileSummary:
    """What a compile run did.

    Attributes
    ----------
    compiled, resumed : int
        Studies compiled by this run, and by earlier ones.
    failed : tuple of (str, str)
        StudyInstanceUID and reason of every study that could not be compiled.
    without_labels : int
        Studies that have no row in the labels.
    bytes_in, bytes_out : int
        Size of the files read and of the images written.
    seconds_per_study : float or None
        Median time of one process in this run; None where this run compiled nothing.
    skipped : tuple of (str, str)
        Name and reason of every file that was left out.
    """

    compiled: int
    resumed: int
    failed: tuple[tuple[str, str], ...]
    without_labels: int
    bytes_in: int
    bytes_out: int
    seconds_per_study: float | None
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def compression_ratio(self) -> float | None:
        """Bytes read over bytes written; None where nothing was written."""
        return self.bytes_in / self.bytes_out if self.bytes_out else None


@dataclass(frozen=True)
class _Task:
    """What a worker needs to compile one study."""

    source: StudySource
    dataset: CompiledDataset
    series_uids: frozenset[str]
    max_gap_mm: float
    compiler: Compiler
    label_source: FractureLabelSource | None

    @property
    def key(self) -> str:
        return study_key(self.source.study_instance_uid)


def compile_dataset(  # noqa: PLR0913 - the options of `cspine compile`
    path: str | Path,
    out: str | Path,
    settings: CompileSettings = CompileSettings(),  # noqa: B008 - immutable
    *,
    localizer: str | None = None,
    vertebrae: str | Path | None = None,
    vertebrae_labels: str = "auto",
    series_uids: Collection[str] = (),
    max_gap_mm: float = MAX_GAP_MM,
    workers: Workers = 1,
    progress: Progress = silent,
) -> CompileSummary:
    """Compile every study at a path to small images: JPEGs, and Parquet tables with the labels.

    Parameters
    ----------
    path : str or Path
        The challenge's folder (with ``train_images/``), or any folder, zip or file of studies.
    out : str or Path
        The data set's folder.
    settings : CompileSettings
        Which images are made.
    localizer : str, optional
        Name of registered weights or ONNX file of a localizer; the embedded one where omitted. Not used by images that
        are not aligned to the spine.
    vertebrae, vertebrae_labels : str or Path, str
        As of `cspine.localization.segmented.study_files.SegmentationFiles.open`: segmentations take the localizer's
        place.
    series_uids, max_gap_mm, workers, progress
        As of `compile_collection`.

    Returns
    -------
    CompileSummary

    Raises
    ------
    SourceError, ArchiveError
        There is nothing readable at `path`; or the segmentation does not exist, or is one for several studies.
    InputError
        There are segmentations, but images are not aligned to the spine.
    WeightsError
        The localizer's weights cannot be used.
    LabelError, OutputTakenError, DiskFullError, OutputError
        As of `compile_collection`.
    """
    execution = Execution.of(workers)
    collection = open_collection(execution.locate(path), progress=progress)
    files = None
    if vertebrae is not None:
        files = SegmentationFiles.open(execution.locate(vertebrae), vertebrae_labels, n_studies=len(collection.studies))
    needs_localizer = settings.spine_aligned and files is None
    network = load_localizer(localizer, threads=1) if needs_localizer else None  # sums depend on their number
    compiler = Compiler(settings, network, segmentations=files)
    return compile_collection(
        collection,
        execution.locate(out),
        compiler,
        series_uids=series_uids,
        max_gap_mm=max_gap_mm,
        workers=workers,
        progress=progress,
    )


def compile_collection(
    collection: StudyCollection,
    out: Path,
    compiler: Compiler,
    *,
    series_uids: Collection[str] = (),
    max_gap_mm: float = MAX_GAP_MM,
    workers: Workers = 1,
    progress: Progress = silent,
) -> CompileSummary:
    """Compile every study of a collection into a data set.

    A study that an earlier run of the same job compiled is left as it is; one that failed is tried again. Memory is
    bounded by one volume per process.

    Parameters
    ----------
    collection : StudyCollection
        Studies that `cspine.dicom.study_collection.open_collection` returned.
    out : Path
        The data set's folder.
    compiler : Compiler
        Which images are made, and the localizer.
    series_uids : collection of str
        SeriesInstanceUIDs to be read instead of the best series of their studies.
    max_gap_mm : float
        Largest gap between slices that is interpolated, in mm, where gaps are uneven.
    workers : int or Execution
        Number of processes that work in parallel, or how the studies are spread. A shard compiles its studies and
        writes no tables; `cspine.pipelines.merge.merge_shards` writes them.
    progress : Progress
        Called with the number of studies finished.

    Returns
    -------
    CompileSummary

    Raises
    ------
    LabelError
        The labels contradict themselves.
    SourceError
        A requested series was read by no study.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written; studies that are finished stay.
    """
    labels = read_labels(collection.labels_path) if collection.labels_path else None
    origin = recorded_name(collection.path) + "".join(f" --series {uid}" for uid in sorted(series_uids))
    if compiler.segmentations is not None:
        origin += "".join(f" --{name.replace('_', '-')} {value}" for name, value in compiler.segmentations.job.items())
    dataset = compiler.create_dataset(out, source=origin, is_phantom=collection.is_phantom)
    sources, without_labels = _sources(collection, labels)
    execution = Execution.of(workers).of_studies(len(sources))
    labels_path = str(collection.labels_path.resolve()) if collection.labels_path else None
    for_merge = {"labels": labels_path, "series_uids": sorted(series_uids)}
    shard = ShardRecord.begin(out, execution.shard, map(_uid_of, sources), for_merge)
    label_sources = _label_sources(collection)
    tasks = [
        _Task(source, dataset, frozenset(series_uids), max_gap_mm, compiler, label_sources.get(_uid_of(source)))
        for source in execution.select(sources, _uid_of)
    ]
    heads = dataset.read_heads(labels, None if shard is None else [task.key for task in tasks])
    records = {task.key: heads.records.get(task.key) for task in tasks}
    n_resumed = sum(_is_done(record) for record in records.values())
    _LOGGER.info("%d studies, %d of them compiled by an earlier run", len(tasks), n_resumed)
    outcomes = parallel_map(
        _compile_one,
        tasks,
        is_done=lambda task: _is_done(records[task.key]),
        written=lambda task: task.dataset.record_path(task.key),
        workers=execution,
        progress=progress,
    )
    is_changed = False
    for outcome in outcomes:
        records[outcome.item.key], is_changed = _record_of(outcome), True
    if shard is None:
        if is_changed or not dataset.is_finished(heads):
            dataset.finish(labels)
        remove_records(out)
        check_series_read(series_uids, [record["series_instance_uid"] for record in records.values() if record])
    else:
        shard.finish(out)
    skipped = tuple((file.name, file.reason) for file in collection.skipped)
    return replace(_summary(list(records.values()), n_resumed, without_labels), skipped=skipped)


def _sources(collection: StudyCollection, labels: pd.DataFrame | None) -> tuple[list[StudySource], int]:
    """Return the studies to compile, those that have labels but no images included, and how many have no labels."""
    sources = list(collection.studies)
    if labels is None:
        return sources, 0
    match = match_labels(labels, [source.study_instance_uid for source in sources])
    sources += [StudySource(uid) for uid in match.labels_without_studies]
    return sources, len(match.studies_without_labels)


def _uid_of(source: StudySource) -> str:
    return source.study_instance_uid


def _label_sources(collection: StudyCollection) -> dict[str, FractureLabelSource]:
    """Return what gives the fractured voxels of each study: masks where they are there, which say more than boxes."""
    if collection.fractures_path is not None:
        masks = sorted(collection.fractures_path.glob("*.nii*"), reverse=True)
        return {path.name.partition(".nii")[0]: MaskLabelSource(path) for path in masks}
    if collection.boxes_path is None:
        return {}
    return {
        str(uid): BoxLabelSource.of(str(uid), rows) for uid, rows in read_boxes(collection.boxes_path).groupby(STUDY)
    }


def check_series_read(requested: Collection[str], read: Iterable[str | None]) -> None:
    """Check that every requested series was read by a study; raises SourceError where one was not."""
    missing = sorted(set(requested) - set(read))
    if missing:
        raise SourceError(f"series {missing[0]}: was requested but read by no study; `cspine inspect` lists the series")


def _is_done(record: dict[str, Any] | None) -> bool:
    return record is not None and record["status"] == "compiled"


@freed_memory_released()
def _compile_one(task: _Task) -> dict[str, Any]:
    """Compile one study in a worker; returns its record without the rows of its images."""
    started = time.perf_counter()
    study = task.source.open()
    uid = task.source.study_instance_uid
    series_uid = next((s.series_instance_uid for s in study.series if s.series_instance_uid in task.series_uids), None)
    warnings = study.warnings
    compiler = task.compiler.for_study(uid, study.study_instance_uid)
    try:
        plan = open_series(study, LoadPolicy(series_uid=series_uid, max_gap_mm=task.max_gap_mm))
        plan = choose_series(plan, compiler.localizer)
        warnings = plan.warnings
        _, compiled = read_first(plan, lambda plan: compile_study(plan, compiler, label_source=task.label_source))
    except CspineError as error:
        for warning in warnings:  # the record of a study that fails has them, too
            error.add_note(warning)
        raise
    files, rows = image_files(compiled.images, task.key, task.dataset.settings)
    record = {
        "study_instance_uid": uid,
        "series_instance_uid": compiled.series.series_instance_uid,
        "patient": task.source.patient or pseudonym(study.patient_id, uid),
        "status": "compiled",
        "reason": None,
        "warnings": [*compiled.warnings, *fallback_warning(compiler.localizer)],
        "not_found": " ".join(compiled.images.spine.not_found) if compiled.images.spine else None,
        "vertebrae_sha256": compiler.localizer.sha256 if compiler.segmentations and compiler.localizer else None,
        **_geometry(compiled),
        "bytes_out": sum(len(data) for data in files.values()),
        "software": __version__,
        **rows,
    }
    task.dataset.write_study(task.key, files, record)
    seconds = time.perf_counter() - started  # not in the record: the same studies give the same files
    return {**{name: value for name, value in record.items() if name not in rows}, "seconds": seconds}


def _geometry(compiled: CompiledStudy) -> dict[str, Any]:
    stack, first = compiled.stack, compiled.series.headers[0]
    provenance: Provenance = compiled.provenance
    return {
        "slices": len(stack.order),
        "rows": first.rows,
        "columns": first.columns,
        "pixel_spacing_mm": stack.pixel_spacing_mm[0],
        "slice_spacing_mm": stack.spacing_mm,
        "slice_thickness_mm": first.slice_thickness_mm,
        "length_mm": float(stack.along_mm[-1] + stack.spacing_mm),
        "tilt_deg": stack.tilt_deg,
        "kernel": first.kernel,
        "transfer_syntax": ", ".join(provenance.transfer_syntaxes),
        "spine_support": compiled.images.support,
        "bytes_in": provenance.bytes_read,
    }


def _record_of(outcome: Outcome[_Task, dict[str, Any]]) -> dict[str, Any]:
    """Return a study's record; that of a failure is written here."""
    if outcome.error is None:
        return outcome.get()
    uid = outcome.item.source.study_instance_uid
    record = {
        "study_instance_uid": uid,
        "series_instance_uid": None,
        "patient": None,
        "status": "failed",
        "reason": error_sentence(outcome.error),
        "warnings": getattr(outcome.error, "__notes__", []),
        "software": __version__,
    }
    outcome.item.dataset.write_record(study_key(uid), record)
    return record


def error_sentence(error: Exception) -> str:
    """Return the message of our own errors; of others only the type, since their text may be personal."""
    if is_memory_error(error):
        return OUT_OF_MEMORY
    if isinstance(error, CspineError):
        return str(error)
    return f"unexpected {type(error).__name__}; please report it with the scanner model and the type of file"


def _summary(records: list[dict[str, Any] | None], resumed: int, without_labels: int) -> CompileSummary:
    done = [record for record in records if record is not None and _is_done(record)]
    failed = [record for record in records if record is not None and not _is_done(record)]
    seconds = pd.Series([record["seconds"] for record in done if "seconds" in record], dtype=float)
    return CompileSummary(
        compiled=len(done) - resumed,
        resumed=resumed,
        failed=tuple((record["study_instance_uid"], record["reason"]) for record in failed),
        without_labels=without_labels,
        bytes_in=sum(record["bytes_in"] for record in done),
        bytes_out=sum(record["bytes_out"] for record in done),
        seconds_per_study=float(seconds.median()) if len(seconds) else None,
    )
