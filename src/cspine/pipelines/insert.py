"""Insert: intact scans in, a data set of virtual fractures and shams with exact truth out."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from cspine.core.errors import InputError, SourceError
from cspine.core.execution.execution import Execution, Workers
from cspine.core.execution.parallel import parallel_map
from cspine.core.execution.shard_records import ShardRecord, remove_records
from cspine.core.files import complete_files, read_json, write_json
from cspine.core.identifiers import pseudonym
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import recorded_name
from cspine.dicom.limits import MAX_SLICE_SPACING_MM
from cspine.dicom.loading import LoadPlan, LoadPolicy, open_series, read_first
from cspine.dicom.study_collection import StudySource, open_collection
from cspine.insertion.identity import VirtualIdentity
from cspine.insertion.scan import IntactScan
from cspine.insertion.settings import FORMAT, InsertionSettings
from cspine.insertion.study import Kind, render_virtual_study
from cspine.localization.compiler import VolumeLocalizer
from cspine.localization.loading import load_localizer
from cspine.localization.localizer import fallback_warning
from cspine.localization.segmented.study_files import SegmentationFiles
from cspine.localization.series_choice import choose_series
from cspine.models.memory import freed_memory_released
from cspine.models.providers import provider_of
from cspine.phantom.rsna_files import count_fractured, truth_path, write_study_files, write_tables
from cspine.phantom.scanner.dicom import WriteOptions
from cspine.phantom.study import PhantomStudy
from cspine.pipelines.compile import error_sentence

MARKER: Final = "insertion.json"
"""File by which a data set of virtual fractures is recognized."""

SCANS_FOLDER: Final = "scans"
"""Folder of the records of the scans that virtual fractures were inserted into."""

_LOGGER: Final = logging.getLogger(__name__)

_WRITE_OPTIONS: Final = WriteOptions(upward=False, full_header=False, compressed=False)


@dataclass(frozen=True)
class InsertionSummary:
    """Result of `insert_fractures`.

    Attributes
    ----------
    studies : int
        Studies in the data set.
    fractured, shams, intact : int
        How many of them have virtual fractures, shams, or neither.
    failed : tuple of (str, str)
        Name and reason of every scan that could not be used.
    """

    studies: int
    fractured: int
    shams: int
    intact: int
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Task:
    """What a worker needs to make the virtual studies of one scan."""

    source: StudySource
    out: Path
    seed: int
    copies: int
    with_intact: bool
    settings: InsertionSettings
    localizer: VolumeLocalizer | None
    segmentations: SegmentationFiles | None

    @cached_property
    def record_path(self) -> Path:
        return record_path(self.out, self.source.study_instance_uid)

    def plan(self) -> Iterator[tuple[int, Kind]]:
        """Yield number and kind of each virtual study."""
        if self.with_intact:
            yield 0, "intact"
        for copy in range(self.copies):
            yield copy, "fracture"
            yield copy, "sham"


def insert_fractures(  # noqa: PLR0913 - the options of `cspine insert`
    path: str | Path,
    out: str | Path,
    settings: InsertionSettings = InsertionSettings(),  # noqa: B008 - immutable
    *,
    seed: int = 0,
    copies: int = 1,
    with_intact: bool = True,
    localizer: str | None = None,
    vertebrae: str | Path | None = None,
    vertebrae_labels: str = "auto",
    workers: Workers = 1,
    progress: Progress = silent,
) -> InsertionSummary:
    """Write a data set of virtual fractures in intact scans; an interrupted call is resumed.

    Each scan becomes, for each copy, a study with fractures and one with shams in the same places.

    Parameters
    ----------
    path : str or Path
        A study, or a folder or archive of studies, without fractures.
    out : str or Path
        Folder of the data set, in the layout of the RSNA 2022 challenge.
    settings : InsertionSettings
        Levels, types, widths and displacements.
    seed : int
        The same seed gives the same fractures.
    copies : int
        Studies with fractures made from each scan.
    with_intact : bool
        Whether each scan is written unchanged, too.
    localizer : str, optional
        Name of registered weights or ONNX file of a localizer; the embedded one where omitted.
    vertebrae, vertebrae_labels : str or Path, str
        As of `cspine.localization.segmented.study_files.SegmentationFiles.open`: segmentations take the localizer's
        place.
    workers : int or Execution
        Number of processes, or how the scans are spread; the studies do not depend on it. A shard writes the studies
        of its scans and no tables; `cspine.pipelines.cluster.merge.merge_shards` writes them.
    progress : Progress
        Called with the number of scans finished.

    Returns
    -------
    InsertionSummary
        Of a shard, only its own studies are counted.

    Raises
    ------
    SourceError, ArchiveError
        There is nothing readable at `path`; or the segmentation does not exist, or is one for several studies.
    InputError
        `out` lies within `path`.
    NotAssessableError, InputError
        The only scan cannot be used.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    execution = Execution.of(workers)
    path, out = execution.locate(path), execution.locate(out)
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise InputError(f"{out}: lies within {path}, so its images would be read again; choose another --out")
    sources = open_collection(path, progress=progress).studies
    files = None
    if vertebrae:
        files = SegmentationFiles.open(execution.locate(vertebrae), vertebrae_labels, n_studies=len(sources))
    network = None if files else load_localizer(localizer, threads=1)  # sums depend on their number
    identity = {
        "format": FORMAT,
        "kind": "insertion",
        "path": recorded_name(path),
        "seed": seed,
        "copies": copies,
        "with_intact": with_intact,
        "weights": files.sha256 if files else network.sha256 if network else None,
        "settings": settings.model_dump(mode="json"),
        **(provider_of(network.identity) if network else {}),
    }
    ResumableJob(out, MARKER, identity).open()
    execution = execution.of_studies(len(sources))
    shard = ShardRecord.begin(out, execution.shard, [source.study_instance_uid for source in sources])
    tasks = [
        _Task(source, out, seed, copies, with_intact, settings, network, files)
        for source in execution.select(sources, lambda source: source.study_instance_uid)
    ]
    made = {path.name for path in complete_files(out / SCANS_FOLDER, "*.json")}
    outcomes = parallel_map(
        _insert,
        tasks,
        is_done=lambda task: task.record_path.name in made,
        written=lambda task: task.record_path,
        workers=execution,
        progress=progress,
    )
    failed = []
    for outcome in outcomes:
        if outcome.error is not None:
            if len(sources) == 1:
                raise outcome.error
            failed.append((outcome.item.source.study_instance_uid, error_sentence(outcome.error)))
    return _finish(out, shard, [task.source.study_instance_uid for task in tasks], failed)


def _finish(
    out: Path, shard: ShardRecord | None, scans: Sequence[str], failed: Sequence[tuple[str, str]]
) -> InsertionSummary:
    """Record what a shard did, or write the tables; raises as `summarize_insertion`."""
    if shard is not None:
        shard.finish(out, {"failed": list(failed)})
    summary = summarize_insertion(out, scans, tuple(failed), is_shard=shard is not None)
    if shard is None:
        remove_records(out)
    return summary


def summarize_insertion(
    out: Path,
    scans: Sequence[str],
    failed: tuple[tuple[str, str], ...],
    *,
    is_shard: bool = False,
    is_partial: bool = False,
) -> InsertionSummary:
    """Count the virtual studies of scans, and write the tables of the data set unless they are those of a shard.

    Parameters
    ----------
    out : Path
        Folder of the data set.
    scans : sequence of str
        StudyInstanceUIDs of the scans, in their order.
    failed : tuple of (str, str)
        Name and reason of every scan that could not be used.
    is_shard : bool
        Whether the scans are only those of a shard.
    is_partial : bool
        Whether shards may still be running.

    Raises
    ------
    SourceError
        No scan can be used.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    made = {path.name for path in complete_files(out / SCANS_FOLDER, "*.json")}
    records = [record_path(out, uid) for uid in scans]
    uids = [uid for path in records if path.name in made for uid in read_json(path)["studies"]]
    truths = [read_json(truth_path(out, uid)) for uid in uids]
    if is_shard:
        n_fractured = count_fractured(truths)
    elif uids:
        n_fractured = write_tables(truths, out, is_partial=is_partial)
    else:
        raise SourceError(f"{out}: no scan can be used, first {failed[0][0]}: {failed[0][1]}")
    kinds = [truth["kind"] for truth in truths]
    return InsertionSummary(len(uids), n_fractured, kinds.count("sham"), kinds.count("intact"), failed)


def record_path(out: Path, uid: str) -> Path:
    """Return the path of a scan's record, which is written last: the UIDs of the scan's virtual studies."""
    return out / SCANS_FOLDER / f"{pseudonym(None, uid)}.json"


@freed_memory_released()
def _insert(task: _Task) -> None:
    """Make all virtual studies of one scan in a worker process."""
    study = task.source.open()
    uid = task.source.study_instance_uid
    finder = task.segmentations.of_study(uid, study.study_instance_uid) if task.segmentations else task.localizer
    if finder is None:  # pragma: no cover - one of both is always there
        raise AssertionError("there is neither a localizer nor a segmentation")
    plan = choose_series(open_series(study, LoadPolicy(max_slice_spacing_mm=MAX_SLICE_SPACING_MM)), finder)
    plan, scan = read_first(plan, lambda plan: _prepare(plan, finder))
    thickness_mm = plan.series.headers[0].slice_thickness_mm or float(scan.grid.spacing_mm[0])
    patient = pseudonym(study.patient_id, uid)
    uids = []
    for copy, kind in task.plan():
        identity = VirtualIdentity(patient, uid, task.seed, copy, kind)
        uids.append(identity.study_uid)
        if truth_path(task.out, identity.study_uid).is_file():
            continue
        rng = np.random.default_rng([task.seed, copy, int(pseudonym(None, uid), 16)])
        virtual = render_virtual_study(scan, kind, task.settings, rng, thickness_mm=thickness_mm)
        _write(virtual, identity, task.out)
    record: dict[str, object] = {"studies": uids, "complete_levels": list(scan.breakable)}
    if warnings := fallback_warning(finder):
        record["warnings"] = list(warnings)
    write_json(task.record_path, record)
    _LOGGER.info("made %d virtual studies of one scan", len(uids))


def _prepare(plan: LoadPlan, finder: VolumeLocalizer) -> IntactScan:
    volume = plan.load()
    spine = finder(volume)
    spine.require_cervical()
    return IntactScan.of(volume, spine)


def _write(virtual: PhantomStudy, identity: VirtualIdentity, out: Path) -> None:
    virtual.truth.update(source=pseudonym(None, identity.source_uid), patient=identity.patient_id)
    write_study_files(virtual, identity, _WRITE_OPTIONS, out)
