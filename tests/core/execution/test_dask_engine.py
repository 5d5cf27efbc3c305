"""Parallel map on Dask: a real cluster of processes, of which some are killed."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cspine.core.errors import CspineError, OutputError
from cspine.core.execution import dask_engine, parallel
from cspine.core.execution.dask_engine import SchedulerError
from cspine.core.execution.execution import Execution
from cspine.core.execution.parallel import Outcome, WorkerDiedError, WorkerError, WorkerStartError, parallel_map

distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    # of distributed's: sockets and processes that end with the cluster
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two processes with a thread each, at an address of its own."""
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
    ):
        yield cluster


def _square(number: int) -> int:
    if number < 0:
        raise OutputError("the disk is full") if number == -2 else ValueError("negative")
    return number * number


def _kill_once(path: Path) -> str:
    """End the process by SIGKILL, as the system does that runs out of memory, unless it was done before."""
    if path.suffix == ".always" or not path.exists():
        path.write_text(str(os.getpid()), encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def test_outcomes_are_those_of_this_process(cluster: Any) -> None:
    progress: list[tuple[str, int, int]] = []
    execution = Execution(scheduler=cluster.scheduler_address)

    outcomes = list(
        parallel_map(
            _square,
            range(-1, 20),
            is_done=lambda n: n == 3,
            workers=execution,
            progress=lambda *each: progress.append(each),
        )
    )

    assert sorted(each.item for each in outcomes) == [n for n in range(-1, 20) if n != 3]
    assert {each.item: each.value for each in outcomes if each.error is None} == {n: n * n for n in range(20) if n != 3}
    assert [repr(each.error) for each in outcomes if each.error] == ["ValueError('negative')"]
    assert progress == [("studies", done, 20) for done in range(21)]
    assert list(parallel_map(_square, [], workers=execution)) == []


def test_a_killed_worker_costs_nothing_and_a_killer_only_itself(cluster: Any, tmp_path: Path) -> None:
    items = [tmp_path / name for name in ("a", "b", "killer.always", "d")]
    (tmp_path / "a").touch()
    (tmp_path / "d").touch()

    outcomes: list[Outcome[Path, str]] = list(
        parallel_map(_kill_once, items, workers=Execution(scheduler=cluster.scheduler_address))
    )

    assert {each.item.name: type(each.error) for each in outcomes} == {
        "a": type(None), "b": type(None), "d": type(None), "killer.always": WorkerDiedError,
    }  # fmt: skip


def test_few_items_are_in_flight(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[int] = []
    submit = distributed.Client.submit

    def count(self: Any, *arguments: Any, **options: Any) -> Any:
        submitted.append(arguments[-1])
        return submit(self, *arguments, **options)

    monkeypatch.setattr(distributed.Client, "submit", count)
    outcomes = parallel_map(_square, range(50), workers=Execution(scheduler=cluster.scheduler_address))

    for done, _ in enumerate(outcomes, start=1):
        assert len(submitted) <= done + 4
    assert len(submitted) == 50


def test_paths_mean_the_same_in_workers_of_other_folders(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the workers were started elsewhere
    execution = Execution(scheduler=cluster.scheduler_address)
    items = [execution.locate(name) for name in ("a", "b")]

    outcomes = list(parallel_map(_touch, items, written=lambda path: path, workers=execution))
    assert [each.error for each in outcomes] == [None, None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert execution.locate("s3://bucket/a").as_posix() == "s3://bucket/a"
    assert execution.locate_name("a") == str(tmp_path / "a")
    assert (execution.locate_name("levels"), Execution(2).locate("a")) == ("levels", Path("a"))

    monkeypatch.setattr(parallel, "_SEEN_WITHIN_S", 0.0)
    with pytest.raises(WorkerStartError, match="a Dask worker wrote c and it is not here; give folders that all share"):
        list(parallel_map(_square, [1], written=lambda _: tmp_path / "c", workers=execution))


def _touch(path: Path) -> None:
    path.touch()


class _TwoArgumentsError(Exception):
    """An error that can be pickled, and not unpickled."""

    def __init__(self, first: object, second: object) -> None:
        super().__init__(f"{first}{second}")


def _raise_unreadable(number: int) -> int:
    if number == 3:
        raise _TwoArgumentsError("a", "b")
    return number


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_an_error_that_cannot_be_unpickled_costs_one_item(cluster: Any, kind: str) -> None:
    execution = Execution(2) if kind == "processes" else Execution(scheduler=cluster.scheduler_address)

    outcomes = {each.item: each for each in parallel_map(_raise_unreadable, range(6), workers=execution)}

    assert [number for number, each in outcomes.items() if each.error] == [3]
    assert isinstance(outcomes[3].error, WorkerError)
    assert str(outcomes[3].error) == "unexpected _TwoArgumentsError in a worker process; please report it"


def test_a_full_disk_ends_the_map(cluster: Any) -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        list(parallel_map(_square, [-2, *range(100)], workers=Execution(scheduler=cluster.scheduler_address)))


def test_a_worker_of_another_version_is_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "__version__", "0.0.1")

    with pytest.raises(WorkerStartError, match=r"a Dask worker has cspine .*, and this is 0\.0\.1; install the same"):
        list(parallel_map(_square, [1], workers=Execution(scheduler=cluster.scheduler_address)))


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "_TIMEOUT", "1 s")

    with pytest.raises(SchedulerError, match=r"--dask tcp://127\.0\.0\.1:9: no scheduler answers") as caught:
        list(parallel_map(_square, [1], workers=Execution(scheduler="tcp://127.0.0.1:9")))
    assert isinstance(caught.value, CspineError)


def test_a_local_cluster_ends_with_the_map(tmp_path: Path) -> None:
    outcomes = list(
        parallel_map(_write_pid, [tmp_path / str(n) for n in range(4)], workers=Execution(2, None, "local"))
    )

    pids = {each.get() for each in outcomes}
    assert os.getpid() not in pids
    deadline = time.monotonic() + 20
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_is_alive(pid) for pid in pids)


def _write_pid(path: Path) -> int:
    assert distributed.get_worker().memory_manager.memory_limit is None, "a study may need more than a share"
    path.touch()
    return os.getpid()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_workers_it_waits_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as empty:
        outcomes = parallel_map(_square, [1, 2], workers=Execution(scheduler=empty.scheduler_address))
        late = threading.Timer(1.0, empty.scale, [1])
        late.start()
        with caplog.at_level(logging.WARNING, "cspine"):
            values = sorted(each.get() for each in outcomes)
        late.join()

    assert values == [1, 4]
    assert "the Dask scheduler has no workers; waiting for them" in caplog.text


def test_an_interruption_cancels_what_has_not_begun(cluster: Any, tmp_path: Path) -> None:
    items = [tmp_path / str(number) for number in range(40)]

    def interrupt(_: str, done: int, __: int, /) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(parallel_map(_sleep, items, workers=Execution(scheduler=cluster.scheduler_address), progress=interrupt))

    time.sleep(1.0)
    assert len(list(tmp_path.iterdir())) <= 2 + 2 * 2
    again = list(parallel_map(_square, [3], workers=Execution(scheduler=cluster.scheduler_address)))
    assert [each.get() for each in again] == [9]


def _sleep(path: Path) -> None:
    path.touch()
    time.sleep(0.1)


def test_a_scheduler_that_goes_away_ends_the_map(tmp_path: Path) -> None:
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    )
    items = [tmp_path / str(number) for number in range(1000)]

    def close(_: str, done: int, __: int, /) -> None:
        if done == 2:
            cluster.close()

    with pytest.raises(SchedulerError, match="the Dask scheduler is gone; start it and run the same command again"):
        list(parallel_map(_sleep, items, workers=Execution(scheduler=cluster.scheduler_address), progress=close))
