"""Merge: the tables of a job from what its shards wrote, as a run without shards writes them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.errors import InputError, SourceError
from cspine.core.execution.shard_records import ShardRecords
from cspine.core.identifiers import study_key
from cspine.datasets.compiled import MARKER as COMPILED_MARKER
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.rsna2022_labels import read_labels
from cspine.pipelines.compile import check_series_read


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
    failed: tuple[tuple[str, str], ...]
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
        Shards are missing, saw other studies than the rest, or lost the record of a study.
    DiskFullError, OutputError
        The tables cannot be written.
    """
    out = Path(out)
    merge = next((merge for marker, merge in _MERGES.items() if (out / marker).is_file()), None)
    if merge is None:
        raise SourceError(f"{out}: holds no job with shards; give the --out of a command that ran with --shard")
    records = ShardRecords.open(out)
    if not partial:
        records.check_complete()
    return merge(out, records, partial)


def _merge_compiled(out: Path, records: ShardRecords, partial: bool) -> MergeSummary:
    dataset = CompiledDataset.open(out, is_finished=False)
    known = dataset.recorded_keys()
    _check_recorded(records, lambda uid: study_key(uid) in known, partial=partial)
    results = records.finished[0].results if records.finished else {}
    dataset.finish(read_labels(Path(results["labels"])) if results.get("labels") else None, is_partial=partial)
    studies = dataset.studies()
    if not partial:
        check_series_read(results["series_uids"], studies["series_instance_uid"])
    failed = studies[studies["status"] == "failed"]
    return MergeSummary(
        "compile",
        records.count,
        records.missing,
        len(studies),
        tuple(zip(failed["study_instance_uid"], failed["reason"], strict=True)),
        ("studies.parquet", "levels.parquet", "manifest.parquet"),
    )


def _check_recorded(records: ShardRecords, is_recorded: Callable[[str], bool], *, partial: bool) -> None:
    """Check that every study of a finished shard has a record; raises InputError where one is gone."""
    for record in () if partial else records.finished:
        gone = [uid for uid in record.studies if not is_recorded(uid)]
        if gone:
            raise InputError(
                f"{records.folder}: {len(gone)} studies of shard {record.shard} have no result, first {gone[0]}; run "
                "the shard again"
            )


_MERGES: Final[dict[str, Callable[[Path, ShardRecords, bool], MergeSummary]]] = {COMPILED_MARKER: _merge_compiled}
"""Marker of a job to what merges its shards."""
