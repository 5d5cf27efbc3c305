"""Observers of a run: functions that are called after each epoch, such as to report a metric or to stop a poor run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

EpochObserver = Callable[[str, Sequence[dict[str, float]]], None]
"""Called with the name of the stage, `MAIN_STAGE` for that of the network itself, and the rows of all its epochs."""

MAIN_STAGE: Final = "steps"

_OBSERVERS: ContextVar[tuple[EpochObserver, ...]] = ContextVar("epoch_observers", default=())


@contextmanager
def observe_epochs(observer: EpochObserver) -> Iterator[None]:
    """Have an observer called after each epoch of whatever is trained within the context.

    An exception that it raises ends the run, after the epoch's checkpoint.

    Parameters
    ----------
    observer : callable
        Takes the stage and its learning curve.

    Examples
    --------
    >>> seen = []
    >>> with observe_epochs(lambda stage, curve: seen.append((stage, len(curve)))):
    ...     notify_observers("steps", [{"epoch": 1.0}])
    >>> seen
    [('steps', 1)]
    """
    token = _OBSERVERS.set((*_OBSERVERS.get(), observer))
    try:
        yield
    finally:
        _OBSERVERS.reset(token)


def notify_observers(stage: str, curve: Sequence[dict[str, float]]) -> None:
    """Call every observer; the trainer does this after each epoch."""
    for observer in _OBSERVERS.get():
        observer(stage, curve)
