"""How long work tells how far it is: a callback, drawn by whoever called."""

from typing import Protocol


class Progress(Protocol):
    """Called with the stage's name, what is done and the total, in whatever the stage counts."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Take note of the progress; must return quickly and must not raise."""


def silent(stage: str, done: int, total: int, /) -> None:
    """Ignore the progress: the default where nobody watches."""
