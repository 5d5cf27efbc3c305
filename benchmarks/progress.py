"""Progress of long runs as lines of text: on standard error, and in a log file."""

import sys
import time
from pathlib import Path

from cspine.core.progress import Progress

_LINES_PER_STAGE = 20


def print_progress(stage: str, done: int, total: int, /) -> None:
    """Print a time-stamped line to standard error about every twentieth of a stage."""
    line = _line(stage, done, total)
    if line:
        print(line, file=sys.stderr, flush=True)


def log_progress(path: Path) -> Progress:
    """Return a progress callback that prints, and appends to a log file what it prints.

    Parameters
    ----------
    path : Path
        Log file; a resumed run appends to the one of the interrupted run.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def progress(stage: str, done: int, total: int, /) -> None:
        print_progress(stage, done, total)
        line = _line(stage, done, total)
        if line:
            with path.open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    return progress


def _line(stage: str, done: int, total: int) -> str:
    """Return the line for a state of progress; empty between the states that are printed."""
    if done % max(total // _LINES_PER_STAGE, 1):
        return ""
    return f"{time.strftime('%H:%M:%S')} {stage}: {done} of {total}"
