"""What it takes to read one study: ``cspine predict`` as a command, a warm detector in Python, and where the time goes.

The study is that of ``benchmarks.imaging``, 350 slices of 512 x 512 pixels. The command is timed whole, start of the
interpreter and report included, with a warm cache. In Python, a detector that has read the study once reads it again,
in turn with loading alone; stages are timed in the same process. Medians of all rounds, of the transfer syntax named.

Run: ``python -m benchmarks.predict --rounds 7 --work DIR``
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

COMMAND, MEMORY = "cspine predict, the whole command", "its peak memory, MB"
WARM, LOAD = "Detector.read, warm", "of it: discovery, choice, volume (loading alone)"
RATIO = "warm read / loading alone, times"
ASKED = {COMMAND: "5", MEMORY: "1,000", WARM: "2", RATIO: "2"}
"""Of the uncompressed study."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--syntaxes", nargs="*", default=["uncompressed"], help="as benchmarks.imaging names them")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(json.dumps(warm(options.one, options.rounds)) + "\n")
        return
    from benchmarks.imaging import prepare  # not in the process that is timed: it brings numpy

    told: dict[str, dict[str, list[float]]] = {}
    for syntax in options.syntaxes:
        folder = prepare(options.work, syntax)
        found: dict[str, list[float]] = {COMMAND: [], MEMORY: []}
        for _ in range(options.rounds):
            seconds, peak = command(folder)
            found[COMMAND].append(seconds)
            found[MEMORY].append(peak)
        run = [sys.executable, "-m", "benchmarks.predict", "--work", str(options.work), "--rounds", str(options.rounds)]
        done = subprocess.run([*run, "--one", str(folder)], check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"reading {folder} failed:\n{done.stderr}")
        found.update(json.loads(done.stdout.splitlines()[-1]))
        told[syntax] = found
    from benchmarks.tables import keep
    from cspine.reports.evaluation.sections import Table

    rows = tuple(
        (_named(what), ASKED.get(what, ""), *(_spread(found[what]) for found in told.values()))
        for what in next(iter(told.values()))
    )
    keep(options.work, "predict", Table(("what", "asked", *told), rows))


def _named(what: str) -> str:
    return what if what in {MEMORY, RATIO} else f"{what}, s"


def _spread(values: list[float]) -> str:
    """Return the median, and the lowest and the highest where they differ."""
    middle, low, high = (f"{value:.{2 if value < 100 else 0}f}" for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def command(folder: Path) -> tuple[float, float]:
    """Run the command in a process of its own; return its seconds and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "cspine", "predict", str(folder), "--out", f"{out}/result"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    if status:
        sys.exit(f"cspine predict {folder} failed")
    return seconds, usage.ru_maxrss * 1024 / 1e6


def warm(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a fresh process's start, and of each stage once everything was used before."""
    spent: dict[str, list[float]] = {}

    @contextmanager
    def timed(what: str) -> Any:
        started = time.perf_counter()
        yield
        spent.setdefault(what, []).append(time.perf_counter() - started)

    with timed("imports, in a fresh process"):
        from cspine.dicom.open_series import load_volume
        from cspine.dicom.series_selection import select_series
        from cspine.dicom.study_collection import open_collection
        from cspine.localization.compiler import compile_volume
        from cspine.pipelines.predict import Detector
        from cspine.pipelines.predict_batch import write_examination
    with timed("loading both networks"):
        detector = Detector.load()
    with timed("Detector.read, the first time"):
        detector.predict(folder)

    def load() -> tuple[Any, Any]:
        study = open_collection(folder).studies[0].open()
        selection = select_series(study)
        return selection, load_volume(selection.selected)

    locate = detector.classifier.compiler.localizer
    if locate is None:
        sys.exit("the default detector has no localizer")
    for _ in range(rounds):
        with timed(WARM):
            detector.predict(folder)
        with timed(LOAD):
            _, volume = load()
        with timed("of it: localizer"):
            spine = locate(volume)
        ready = replace(detector.classifier.compiler, localizer=_Known(spine, locate.sha256))
        with timed("of it: vertebrae's views, metal and motion"):
            images = compile_volume(volume, ready)
        source = open_collection(folder).studies[0]
        case_result = detector.predict_case(source)
        if case_result.compiled is None:
            sys.exit("the study is refused")
        with timed("of it: level network, calibration, evidence"):
            detector.classifier.predict(replace(case_result.compiled, images=images))
        with timed("sagittal images"):
            _ = images.sagittal
        with tempfile.TemporaryDirectory() as out, timed("findings and report, sagittal images among them"):
            write_examination(case_result, Path(out))
    spent[RATIO] = [read / alone for read, alone in zip(spent[WARM], spent[LOAD], strict=True)]
    return spent


class _Known:
    """A locator that has found the vertebrae before."""

    def __init__(self, spine: Any, sha256: str) -> None:
        self._spine, self.sha256 = spine, sha256

    def __call__(self, volume: Any) -> Any:  # noqa: ARG002
        return self._spine


if __name__ == "__main__":
    main()
