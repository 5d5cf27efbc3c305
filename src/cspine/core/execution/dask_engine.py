"""Parallel map over the workers of a Dask cluster: one item a task, few in flight, lost workers survived."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, TypeVar

from cspine import __version__
from cspine.core.errors import CspineError
from cspine.core.execution.execution import LOCAL, Execution
from cspine.core.execution.parallel import Outcome, WorkerDiedError, WorkerError, WorkerStartError, attempt_in_worker
from cspine.core.logging import quiet_logger

Item = TypeVar("Item")
Value = TypeVar("Value")

_LOGGER: Final = logging.getLogger(__name__)

_TIMEOUT: Final = "30 s"
"""How long a scheduler may take to answer."""

_LOOK_EVERY_S: Final = 5.0
"""How often it is looked at whether there are workers."""

_WARN_EVERY_S: Final = 60.0

_IN_FLIGHT_PER_THREAD: Final = 2
"""Items that are submitted for each thread of the cluster, so that none waits for the next."""

_LOCAL_CONFIG: Final = {
    "distributed.scheduler.allowed-failures": 1,  # an item that ends two workers is not tried on a third
    "distributed.admin.tick.limit": "1 h",  # native code that holds the GIL is no reason to warn
}

Running = dict[Any, Item]


class SchedulerError(CspineError):
    """A Dask scheduler cannot be reached, or went away."""


def dask_outcomes(
    function: Callable[[Item], Value], items: Sequence[Item], execution: Execution
) -> Iterator[Outcome[Item, Value]]:
    """Call a function on every item in the workers of a Dask cluster, and yield the outcomes as they come.

    What a lost worker was doing is done again by another. An item whose workers die is tried once more, alone, when
    all others are done, since it may only have been near the one that kills; then its outcome is a `WorkerDiedError`.
    Where there are no workers, it waits for them and says so, since a cluster may grow and shrink.

    Parameters
    ----------
    function, items
        As of `cspine.core.execution.parallel.parallel_map`.
    execution : Execution
        Has a scheduler.

    Yields
    ------
    Outcome

    Raises
    ------
    SchedulerError
        The scheduler cannot be reached, or went away.
    WorkerStartError
        The workers lack cspine, or have another version of it.
    """
    if not items:
        return
    waiting, killed, alone = list(reversed(items)), [], []  # type: list[Item], list[Item], list[Item]
    with _client(execution) as client:
        yield from _run(client, function, waiting, killed)
        for item in killed:
            yield from _run(client, function, [item], alone)
        for item in alone:
            reason = "its Dask workers died (out of memory, or a crash while decoding); run it alone"
            yield Outcome(item, error=WorkerDiedError(reason))


@contextmanager
def _client(execution: Execution) -> Iterator[Any]:
    """Connect to the scheduler, or start a local cluster for as long as the block lasts."""
    import dask  # noqa: PLC0415 - an extra
    from distributed import Client, LocalCluster  # noqa: PLC0415

    with ExitStack() as stack:
        address: Any = execution.scheduler
        if address == LOCAL:
            stack.enter_context(dask.config.set(_LOCAL_CONFIG))
            for name in ("distributed.nanny", "distributed.scheduler", "distributed.worker", "distributed.core"):
                stack.enter_context(quiet_logger(name, logging.CRITICAL))  # a worker that dies is our outcome
            address = stack.enter_context(
                LocalCluster(
                    n_workers=execution.workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,  # a share of the memory for each would end those that need more at times
                    dashboard_address="127.0.0.1:0",
                    host="127.0.0.1",
                )
            )
        try:
            client = stack.enter_context(Client(address, timeout=_TIMEOUT, set_as_default=False))
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise SchedulerError(
                f"--dask {execution.scheduler}: no scheduler answers; start one (dask scheduler) or check the address"
            ) from error
        yield client


def _run(
    client: Any,  # noqa: ANN401 - distributed has no types
    function: Callable[[Item], Value],
    waiting: list[Item],
    killed: list[Item],
) -> Iterator[Outcome[Item, Value]]:
    """Run the waiting items, the last first; those whose workers died are appended to `killed`."""
    running: Running[Item] = {}
    watch = _Watch(client)
    try:
        while waiting or running:
            while waiting and len(running) < watch.n_in_flight:
                future = client.submit(_attempt_in_worker, __version__, function, waiting[-1], pure=False)
                running[future] = waiting.pop()
            for future in _done(watch, list(running)):
                item = running.pop(future)
                outcome = _outcome(future, item)
                future.release()
                if outcome is None:
                    killed.append(item)
                else:
                    yield outcome
    except _losses():
        running.clear()
        raise SchedulerError(_GONE) from None
    finally:
        if running and client.status == "running":  # interrupted: what has not begun is not begun
            with suppress(OSError, *_losses()):  # the scheduler may go away in between
                client.cancel(list(running), force=True)


def _losses() -> "tuple[type[BaseException], ...]":
    """Return the errors by which distributed tells that the scheduler is gone, whatever was asked of it."""
    from distributed import CancelledError  # noqa: PLC0415 - an extra
    from distributed.client import ClosedClientError  # noqa: PLC0415
    from distributed.comm import CommClosedError  # noqa: PLC0415

    return CancelledError, CommClosedError, ClosedClientError


class _Watch:
    """The workers of a cluster, looked at from time to time."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - distributed has no types
        self.client = client
        self.n_in_flight = _IN_FLIGHT_PER_THREAD
        self._warned_s = -_WARN_EVERY_S
        self._looked_s = -_LOOK_EVERY_S
        self.look()

    def look(self) -> None:
        """Adapt the number of items in flight to the threads of the cluster; warn where there is none."""
        now = time.monotonic()
        if now - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now
        if self.client.status not in {"running", "connecting"}:
            raise SchedulerError(_GONE)
        try:
            n_threads = sum(self.client.nthreads().values())
        except OSError as error:
            raise SchedulerError(_GONE) from error
        self.n_in_flight = max(1, _IN_FLIGHT_PER_THREAD * n_threads)
        if not n_threads and now - self._warned_s >= _WARN_EVERY_S:
            self._warned_s = now
            _LOGGER.warning("the Dask scheduler has no workers; waiting for them (start them by `dask worker`)")


_GONE: Final = "the Dask scheduler is gone; start it and run the same command again: what is finished is kept"


def _done(watch: _Watch, futures: list[Any]) -> list[Any]:
    """Return the futures that have ended, at least one."""
    from distributed import wait  # noqa: PLC0415

    while True:
        try:
            with watch.client.as_current():
                return list(wait(futures, timeout=_LOOK_EVERY_S, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            watch.look()
        finally:
            watch.look()


def _outcome(future: Any, item: Item) -> Outcome[Item, Any] | None:  # noqa: ANN401 - distributed has no types
    """Return the outcome of a future that has ended; None where its workers died."""
    from distributed import KilledWorker  # noqa: PLC0415

    if future.status in {"cancelled", "lost"}:
        raise SchedulerError(_GONE)
    try:
        error = future.exception()
        value: Outcome[Item, Any] | None = future.result() if error is None else None
    except _losses():
        raise
    except Exception as unread:  # noqa: BLE001 - whatever unpickling raises
        kind = type(unread).__name__
        return Outcome(item, error=WorkerError(f"what its Dask worker sent cannot be read ({kind}); please report it"))
    if isinstance(error, KilledWorker):
        return None
    if isinstance(error, (ImportError, AttributeError)):  # what a worker cannot unpickle; the item's errors are values
        raise WorkerStartError(
            f"Dask workers cannot import cspine ({error}); install cspine {__version__} where they run"
        ) from error
    if isinstance(error, WorkerStartError):
        raise error
    if value is None:  # what cannot be pickled
        return Outcome(item, error=error)
    return Outcome(item, value.value, value.error)


def _attempt_in_worker(version: str, function: Callable[[Item], Value], item: Item) -> Outcome[None, Value]:
    """Call the function in a worker, which must have the version of cspine that the job has."""
    if version.partition("+")[0] != __version__.partition("+")[0]:
        raise WorkerStartError(
            f"a Dask worker has cspine {__version__}, and this is {version}; install the same version where they run"
        )
    outcome = attempt_in_worker(function, item)
    return Outcome(None, outcome.value, outcome.error)
