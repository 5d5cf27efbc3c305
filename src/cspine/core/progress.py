"""Progress of long work: a callback that the caller provides."""

from typing import Protocol


class Progress(Protocol):
    """Callback with the name of the stage, the count done and the total."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Receive the progress; must return quickly and must not raise."""


def silent(stage: str, done: int, total: int, /) -> None:
    """Ignore the progress; the default."""
