"""How a job is executed: the number of processes, the shard, and the Dask scheduler."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from cspine.core.errors import InputError
from cspine.core.execution.shards import Shard
from cspine.core.extras import require_extra
from cspine.core.storage.locations import as_path, is_remote

LOCAL: Final = "local"
"""In place of a scheduler's address: a cluster of processes on this machine, which ends with the job."""

Item = TypeVar("Item")

_PROTOCOLS: Final = ("tcp://", "tls://", "ws://", "wss://", "ucx://", "inproc://")


@dataclass(frozen=True)
class Execution:
    """How the studies of a job are spread. Results do not depend on it.

    Every pipeline that takes `workers` takes an `Execution` in its place.

    Attributes
    ----------
    workers : int
        Number of processes on this machine, at least 1. Ignored where a scheduler's address is given, whose cluster
        has its own number.
    shard : Shard or None
        The part of the studies that this job does; all of them where None.
    scheduler : str or None
        Address of a Dask scheduler, or ``local`` for a Dask cluster of `workers` processes on this machine; processes
        without Dask where None.
    is_implied : bool
        Whether nobody gave the shard, but the variables of a job array. The array may be something else, such as one
        task for each site, so that such a shard divides only what has several studies.

    Raises
    ------
    InputError
        The address is not one.
    MissingExtraError
        A scheduler is given, and the extra ``dask`` is not installed.

    Examples
    --------
    >>> Execution.of(4)
    Execution(workers=4, shard=None, scheduler=None)
    >>> Execution(workers=2, shard=Shard.parse("3/7")).shard
    Shard(index=3, count=7)
    """

    workers: int = 1
    shard: Shard | None = None
    scheduler: str | None = None
    is_implied: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if self.scheduler is None:
            return
        if self.scheduler != LOCAL and not self.scheduler.startswith(_PROTOCOLS):
            raise InputError(
                f"--dask {self.scheduler}: is no address of a scheduler; give one such as tcp://host:8786, or {LOCAL}"
            )
        require_extra("dask")

    @classmethod
    def of(cls, workers: "int | Execution") -> "Execution":
        """Return an execution, from itself or from a number of processes."""
        return workers if isinstance(workers, Execution) else cls(workers)

    def of_studies(self, count: int) -> "Execution":
        """Return how a collection of so many studies is executed: one study is not divided by an implied shard."""
        return replace(self, shard=None, is_implied=False) if self.is_implied and count <= 1 else self

    def locate(self, location: str | Path) -> Path:
        """Return a location as a path that means the same in all processes that do the work.

        The workers of a Dask cluster run in folders of their own, so that a relative path would be another there.
        Processes of this machine share its folder, and paths stay as they were given.
        """
        path = as_path(location)
        return path if self.scheduler is None or is_remote(path) else path.absolute()

    def locate_name(self, name: str) -> str:
        """Return an option that is a file's path or a name, such as weights; a path is as by `locate`."""
        return str(self.locate(name)) if as_path(name).exists() else name

    def select(self, items: Sequence[Item], key: Callable[[Item], str]) -> list[Item]:
        """Return the items that this job does: those of its shard, or all where it has none.

        Parameters
        ----------
        items : sequence
            All items.
        key : callable
            What identifies an item, such as its StudyInstanceUID.
        """
        return list(items) if self.shard is None else [item for item in items if self.shard.has(key(item))]


Workers = int | Execution
"""Number of processes, or how a job is executed."""
