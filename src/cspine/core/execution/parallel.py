"""Parallel map over worker processes: bounded memory, crashes isolated, results as they come."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from cspine.core.errors import CspineError, OutputError
from cspine.core.execution.execution import Execution, Workers
from cspine.core.garbage import collect_less_often
from cspine.core.logging import configure_logging, logging_options
from cspine.core.processors import take_share
from cspine.core.progress import Progress, silent

Item = TypeVar("Item")
Value = TypeVar("Value")

_LOGGER: Final = logging.getLogger(__name__)

_MAX_WORKERS: Final = 61 if sys.platform == "win32" else 1024
"""Largest pool; Windows waits for no more processes at once."""

_START_MESSAGE: Final = (
    'worker processes cannot start: write the script to a file with its calls under `if __name__ == "__main__":`, '
    "or use workers=1"
)

_MAIN_LOCK: Final = threading.Lock()


class WorkerDiedError(CspineError):
    """The worker process of an item died: out of memory, or a crash in native code."""


class WorkerError(CspineError):
    """A worker raised an error that cannot be sent to this process."""


class WorkerStartError(CspineError):
    """Worker processes cannot start, because they need a script that cannot be imported."""


class _NoProcessesError(Exception):
    """The system refuses processes, or their queues."""


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


def parallel_map(
    function: Callable[[Item], Value],
    items: Sequence[Item],
    *,
    is_done: Callable[[Item], bool] | None = None,
    written: Callable[[Item], Path | None] | None = None,
    workers: Workers = 1,
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
    written : callable, optional
        The file that an item's worker leaves, or None. It is looked for where Dask workers may be on other machines.
    workers : int or Execution
        Number of processes; 1 runs in this process, and so does a system that refuses processes. They share the
        processors that this process may use. An `Execution` may name a Dask scheduler in their place; its shard is the
        caller's matter, who knows what identifies an item.
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
    WorkerStartError
        The function or the items are those of a script that calls this at its import, or that is no file; or Dask
        workers have another version of cspine or other weights, or write into another folder.
    SchedulerError
        The Dask scheduler cannot be reached, or went away.
    """
    if is_done is not None:
        items = [item for item in items if not is_done(item)]
    progress(stage, 0, len(items))
    execution = Execution.of(workers)
    outcomes = _outcomes(function, items, execution)
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome.error, (OutputError, WorkerStartError)):
            raise outcome.error
        if written is not None and execution.scheduler is not None and outcome.error is None:
            _check_written(written(outcome.item))
        progress(stage, done, len(items))
        yield outcome


def _check_written(path: Path | None) -> None:
    """Check that what a worker of another machine wrote is seen here; raises WorkerStartError where it is not."""
    deadline = time.monotonic() + _SEEN_WITHIN_S
    while path is not None and not path.exists():
        if time.monotonic() >= deadline:
            raise WorkerStartError(
                f"{path.parent}: a Dask worker wrote {path.name} and it is not here; give folders that all share"
            )
        time.sleep(_LOOK_AGAIN_S)


_SEEN_WITHIN_S: Final = 90.0
"""A file is seen on all machines after this time; NFS keeps the absence of one in mind for up to a minute."""

_LOOK_AGAIN_S: Final = 0.5


def _outcomes(
    function: Callable[[Item], Value], items: Sequence[Item], execution: Execution
) -> Iterator[Outcome[Item, Value]]:
    if execution.scheduler is not None:
        from cspine.core.execution.dask_engine import dask_outcomes  # noqa: PLC0415 - an extra, and it imports this

        return dask_outcomes(function, items, execution)
    if execution.workers <= 1:
        return _in_this_process(function, items)
    return _in_processes(function, items, execution.workers)


def attempt(function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    """Call the function and catch its error."""
    try:
        return Outcome(item, value=function(item))
    except Exception as error:  # noqa: BLE001 - one damaged study must not stop the others
        return Outcome(item, error=error)


def attempt_in_worker(function: Callable[[Item], Value], item: Item) -> Outcome[Item, Value]:
    """Call the function and catch its error; a `WorkerError` stands for one that is pickled and not unpickled."""
    outcome = attempt(function, item)
    if outcome.error is None:
        return outcome
    try:
        pickle.loads(pickle.dumps(outcome.error))  # noqa: S301 - of this process
    except Exception:  # noqa: BLE001 - whatever their code raises
        kind = type(outcome.error).__name__
        return Outcome(item, error=WorkerError(f"unexpected {kind} in a worker process; please report it"))
    return outcome


def _in_this_process(function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Outcome[Item, Value]]:
    for item in items:
        yield attempt(function, item)


def _in_processes(
    function: Callable[[Item], Value], items: Sequence[Item], workers: int
) -> Iterator[Outcome[Item, Value]]:
    """Use a pool; where it breaks, run the items that were in progress one by one to find the one that kills."""
    waiting = list(reversed(items))
    needs_main = bool(items) and _needs_main(function, items[0])
    suspects: list[Item] = []
    alone: list[Item] = []
    killers: list[Item] = []
    try:
        while waiting:
            yield from _until_broken(_Pool(workers, len(items), needs_main), function, waiting, suspects)
            while suspects:
                alone.append(suspects.pop())
                yield from _until_broken(_Pool(1, 1, needs_main), function, alone, killers)
                while killers:
                    reason = "its process died (out of memory, or a crash while decoding); run it alone"
                    yield Outcome(killers.pop(), error=WorkerDiedError(reason))
    except _NoProcessesError as error:
        _LOGGER.warning("worker processes cannot be started (%s); the work continues in one process", error)
        yield from _in_this_process(function, [*killers, *alone, *suspects, *reversed(waiting)])


def _until_broken(
    pool: "_Pool", function: Callable[[Item], Value], waiting: list[Item], suspects: list[Item]
) -> Iterator[Outcome[Item, Value]]:
    """Run the waiting items in a pool; where a process dies, return with the items in progress as suspects."""
    running: dict[Future[Outcome[Item, Value]], Item] = {}
    try:
        pool.start()
        while waiting or running:
            while waiting and len(running) < 2 * pool.size:
                running[pool.submit(attempt_in_worker, function, waiting[-1])] = waiting[-1]
                waiting.pop()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = future.result()
                del running[future]
                yield outcome
    except BrokenProcessPool:
        suspects.extend(running.values())
        pool.check_started()
    except _NoProcessesError:
        suspects.extend(running.values())
        raise
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.shutdown()


class _Pool:
    """A pool of spawned processes (fork would copy the locks of threads) that leave Ctrl-C to the parent.

    Parameters
    ----------
    workers, n_items : int
        Processes that are wanted, and items for them.
    needs_main : bool
        Whether the processes have to import the program's main module, for what the items are made of.
    """

    def __init__(self, workers: int, n_items: int, needs_main: bool) -> None:
        self.size = max(1, min(workers, n_items, _MAX_WORKERS))
        self._needs_main = needs_main
        self._executor: ProcessPoolExecutor | None = None
        self._processes: list[Any] = []
        self._ready: Future[None] | None = None

    def start(self) -> None:
        """Start the first process; raises _NoProcessesError or WorkerStartError where that is impossible."""
        if multiprocessing.current_process().daemon:
            raise _NoProcessesError("this process is a worker itself")
        context = multiprocessing.get_context("spawn")
        arguments = (logging_options(), self.size)
        try:
            self._executor = ProcessPoolExecutor(
                self.size, mp_context=context, initializer=_follow_parent, initargs=arguments
            )
        except (OSError, ImportError, NotImplementedError) as error:  # no semaphores, as without /dev/shm
            raise _NoProcessesError(_short_reason(error)) from error
        self._ready = self.submit(_do_nothing)

    def submit(self, function: Callable[..., Value], *arguments: Any) -> Future[Value]:  # noqa: ANN401 - the function's
        """Submit a call, which starts a process where all are busy; raises as `start` does."""
        if self._executor is None:  # pragma: no cover - start comes first
            raise AssertionError("the pool is not started")
        try:
            with _hidden_main(is_needed=self._needs_main):
                future = self._executor.submit(_run_in_worker, function, *arguments)
        except BrokenProcessPool:
            raise
        except OSError as error:  # too many processes or files, or too little memory
            raise _NoProcessesError(_short_reason(error)) from error
        except RuntimeError:  # this process is being spawned: its main module is imported, and calls us
            raise WorkerStartError(_START_MESSAGE) from None
        finally:
            self._processes = list((self._executor._processes or {}).values())  # noqa: SLF001 - no public way
        return future

    def check_started(self) -> None:
        """Raise where the pool broke before any of its processes was ready."""
        if self._ready is not None and self._ready.done() and self._ready.exception() is None:
            return  # an item ended its process
        for process in self._processes:
            process.join(_END_TIMEOUT_S)
        if self._needs_main and any(process.exitcode == 1 for process in self._processes):
            raise WorkerStartError(_START_MESSAGE) from None
        raise _NoProcessesError("they died at their start")

    def terminate(self) -> None:
        """End all processes at once."""
        for process in self._processes:
            process.terminate()

    def shutdown(self) -> None:
        """Wait for the processes to end; calls that have not begun are dropped."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


_END_TIMEOUT_S: Final = 10.0


def _short_reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _do_nothing() -> None:
    """Show that a process is ready."""


def _needs_main(function: Callable[[Item], Value], item: Item) -> bool:
    """Return whether a worker needs the program's main module to receive a call."""
    try:
        return b"__main__" in pickle.dumps((function, item))
    except Exception:  # noqa: BLE001 - what cannot be pickled is reported as the error of its item
        return False


@contextmanager
def _hidden_main(*, is_needed: bool) -> Iterator[None]:
    """Hide the program's main module from processes that are started in the block, unless it is needed.

    A spawned process imports it, which runs a script without a ``__main__`` guard again in every worker, and fails for
    a program from standard input. Workers need only what their items are made of.
    """
    if is_needed:
        yield
        return
    with _MAIN_LOCK:
        main = vars(sys.modules["__main__"])
        spec, file = main.get("__spec__"), main.pop("__file__", None)
        main["__spec__"] = None
        try:
            yield
        finally:
            main["__spec__"] = spec
            if file is not None:
                main["__file__"] = file


class _WorkerEnded(BaseException):
    """The worker is asked to end by SIGTERM while it works."""


_IS_WORKING: list[bool] = []
"""In a worker process: whether it works on an item; empty where it waits for one."""


def _run_in_worker(function: Callable[..., Value], *arguments: Any) -> Value:  # noqa: ANN401 - any arguments
    """Call a function in a worker; one that is asked to end removes its temporary files first."""
    _IS_WORKING.append(True)
    try:
        return function(*arguments)
    except _WorkerEnded:
        _end_process()
        raise
    finally:
        _IS_WORKING.clear()


def _end_process() -> None:
    """End this process by SIGTERM, as it ends processes by default."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _end_worker(*_: object) -> None:
    if not _IS_WORKING:
        _end_process()
    raise _WorkerEnded


def _follow_parent(options: dict[str, bool] | None, n_workers: int) -> None:
    """Leave Ctrl-C to the parent, share the processors, and end when the parent does: a killed one ends no workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_worker)
    take_share(n_workers)
    collect_less_often()
    if options is not None:  # a worker logs as its parent does
        configure_logging(verbose=options["verbose"], json_lines=options["json_lines"])
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
