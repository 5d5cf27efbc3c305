"""Every stage on studies of real size: time, processor time, memory and bytes, in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import measure_process

CHALLENGE_STUDIES: Final = 2019


@dataclass(frozen=True)
class StageCost:
    """Cost of a stage.

    Attributes
    ----------
    name : str
        The stage.
    processes : str
        Number of processes and of processors.
    n_studies : int
        Studies that it worked on.
    seconds, cpu_seconds : float
        Wall-clock time of the whole command, and processor time of all its processes.
    peak_mb : float
        Peak resident memory of its largest process, MB.
    read_mb, written_mb : float
        Bytes that its processes read by system calls, from disk or from the page cache, and size of its output, MB.
    """

    name: str
    processes: str
    n_studies: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    read_mb: float
    written_mb: float

    def of_challenge(self) -> tuple[float, float]:
        """Return hours and GB of output of the challenge's 2,019 studies, in proportion."""
        factor = CHALLENGE_STUDIES / self.n_studies
        return self.seconds * factor / 3600, self.written_mb * factor / 1000


def measure_stage(
    name: str, command: Sequence[str], out: Path, *, n_studies: int, workers: int, processor: int | None = None
) -> StageCost:
    """Run a command to its end and measure it.

    Parameters
    ----------
    name : str
        The stage.
    command : sequence of str
        Arguments of ``cspine``; or of Python, where they begin with ``-m``.
    out : Path
        What it writes.
    n_studies : int
        Studies that it works on.
    workers : int
        Its processes.
    processor : int, optional
        The only processor that it may use; all where omitted.
    """
    pinned = ["taskset", "-c", str(processor)] if processor is not None else []
    before = _bytes_read()
    cost = measure_process(*pinned, sys.executable, *module_command(command))
    read_mb = (_bytes_read() - before) / 1e6
    processors = "1 processor" if processor is not None else "all processors"
    return StageCost(
        name,
        f"{workers}, {processors}",
        n_studies,
        cost.seconds,
        cost.cpu_seconds,
        cost.peak_mb,
        read_mb,
        size_mb(out),
    )


def module_command(command: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of Python: those of ``cspine``, or of a module that ``-m`` names."""
    return tuple(command) if command[0] == "-m" else ("-m", "cspine", *command)


def size_mb(path: Path) -> float:
    """Return the size of a file, or of all files in a folder, MB."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _bytes_read() -> int:
    """Return the bytes that this process and its ended children read (Linux)."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar:")))
