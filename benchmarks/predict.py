"""Cost of one study: the command ``cspine predict``, a warm detector in Python, and the time of each stage.

The study is that of ``benchmarks.imaging``, 350 slices of 512 x 512 pixels. The command is timed from the start of the
interpreter to the written report, with a warm file cache. In Python, a detector that has predicted the study once
predicts it again, in turn with loading alone; stages are timed in the same process. Values are medians of all repeats
for each transfer syntax.

Run: ``python -m benchmarks.predict --repeats 7 --work DIR``
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import ProcessCost, measure_process, run_module

COMMAND, MEMORY = "cspine predict, whole command", "its peak memory, MB"
WARM, LOAD = "Detector.predict, warm", "of it: discovery, series selection, volume (loading alone)"
RATIO = "warm prediction / loading alone, times"
TARGETS = {COMMAND: "5", MEMORY: "1,000", WARM: "2", RATIO: "2"}
"""Target of each measure, for the uncompressed study."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="measurements, of which the median is reported")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--syntaxes", nargs="*", default=["uncompressed"], help="names as in benchmarks.imaging")
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.study:
        sys.stdout.write(json.dumps(measure_stages(options.study, options.repeats)) + "\n")
        return
    measured = {syntax: measure(options.work, syntax, options.repeats) for syntax in options.syntaxes}
    show(options.work, measured)


def measure(work: Path, syntax: str, repeats: int) -> dict[str, list[float]]:
    """Measure the command and the stages on the study in one transfer syntax.

    Returns
    -------
    dict of str to list of float
        Each measure to its values.
    """
    from benchmarks.imaging import prepare_series  # not at the top: the process that times imports must not have numpy

    folder = prepare_series(work, syntax)
    costs = [measure_command(folder) for _ in range(repeats)]
    stages = run_module("benchmarks.predict", "--work", work, "--repeats", repeats, "--study", folder)
    return {COMMAND: [cost.seconds for cost in costs], MEMORY: [cost.peak_mb for cost in costs], **stages}


def show(work: Path, measured: dict[str, dict[str, list[float]]]) -> None:
    """Save the table, with a column per transfer syntax."""
    from benchmarks.tables import save_table
    from cspine.reports.evaluation.sections import Table

    rows = tuple(
        (
            name if name in {MEMORY, RATIO} else f"{name}, s",
            TARGETS.get(name, ""),
            *(_format_spread(values[name]) for values in measured.values()),
        )
        for name in next(iter(measured.values()))
    )
    save_table(work, "predict", Table(("measure", "target", *measured), rows))


def _format_spread(values: list[float]) -> str:
    """Return the median, and the lowest and highest value where they differ."""
    center, low, high = (f"{value:.{2 if value < 100 else 0}f}" for value in (median(values), min(values), max(values)))
    return center if low == high else f"{center} ({low} to {high})"


def measure_command(study: Path) -> ProcessCost:
    """Measure ``cspine predict`` on a study, in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        return measure_process(sys.executable, "-m", "cspine", "predict", str(study), "--out", f"{out}/result")


class Stopwatch:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Time the body of a ``with`` statement."""
        started = time.perf_counter()
        yield
        self.seconds.setdefault(stage, []).append(time.perf_counter() - started)


def measure_stages(study: Path, repeats: int) -> dict[str, list[float]]:
    """Measure imports and loading once, and each stage of a warm prediction several times.

    Parameters
    ----------
    study : Path
        Folder of the series.
    repeats : int
        How often the warm stages are timed.

    Returns
    -------
    dict of str to list of float
        Seconds of each stage, and the ratio of a warm prediction to loading.
    """
    watch = Stopwatch()
    with watch.time("imports, in a fresh process"):
        from cspine.dicom.study_collection import open_collection
        from cspine.pipelines import case_folder, predict
    with watch.time("loading both networks"):
        detector = predict.Detector.load()
    with watch.time("Detector.predict, first time"):
        detector.predict(study)
    for _ in range(repeats):
        case_result = _time_prediction(watch, detector, study)
        with tempfile.TemporaryDirectory() as out, watch.time("findings and report, sagittal images included"):
            source = open_collection(study).studies[0]
            settings = case_folder.PredictSettings()
            case_folder.CaseFolder(source, Path(out), settings, source.fingerprint(), is_single=True).write(case_result)
    ratios = [warm / loading for warm, loading in zip(watch.seconds[WARM], watch.seconds[LOAD], strict=True)]
    return {**watch.seconds, RATIO: ratios}


def _time_prediction(watch: Stopwatch, detector: Any, study: Path) -> Any:
    """Time a warm prediction and its stages; return the case's result."""
    from cspine.dicom.loading import load_volume
    from cspine.dicom.series_selection import select_series
    from cspine.dicom.study_collection import open_collection
    from cspine.localization.compiler import compile_volume

    compiler = detector.classifier.compiler
    if compiler.localizer is None:
        sys.exit("the default detector has no localizer")
    with watch.time(WARM):
        detector.predict(study)
    with watch.time(LOAD):
        volume = load_volume(select_series(open_collection(study).studies[0].open()).selected)
    with watch.time("of it: localizer"):
        spine = compiler.localizer(volume)
    known = replace(compiler, localizer=_KnownSpine(spine, compiler.localizer.sha256))
    with watch.time("of it: level views, metal and motion"):
        images = compile_volume(volume, known)
    case_result = detector.predict_case(open_collection(study).studies[0])
    if case_result.compiled is None:
        sys.exit(f"{study}: is not assessable; give another study")
    with watch.time("of it: level network, calibration, evidence"):
        detector.classifier.predict(replace(case_result.compiled, images=images))
    with watch.time("sagittal images"):
        _ = images.sagittal
    return case_result


class _KnownSpine:
    """A localizer that returns a spine map computed before, so that it costs nothing."""

    def __init__(self, spine: Any, sha256: str) -> None:
        self._spine, self.sha256 = spine, sha256

    def __call__(self, volume: Any) -> Any:  # noqa: ARG002
        return self._spine


if __name__ == "__main__":
    main()
