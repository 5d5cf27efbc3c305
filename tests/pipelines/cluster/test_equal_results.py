"""However a job is executed, and whatever is killed meanwhile, its files are the same."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.support.shards import N_STUDIES, file_hashes, write_small_studies

from cspine.core import files
from cspine.core.errors import InputError, OutputTakenError, SourceError
from cspine.core.execution.execution import Execution
from cspine.core.execution.shard_records import ShardRecords
from cspine.core.execution.shards import Shard
from cspine.datasets.compiled import CompiledDataset
from cspine.pipelines.cluster.merge import merge_shards
from cspine.pipelines.compile import CompileSummary, compile_dataset
from cspine.views.settings import CompileSettings

SETTINGS = CompileSettings(spine_aligned=False, levels=None)
N_SHARDS = 7


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    write_small_studies(folder)
    return folder


@pytest.fixture(scope="module")
def expected(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the data set that one process compiles."""
    out = tmp_path_factory.mktemp("expected") / "compiled"
    summary = _compile(studies, out)
    assert (summary.compiled, len(summary.failed)) == (N_STUDIES - 1, 2)
    return file_hashes(out)


def _compile(studies: Path, out: Path, execution: Execution | int = 1, **options: Any) -> CompileSummary:
    return compile_dataset(studies, out, SETTINGS, workers=execution, **options)


def _compile_until_killed(studies: Path, out: Path, shard: Shard, moment: str) -> None:
    """Compile a shard in a process that ends by SIGKILL while it writes its second study."""
    n_written = 0

    def kill(*_: object) -> None:
        nonlocal n_written
        n_written += 1
        if n_written == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "images":  # written, but not moved into place
        moved = files._moved
        files._moved = lambda part, folder: (kill(), moved(part, folder))[1]  # type: ignore[func-returns-value]
    else:
        write_record = CompiledDataset.write_record
        CompiledDataset.write_record = lambda *each: (kill(), write_record(*each))[1]  # type: ignore[method-assign,func-returns-value]
    _compile(studies, out, Execution(shard=shard))


@pytest.mark.slow
def test_seven_shards_of_which_two_are_killed_and_restarted(
    studies: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "compiled"
    sizes = {
        index: sum(Shard(index, N_SHARDS).has(f"1.2.826.0.1.{number}") for number in range(1, N_STUDIES))
        for index in range(1, N_SHARDS + 1)
    }
    killed = sorted(sizes, key=lambda index: -sizes[index])[:2]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_compile_until_killed, args=(studies, out, Shard(index, N_SHARDS), moment))
        for index, moment in zip(killed, ("images", "record"), strict=True)
    ]
    for process in processes:
        process.start()
    for index in sizes.keys() - set(killed):
        _compile(studies, out, Execution(shard=Shard(index, N_SHARDS)))
    for process in processes:
        process.join(120)

    assert [process.exitcode for process in processes] == [-signal.SIGKILL] * 2
    assert list((out / "images").glob(".*.part")), "the first was killed before its study was in place"
    names = ", ".join(map(str, sorted(killed)))
    with pytest.raises(InputError, match=rf"shards {names} of 7 not finished \(\d+ studies\); run them again"):
        merge_shards(out)
    partial = merge_shards(out, partial=True)
    assert partial.missing == tuple(sorted(killed))
    assert list((out / "images").glob(".*.part")), "a shard that runs may be writing there"

    restarted = [_compile(studies, out, Execution(shard=Shard(index, N_SHARDS))) for index in killed]
    summary = merge_shards(out)

    assert sum(each.resumed for each in restarted) >= 1
    assert (summary.command, summary.shards, summary.studies, len(summary.failed)) == ("compile", 7, N_STUDIES + 1, 2)
    assert file_hashes(out) == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_dask_of_which_a_worker_is_killed(studies: Path, expected: dict[str, str], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        pids = list(client.run(os.getpid).values())

        def kill_one(_: str, done: int, __: int, /) -> None:
            if done == 3:
                os.kill(pids[0], signal.SIGKILL)

        summary = _compile(
            studies, tmp_path / "compiled", Execution(scheduler=cluster.scheduler_address), progress=kill_one
        )

    assert summary.compiled == N_STUDIES - 1
    assert file_hashes(tmp_path / "compiled") == expected


def test_processes_and_a_resumption_change_nothing(studies: Path, expected: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "compiled"
    _compile(studies, out, Execution(shard=Shard(1, 2)))  # a job that begins in shards may end without
    before = {path: path.stat().st_mtime_ns for path in (out / "images").rglob("*.jpg")}

    summary = _compile(studies, out)
    tables = (out / "manifest.parquet").stat().st_mtime_ns
    again = _compile(studies, out)

    assert 0 < summary.resumed < N_STUDIES - 1
    assert again.compiled == 0
    assert (out / "manifest.parquet").stat().st_mtime_ns > tables, "studies that failed were tried again"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert file_hashes(out) == expected


def test_what_cannot_be_merged_is_refused(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "compiled"
    with pytest.raises(SourceError, match="holds no job with shards"):
        merge_shards(tmp_path)
    _compile(studies, out, Execution(shard=Shard(1, 2)))
    with pytest.raises(SourceError, match="is not finished; run `cspine merge"):
        CompiledDataset.open(out)
    with pytest.raises(OutputTakenError, match="was begun with 2 shards, now 3"):
        _compile(studies, out, Execution(shard=Shard(1, 3)))
    _compile(studies, out, Execution(shard=Shard(2, 2)))
    next((out / "records").glob("*.json")).unlink()
    with pytest.raises(InputError, match=r"1 studies of shard [12]/2 have no result, first .*; run the shard again"):
        merge_shards(out)


def test_the_merge_knows_the_labels_before_any_shard_has_ended(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cspine.pipelines.compile.parallel_map", kill)
    with pytest.raises(KeyboardInterrupt):
        _compile(studies, tmp_path, Execution(shard=Shard(1, 2)))

    (record,) = ShardRecords.open(tmp_path).records
    assert not record.is_finished
    assert record.results == {"labels": str((studies / "train.csv").resolve()), "series_uids": []}
