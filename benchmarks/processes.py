"""Measurements in fresh processes, so that imports and caches of one measurement do not speed up the next.

This module imports nothing outside the standard library: Linux counts the parent's memory at the fork as the child's
peak, so a benchmark that measures memory must stay small itself.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ProcessCost:
    """Cost of one process.

    Attributes
    ----------
    seconds : float
        Wall-clock time from start to exit.
    peak_mb : float
        Peak resident memory, in units of 10^6 bytes.
    cpu_seconds : float
        Processor time of all threads. Other programs on the machine change it less than the wall-clock time.
    """

    seconds: float
    peak_mb: float
    cpu_seconds: float


def measure_process(*command: str, environment: Mapping[str, str] | None = None) -> ProcessCost:
    """Run a command to its end and measure it; a command that fails ends the benchmark.

    Parameters
    ----------
    *command : str
        Program and arguments; its output is discarded.
    environment : mapping of str to str, optional
        Variables that are set in addition to those of this process. Python may write bytecode, as `pip` does when it
        installs a package: a source tree without it takes 0.2 s longer to import.
    """
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": ""} | dict(environment or {})
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)  # wait4 has reaped it already
    if status:
        sys.exit(f"failed with exit status {process.returncode}: {' '.join(command)}")
    return ProcessCost(seconds, usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)


def run_module(module: str, *arguments: object) -> Any:
    """Run ``python -m module`` in a fresh process and return the JSON in the last line of its output.

    Parameters
    ----------
    module : str
        Dotted name of a benchmark; if it fails, the benchmark that called it ends with its error output.
    *arguments : object
        Command-line arguments, as `str` shows them.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
