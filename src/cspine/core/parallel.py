"""Run a function over many studies, in several processes; knows nothing of what the function does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, TypeVar

from cspine.core.errors import CspineError, OutputError
from cspine.core.progress import Progress, silent

Item = TypeVar("Item")
Value = TypeVar("Value")


class WorkerDiedError(CspineError):
    """The process that worked on an item ended without a word: out of memory, or a crash in native code."""


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """What became of one item: a value, or the error that it ended with."""

    item: Item
    value: Value | None = None
    error: Exception | None = None

    def get(self) -> Value:
        """Return the value; raises the error where there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # None is a value too where Value allows it


def default_workers() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    workers: int = 1,
    stage: str = "studies",
    progress: Progress = silent,
) -> Iterator[Outcome[Item, Value]]:
    """Call `function` on every item and give the outcomes as they come, in any order.

    Parameters
    ----------
    function : callable
        A module-level function of one item. What it returns must pickle.
    items : sequence
        What to work on; at most `2 * workers` are under way at any time.
    workers : int
        Processes to use; 1 works in this process.
    stage : str
        What `progress` is told that is being counted.
    progress : Progress
        Called with the number of finished items, first with 0.

    Yields
    ------
    Outcome
        One per item. An item that kills its process gets `WorkerDiedError`; the others go on.

    Raises
    ------
    OutputError
        What the items write cannot be written (a full disk, say): that stops everything.
    """
    progress(stage, 0, len(items))
    outcomes = _in_this_process(function, items) if workers <= 1 else _in_processes(function, items, workers)
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome.error, OutputError):
            raise outcome.error
        progress(stage, done, len(items))
        yield outcome


def _attempt(function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    """Call the function; an error becomes part of the outcome."""
    try:
        return Outcome(item, value=function(item))
    except Exception as error:  # noqa: BLE001 - one broken study must not stop the rest
        return Outcome(item, error=error)


def _in_this_process(function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Outcome[Item, Value]]:
    for item in items:
        yield _attempt(function, item)


def _in_processes(
    function: Callable[[Item], Value], items: Sequence[Item], workers: int
) -> Iterator[Outcome[Item, Value]]:
    """Work in a pool; where the pool breaks, work on what was under way one by one to find the culprit."""
    waiting = list(reversed(items))
    while waiting:
        suspects: list[Item] = []
        yield from _until_broken(function, waiting, workers, suspects)
        for item in suspects:
            with _pool(1) as pool:
                try:
                    yield pool.submit(_attempt, function, item).result()
                except BrokenProcessPool:
                    reason = "its process died (out of memory, or a crash while decoding); try it alone"
                    yield Outcome(item, error=WorkerDiedError(reason))


def _until_broken(
    function: Callable[[Item], Value], waiting: list[Item], workers: int, suspects: list[Item]
) -> Iterator[Outcome[Item, Value]]:
    """Empty `waiting` through a pool; stop with what was under way in `suspects` where a process dies."""
    pool = _pool(workers)
    running: dict[Future[Outcome[Item, Value]], Item] = {}
    try:
        while waiting or running:
            while waiting and len(running) < 2 * workers:
                item = waiting.pop()
                running[pool.submit(_attempt, function, item)] = item
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = future.result()
                del running[future]
                yield outcome
    except BrokenProcessPool:
        suspects.extend(running.values())
    except BaseException:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way to stop at once
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    """Make a pool of fresh processes (fork would copy threads' locks) that leave Ctrl-C to the parent."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it does: one that is killed cannot tell its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
