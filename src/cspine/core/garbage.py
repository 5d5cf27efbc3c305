"""Python's cyclic garbage collector in programs that read, predict and end."""

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 10, 10)
"""Imports, DICOM objects and the tables of their libraries are a million objects that live to the end of a process; the
usual thresholds look through them for a tenth of its time."""


def collect_less_often() -> None:
    """Let the collector run at thresholds for processes of cspine: a command, a worker, a process that predicts."""
    gc.set_threshold(*_THRESHOLDS)
