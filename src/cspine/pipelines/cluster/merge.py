"""Merge: the tables of a job from what its shards wrote, as a run without shards writes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.errors import InputError, SourceError
from cspine.core.execution.shard_records import SHARDS_FOLDER, ShardRecords
from cspine.core.files import complete_files, read_json, remove_unfinished
from cspine.core.findings import Findings, Spine
from cspine.core.identifiers import study_key
from cspine.core.storage.locations import as_path
from cspine.datasets.compiled import MARKER as COMPILED_MARKER
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.rsna2022_labels import read_labels
from cspine.dicom.study_collection import BOXES_FILE, LABELS_FILE, PHANTOM_MARKER, TRUTH_FOLDER
from cspine.phantom.rsna_files import truth_path, write_tables
from cspine.pipelines.case_folder import FINDINGS_FILE, read_result, recorded_key
from cspine.pipelines.compile import check_series_read
from cspine.pipelines.insert import MARKER as INSERTION_MARKER
from cspine.pipelines.insert import SCANS_FOLDER, record_path, summarize_insertion
from cspine.pipelines.localize_batch import MARKER as LOCALIZE_MARKER
from cspine.pipelines.localize_batch import SPINE_FILE
from cspine.pipelines.predict_batch import MARKER as PREDICT_MARKER
from cspine.pipelines.predict_batch import WORKLIST_FILE, WORKLIST_PAGE, write_worklist
from cspine.reports.worklist import StudyResult

Failures = tuple[tuple[str, str], ...]
"""StudyInstanceUID and reason of studies that failed."""


@dataclass(frozen=True)
class MergeSummary:
    """Result of `merge_shards`.

    Attributes
    ----------
    command : str
        Command whose shards were merged, such as ``compile``.
    shards : int
        Number of shards.
    missing : tuple of int
        Shards that have not ended; empty unless the merge is partial.
    studies : int
        Studies in the merged tables.
    failed : tuple of (str, str)
        StudyInstanceUID and reason of every study that failed.
    tables : tuple of str
        Names of the files that were written.
    """

    command: str
    shards: int
    missing: tuple[int, ...]
    studies: int
    failed: Failures
    tables: tuple[str, ...]


def merge_shards(out: str | Path, *, partial: bool = False) -> MergeSummary:
    """Write the tables of a job whose shards have ended; a merge can be repeated at any time.

    Parameters
    ----------
    out : str or Path
        The job's folder, which all shards wrote into.
    partial : bool
        Whether shards may be missing; the tables then hold the studies that are there.

    Returns
    -------
    MergeSummary

    Raises
    ------
    SourceError
        There is no such folder, or no job that has shards.
    InputError
        Shards are missing, saw other studies than the rest, or lost the result of a study.
    DiskFullError, OutputError
        The tables cannot be written.
    """
    out = as_path(out)
    kind = next((kind for kind in _KINDS if (out / kind.marker).is_file()), None)
    if kind is None:
        raise SourceError(f"{out}: holds no job with shards; give the --out of a command that ran with --shard")
    records = ShardRecords.open(out)
    if not partial:
        records.check_complete()
        _check_results(records, kind.recorded(out, records))
    studies, failed = kind.merge(out, records, partial)
    return MergeSummary(kind.command, records.count, records.missing, studies, failed, kind.tables)


def _check_results(records: ShardRecords, recorded: set[str]) -> None:
    """Check that every study that a shard finished has a result, or failed; raises InputError where one is gone."""
    for record in records.finished:
        failed = {uid for uid, _ in record.results.get("failed", ())}
        gone = [uid for uid in record.studies if uid not in recorded and uid not in failed]
        if gone:
            raise InputError(
                f"{records.folder}: {len(gone)} studies of shard {record.shard} have no result, first {gone[0]}; run "
                "the shard again"
            )


def _failed(records: ShardRecords) -> Failures:
    """Return the studies that the shards recorded as failed."""
    return tuple((uid, reason) for record in records.records for uid, reason in record.results.get("failed", ()))


def _lost(records: ShardRecords, damaged: Sequence[str], partial: bool) -> Failures:
    """Return studies whose result is gone or damaged as failed; raises InputError unless the merge is partial."""
    if damaged and not partial:
        raise InputError(
            f"{records.folder}: the results of {len(damaged)} studies are damaged, first {damaged[0]}; run the shards "
            "again"
        )
    return tuple((uid, "its result is damaged; run the shard again") for uid in damaged)


def _compiled(out: Path, records: ShardRecords) -> set[str]:
    known = CompiledDataset.open(out, is_finished=False).recorded_keys()
    return {uid for uid in records.studies if study_key(uid) in known}


def _merge_compiled(out: Path, records: ShardRecords, partial: bool) -> tuple[int, Failures]:
    dataset = CompiledDataset.open(out, is_finished=False)
    results = next((record.results for record in records.records if "labels" in record.results), {})
    labels = read_labels(as_path(results["labels"])) if results.get("labels") else None
    dataset.finish(labels, is_partial=partial)
    studies = dataset.studies()
    if not partial:
        check_series_read(results.get("series_uids", ()), studies["series_instance_uid"])
    failed = studies[studies["status"] == "failed"]
    return len(studies), tuple(zip(failed["study_instance_uid"], failed["reason"], strict=True))


def _synthesized(out: Path, _: ShardRecords) -> set[str]:
    return {path.stem for path in complete_files(out / TRUTH_FOLDER, "*.json")}


def _merge_synthesized(out: Path, records: ShardRecords, partial: bool) -> tuple[int, Failures]:
    written = _synthesized(out, records)
    truths = [read_json(truth_path(out, uid)) for uid in records.studies if uid in written]
    write_tables(truths, out, is_partial=partial)
    return len(truths), ()


def _inserted(out: Path, records: ShardRecords) -> set[str]:
    made = {path.name for path in complete_files(out / SCANS_FOLDER, "*.json")}
    return {uid for uid in records.studies if record_path(out, uid).name in made}


def _merge_inserted(out: Path, records: ShardRecords, partial: bool) -> tuple[int, Failures]:
    if not partial:
        remove_unfinished(out / SCANS_FOLDER)
    made = _inserted(out, records)
    failed = tuple(each for each in _failed(records) if each[0] not in made)
    summary = summarize_insertion(out, records.studies, failed, is_partial=partial)
    return summary.studies, summary.failed


def _folders_with(name: str) -> Callable[[Path, ShardRecords], set[str]]:
    """Return what lists the studies whose folder holds a file."""

    def recorded(out: Path, records: ShardRecords) -> set[str]:
        if _is_single(records):
            return set(records.studies) if (out / name).is_file() else set()
        return {uid for uid in records.studies if (out / study_key(uid) / name).is_file()}

    return recorded


def _is_single(records: ShardRecords) -> bool:
    return any(record.results.get("is_single") for record in records.records)


def _merge_localized(out: Path, records: ShardRecords, partial: bool) -> tuple[int, Failures]:
    recorded = _folders_with(SPINE_FILE)(out, records)
    is_single = _is_single(records)
    damaged = [
        uid
        for uid in records.studies
        if uid in recorded and not _holds_spine(out if is_single else out / study_key(uid))
    ]
    return len(recorded) - len(damaged), (*_failed(records), *_lost(records, damaged, partial))


def _holds_spine(folder: Path) -> bool:
    try:
        Spine.model_validate_json((folder / SPINE_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _merge_predicted(out: Path, records: ShardRecords, partial: bool) -> tuple[int, Failures]:
    if _is_single(records):
        return len(records.studies), ()
    crashes = {each["study"]: each for record in records.records for each in record.results.get("crashed", ())}
    ended = {uid for record in records.finished for uid in record.studies}
    results, crashed, damaged = [], [], []
    for uid in records.studies:
        folder, crash = out / study_key(uid), crashes.get(uid)
        # What an earlier run wrote of other files is no answer where the prediction of the present ones crashed.
        result = read_result(folder) if crash is None or recorded_key(folder) == crash["job"] else None
        if result is not None:
            results.append(result)
        elif crash is not None:
            results.append(StudyResult(Findings.model_validate(crash["findings"]), "", crash["arrived"]))
            crashed.append(uid)
        elif uid in ended or (folder / FINDINGS_FILE).is_file():
            damaged.append(uid)
    lost = _lost(records, damaged, partial)
    options = records.records[-1].results
    write_worklist(out, results, max_wait_min=options.get("max_wait_min"), skipped=options.get("skipped", 0))
    return len(results), (*(each for each in _failed(records) if each[0] in crashed), *lost)


def _classified(_: Path, records: ShardRecords) -> set[str]:
    return {uid for record in records.finished for uid in record.results["classified"]["probability"]}


def _merge_classified(out: Path, records: ShardRecords, partial: bool) -> tuple[int, Failures]:
    if partial and records.missing:
        raise InputError(f"{out}: an evaluation of a part is one of other studies; run the missing shards first")
    from cspine.pipelines.cluster.classify import merge_classified  # noqa: PLC0415 - imports what draws figures

    return merge_classified(out, records).result.n_studies, ()


@dataclass(frozen=True)
class _Kind:
    """A command whose shards can be merged: the marker of its job, what lists results, and what writes tables."""

    command: str
    marker: str
    tables: tuple[str, ...]
    recorded: Callable[[Path, ShardRecords], set[str]]
    merge: Callable[[Path, ShardRecords, bool], tuple[int, Failures]]


_DATASET_TABLES: Final = (LABELS_FILE, BOXES_FILE)

_KINDS: Final[Sequence[_Kind]] = (
    _Kind("evaluate", f"{SHARDS_FOLDER}/evaluate.json", ("evaluation.html",), _classified, _merge_classified),
    _Kind(
        "compile",
        COMPILED_MARKER,
        ("studies.parquet", "levels.parquet", "manifest.parquet"),
        _compiled,
        _merge_compiled,
    ),
    _Kind("predict", PREDICT_MARKER, (WORKLIST_FILE, WORKLIST_PAGE), _folders_with(FINDINGS_FILE), _merge_predicted),
    _Kind("localize", LOCALIZE_MARKER, (), _folders_with(SPINE_FILE), _merge_localized),
    _Kind("insert", INSERTION_MARKER, _DATASET_TABLES, _inserted, _merge_inserted),
    _Kind("synth", PHANTOM_MARKER, _DATASET_TABLES, _synthesized, _merge_synthesized),
)
