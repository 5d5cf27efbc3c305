"""Start-up time of the package and the command line, and the size of a base installation.

Each measurement is a fresh process with a warm file cache. In every repeat each command is run in turn with
``python -c pass``, so that the ratio does not depend on the machine's load; medians of all repeats are reported. The
limits are those of the project: 0.1 s for ``import cspine``, 0.3 s for ``cspine --help``, 0.6 s for ``Detector.load()``
with its imports, and 500 MB for an installation without extras.

Run: ``python -m benchmarks.startup --repeats 11 --work DIR``; ``--install`` also makes a virtual environment with the
base dependencies alone in a temporary folder and measures its size (needs the package index, takes minutes).
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.processes import measure_process

MAX_INSTALL_MB = 500
EMPTY = "python -c pass"


@dataclass(frozen=True)
class Startup:
    """A command whose start-up is measured, and the longest time that it may take."""

    name: str
    arguments: tuple[str, ...]
    max_ms: float | None = None


STARTUPS = (
    Startup(EMPTY, ("-c", "pass")),
    Startup("python -c 'import cspine'", ("-c", "import cspine"), max_ms=100),
    Startup("cspine --help", ("-m", "cspine", "--help"), max_ms=300),
    Startup("Detector.load(), with imports", ("-c", "from cspine import Detector; Detector.load()"), max_ms=600),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11, help="measurements, of which the median is reported")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--install", action="store_true", help="also measure the size of a base installation")
    options = parser.parse_args()
    rows = startup_rows(measure_startups(options.repeats))
    if options.install:
        rows.append(("base installation, MB", f"{measure_install_mb():.0f}", "", "", f"{MAX_INSTALL_MB}"))
    from benchmarks.tables import save_table  # not at the top: a parent's memory slows down the start of its children
    from cspine.reports.evaluation.sections import Table

    header = ("measure", "median", "lowest to highest", f"times {EMPTY}", "limit")
    save_table(options.work, "startup", Table(header, tuple(rows)))


def measure_startups(repeats: int) -> dict[str, list[float]]:
    """Run every command once unmeasured, then all of them in turn `repeats` times.

    Returns
    -------
    dict of str to list of float
        Name of each command to its milliseconds, in the same order of repeats.
    """
    milliseconds: dict[str, list[float]] = {startup.name: [] for startup in STARTUPS}
    for repeat in range(repeats + 1):
        for startup in STARTUPS:
            cost = measure_process(sys.executable, *startup.arguments)
            if repeat:  # the first run fills the file cache
                milliseconds[startup.name].append(1000 * cost.seconds)
    return milliseconds


def startup_rows(milliseconds: dict[str, list[float]]) -> list[tuple[str, ...]]:
    """Return the table's rows: median, range, and median ratio to the empty interpreter of the same repeat."""
    rows: list[tuple[str, ...]] = []
    for startup in STARTUPS:
        own = milliseconds[startup.name]
        ratio = median(one / empty for one, empty in zip(own, milliseconds[EMPTY], strict=True))
        limit = "" if startup.max_ms is None else f"{startup.max_ms:.0f}"
        rows.append(
            (f"{startup.name}, ms", f"{median(own):.0f}", f"{min(own):.0f} to {max(own):.0f}", f"{ratio:.1f}", limit)
        )
    return rows


def measure_install_mb() -> float:
    """Install the base package into a new virtual environment and return the environment's size on disk.

    Returns
    -------
    float
        Size in units of 10^6 bytes, with the package, its dependencies and their compiled bytecode, without pip.
    """
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "--python", str(environment / "bin" / "python"), "install", str(root)], check=True)
        usage = subprocess.run(["du", "-s", "-B1", str(environment)], check=True, capture_output=True, text=True)
        return int(usage.stdout.split()[0]) / 1e6


if __name__ == "__main__":
    main()
