"""Standard output and standard error of any encoding and state: closed, full, or a pipe whose reader has left."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO

from rich.console import Console

from cspine.core.errors import OutputError

_NO_READER: Final = (errno.EPIPE, errno.EINVAL)
"""The reader of a pipe has left, as ``head`` does; the second is Windows' number."""


def prepare_streams() -> None:
    """Let both streams take any text: what an encoding lacks is replaced, and a closed stream discards it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller, or a program without console on Windows
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for the whole run
        elif name == "stdout" and hasattr(stream, "reconfigure"):  # standard error replaces already
            stream.reconfigure(errors="replace")


def can_show(text: str) -> bool:
    """Return whether the encoding of standard output has all characters of a text.

    >>> can_show("plain")
    True
    """
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@contextmanager
def writing_output() -> Iterator[None]:
    """Report that standard output cannot be written; a reader of a pipe that has left ends the program silently.

    Raises
    ------
    OutputError
        The disk behind it is full, or its device is gone.
    """
    try:
        yield
    except OSError as error:
        discard(sys.stdout)
        if error.errno in _NO_READER:
            raise SystemExit(1) from None
        fact = error.strerror or type(error).__name__
        raise OutputError(
            f"standard output cannot be written ({fact}); redirect it and run the same command again"
        ) from error


class OutputConsole(Console):
    """A console on standard output that reports where it cannot be written."""

    def print(self, *objects: Any, **options: Any) -> None:  # noqa: ANN401, D102 - as of the console of rich
        with writing_output():
            super().print(*objects, **options)


def discard(stream: TextIO) -> None:
    """Let a stream that cannot be written discard everything, so that the program's end does not fail on it."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
