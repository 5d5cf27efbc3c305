"""Parallel map over worker processes: bounded memory, crashes isolated, results as they come."""

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
from cspine.core.logging import configure_logging, logging_options
from cspine.core.progress import Progress, silent

Item = TypeVar("Item")
Value = TypeVar("Value")


class WorkerDiedError(CspineError):
    """The worker process of an item died: out of memory, or a crash in native code."""


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """The outcome of one item: a value, or the error that it raised."""

    item: Item
    value: Value | None = None
    error: Exception | None = None

    def get(self) -> Value:
        """Return the value, or raise the error."""
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
    is_done: Callable[[Item], bool] | None = None,
    workers: int = 1,
    stage: str = "studies",
    progress: Progress = silent,
) -> Iterator[Outcome[Item, Value]]:
    """Call a function on every item and yield the outcomes as they come, in any order.

    Parameters
    ----------
    function : callable
        A module-level function of one item; what it returns must pickle.
    items : sequence
        The items; at most ``2 * workers`` are in progress at any time, which bounds memory.
    is_done : callable, optional
        Whether an earlier run finished an item, which is then left out.
    workers : int
        Number of processes; 1 runs in this process.
    stage : str
        Name of the stage whose items `progress` counts.
    progress : Progress
        Called with the number of finished items, from 0.

    Yields
    ------
    Outcome
        One per item that is not done. The outcome of an item that kills its process is a `WorkerDiedError`; the others
        continue.

    Raises
    ------
    OutputError
        An item's output cannot be written, for example on a full disk; this ends the map.
    """
    if is_done is not None:
        items = [item for item in items if not is_done(item)]
    progress(stage, 0, len(items))
    outcomes = _in_this_process(function, items) if workers <= 1 else _in_processes(function, items, workers)
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome.error, OutputError):
            raise outcome.error
        progress(stage, done, len(items))
        yield outcome


def _attempt(function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    """Call the function and catch its error."""
    try:
        return Outcome(item, value=function(item))
    except Exception as error:  # noqa: BLE001 - one damaged study must not stop the others
        return Outcome(item, error=error)


def _in_this_process(function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Outcome[Item, Value]]:
    for item in items:
        yield _attempt(function, item)


def _in_processes(
    function: Callable[[Item], Value], items: Sequence[Item], workers: int
) -> Iterator[Outcome[Item, Value]]:
    """Use a pool; where it breaks, run the items that were in progress one by one to find the one that kills."""
    waiting = list(reversed(items))
    while waiting:
        suspects: list[Item] = []
        yield from _until_broken(function, waiting, workers, suspects)
        for item in suspects:
            with _pool(1) as pool:
                try:
                    yield pool.submit(_attempt, function, item).result()
                except BrokenProcessPool:
                    reason = "its process died (out of memory, or a crash while decoding); run it alone"
                    yield Outcome(item, error=WorkerDiedError(reason))


def _until_broken(
    function: Callable[[Item], Value], waiting: list[Item], workers: int, suspects: list[Item]
) -> Iterator[Outcome[Item, Value]]:
    """Run the waiting items in a pool; where a process dies, return with the items in progress as suspects."""
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
    """Return a pool of spawned processes (fork would copy the locks of threads) that leave Ctrl-C to the parent."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent, initargs=(logging_options(),))


def _follow_parent(options: dict[str, bool] | None) -> None:
    """Leave Ctrl-C to the parent, and end when the parent does: one that is killed cannot end its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if options is not None:  # a worker logs as its parent does
        configure_logging(verbose=options["verbose"], json_lines=options["json_lines"])
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
