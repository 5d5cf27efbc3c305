"""Many studies to a compiled data set: resumable, parallel, and never stopped by a broken study."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import pandas as pd

from cspine import __version__
from cspine.core.columns import STUDY
from cspine.core.errors import CspineError, SourceError
from cspine.core.identifiers import pseudonym, study_key
from cspine.core.parallel import Outcome, parallel_map
from cspine.core.progress import Progress, silent
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.compiled_files import image_files
from cspine.datasets.rsna2022_labels import match_labels, read_boxes, read_labels
from cspine.dicom.geometry import MAX_GAP_MM
from cspine.dicom.open_series import LoadPolicy, open_series
from cspine.dicom.study_collection import StudyCollection, StudySource
from cspine.dicom.volume import Provenance
from cspine.localization.compiler import Compiler, compile_study
from cspine.views.compiled import CompiledStudy
from cspine.views.fracture_labels import Boxed, FractureLabelSource, Segmented


@dataclass(frozen=True)
class CompileSummary:
    """What a run of `compile_studies` did; sizes in bytes, times in seconds of one process."""

    compiled: int
    resumed: int
    failed: tuple[tuple[str, str], ...]
    without_labels: int
    bytes_in: int
    bytes_out: int
    seconds_per_study: float | None

    @property
    def times_smaller(self) -> float | None:
        """Bytes of DICOM over bytes of compiled images, or None where there are none."""
        return self.bytes_in / self.bytes_out if self.bytes_out else None


@dataclass(frozen=True)
class _Task:
    """What a worker needs to compile one study."""

    source: StudySource
    store: CompiledDataset
    series_uids: frozenset[str]
    max_gap_mm: float
    compiler: Compiler
    label_source: FractureLabelSource | None


def compile_studies(
    root: StudyCollection,
    out: Path,
    compiler: Compiler,
    *,
    series_uids: Collection[str] = (),
    max_gap_mm: float = MAX_GAP_MM,
    workers: int = 1,
    progress: Progress = silent,
) -> CompileSummary:
    """Compile every study of `root` into the data set at `out`.

    A study that is already there from an earlier run of the same job is left as it is; one that failed is tried
    again. Memory is bounded by one volume per worker.

    Parameters
    ----------
    root : StudyCollection
        Of `cspine.dicom.study_collection.open_collection`.
    out : Path
        The data set's folder.
    compiler : Compiler
        How each is compiled.
    series_uids : collection of str
        Series to be read instead of the best of their studies.
    max_gap_mm : float
        The widest gap between slices that is bridged where gaps are uneven.
    workers : int
        Processes to use.
    progress : Progress
        Told how many studies are finished.

    Returns
    -------
    CompileSummary

    Raises
    ------
    LabelError
        train.csv is wrong in itself.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written; what is finished stays.
    """
    labels = read_labels(root.labels_path) if root.labels_path else None
    source = str(root.path.resolve()) + "".join(f" --series {uid}" for uid in sorted(series_uids))
    store = compiler.create_dataset(out, source=source, is_phantom=root.is_phantom)
    sources = list(root.studies)
    without_labels = 0
    if labels is not None:
        match = match_labels(labels, [source.study_instance_uid for source in sources])
        without_labels = len(match.studies_without_labels)
        sources += [StudySource(uid) for uid in match.labels_without_studies]
    records = {source.study_instance_uid: store.record(study_key(source.study_instance_uid)) for source in sources}
    open_sources = [source for source in sources if not _is_done(records[source.study_instance_uid])]
    boxes = _boxes(root)
    tasks = [
        _Task(source, store, frozenset(series_uids), max_gap_mm, compiler, _truth(root, boxes, source))
        for source in open_sources
    ]
    for outcome in parallel_map(_compile_one, tasks, workers=workers, progress=progress):
        records[outcome.item.source.study_instance_uid] = _recorded(outcome)
    store.finish(labels)
    _check_all_found(series_uids, records.values())
    return _summary(list(records.values()), len(sources) - len(open_sources), without_labels)


def _boxes(root: StudyCollection) -> dict[str, Boxed]:
    """Return the boxes of each study, where label maps of fractures do not say more."""
    if root.boxes_path is None or root.fractures_path is not None:
        return {}
    return {str(uid): Boxed.of(rows) for uid, rows in read_boxes(root.boxes_path).groupby(STUDY)}


def _truth(root: StudyCollection, boxes: dict[str, Boxed], source: StudySource) -> FractureLabelSource | None:
    """Return what tells where a study is broken, or None."""
    uid = source.study_instance_uid
    if root.fractures_path is None:
        return boxes.get(uid)
    found = next(root.fractures_path.glob(f"{escape(uid)}.nii*"), None)
    return Segmented(found) if found else None


def _check_all_found(series_uids: Collection[str], records: Iterable[dict[str, Any] | None]) -> None:
    read = {record["series_instance_uid"] for record in records if record}
    lost = sorted(set(series_uids) - read)
    if lost:
        raise SourceError(f"series {lost[0]}: was asked for but not read by any study; `cspine inspect` lists them")


def _is_done(record: dict[str, Any] | None) -> bool:
    return record is not None and record["status"] == "compiled"


def _compile_one(task: _Task) -> dict[str, Any]:
    """Compile one study in a worker; returns its record without the images' rows."""
    started = time.perf_counter()
    study = task.source.open()
    uid = task.source.study_instance_uid
    asked = next((s.series_instance_uid for s in study.series if s.series_instance_uid in task.series_uids), None)
    settings = task.store.settings
    plan = open_series(study, LoadPolicy(series_uid=asked, max_gap_mm=task.max_gap_mm))
    compiled = compile_study(plan, task.compiler, label_source=task.label_source)
    key = study_key(uid)
    files, rows = image_files(compiled.images, key, settings)
    record = {
        "study_instance_uid": uid,
        "series_instance_uid": compiled.series.series_instance_uid,
        "patient": pseudonym(study.patient_id, uid),
        "status": "compiled",
        "reason": None,
        "warnings": list(compiled.warnings),
        **_geometry(compiled),
        "bytes_out": sum(len(data) for data in files.values()),
        "seconds": time.perf_counter() - started,
        "software": __version__,
        **rows,
    }
    task.store.write_study(key, files, record)
    return {name: value for name, value in record.items() if name not in rows}


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


def _recorded(outcome: Outcome[_Task, dict[str, Any]]) -> dict[str, Any]:
    """Return a study's record; a failure is written to disk here."""
    if outcome.error is None:
        return outcome.get()
    uid = outcome.item.source.study_instance_uid
    record = {
        "study_instance_uid": uid,
        "series_instance_uid": None,
        "patient": None,
        "status": "failed",
        "reason": _sentence(outcome.error),
        "software": __version__,
    }
    outcome.item.store.write_record(study_key(uid), record)
    return record


def _sentence(error: Exception) -> str:
    """Return our own errors' sentence; of others only the kind, whose text might be personal."""
    if isinstance(error, CspineError):
        return str(error)
    return f"an unforeseen {type(error).__name__}; please report it with the kind of scanner and file"


def _summary(records: list[dict[str, Any] | None], resumed: int, without_labels: int) -> CompileSummary:
    done = [record for record in records if record is not None and _is_done(record)]
    failed = [record for record in records if record is not None and not _is_done(record)]
    seconds = pd.Series([record["seconds"] for record in done], dtype=float)
    return CompileSummary(
        compiled=len(done) - resumed,
        resumed=resumed,
        failed=tuple((record["study_instance_uid"], record["reason"]) for record in failed),
        without_labels=without_labels,
        bytes_in=sum(record["bytes_in"] for record in done),
        bytes_out=sum(record["bytes_out"] for record in done),
        seconds_per_study=float(seconds.median()) if len(seconds) else None,
    )
