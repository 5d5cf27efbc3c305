"""Cost of what ``cspine predict`` writes: the page alone, with DICOM, with DICOM and FHIR; beside an earlier version.

The study is that of ``benchmarks.imaging``, 350 slices of 512 x 512 pixels, uncompressed. Each command is a fresh
process with a warm file cache, timed from the start of the interpreter to its exit. In every repeat the versions run in
turn, and the ratio is the median of the repeats' ratios, so that it depends little on the machine's load; processor
time, of all threads, depends on it less than wall-clock time.

Run: ``python -m benchmarks.outputs --repeats 5 --before CHECKOUT --work DIR``; CHECKOUT is a source tree of the earlier
version, which runs with the same libraries.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from benchmarks.processes import ProcessCost, measure_process

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "predict": (),
    "predict --dicom": ("--dicom",),
    "predict --dicom --fhir": ("--dicom", "--fhir"),
}
TARGETS = {
    "predict, s": "2.5",
    "predict --dicom --fhir, s": "5",
    "predict --dicom --fhir, peak memory, MB": "1,000",
    "captures, MB": "2",
}

Costs = dict[str, list[ProcessCost]]
"""Costs of each command, one per repeat."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="measurements, of which the median is reported")
    parser.add_argument("--before", type=Path, help="source tree of the earlier version")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    tables = ("outputs", "outputs-0-1")
    parser.add_argument("--table", default=tables[0], choices=tables, help="the second is that beside 0.1")
    options = parser.parse_args()
    from benchmarks.imaging import prepare_series  # not at the top: see benchmarks.processes

    study = prepare_series(options.work, "uncompressed")
    versions: dict[str, dict[str, str]] = {"now": {}} | (
        {"before": {"PYTHONPATH": str(options.before / "src")}} if options.before else {}
    )
    costs: dict[str, Costs] = {version: {name: [] for name in COMMANDS} for version in versions}
    sizes: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as out:
        for number in range(options.repeats):
            for name, arguments in COMMANDS.items():
                for version, environment in versions.items():
                    folder = Path(out) / f"{version}-{number}-{len(arguments)}"
                    command = (sys.executable, "-m", "cspine", "predict", str(study), "--out", str(folder), *arguments)
                    cost = measure_process(*command, environment=environment)
                    costs[version][name].append(cost)
                    sys.stderr.write(f"{version}: {name}: {cost.seconds:.2f} s, processor {cost.cpu_seconds:.2f} s\n")
                    sizes[version] = sizes_mb(folder / "dicom")
    show(options.work, options.table, costs, sizes)


def sizes_mb(folder: Path) -> dict[str, float]:
    """Return the size of all objects of a study, and that of its captures."""
    from pydicom import dcmread
    from pydicom.uid import SecondaryCaptureImageStorage

    sizes = {"all objects, MB": 0.0, "captures, MB": 0.0}
    for path in folder.glob("*.dcm"):
        is_capture = dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID == SecondaryCaptureImageStorage
        for name in ("all objects, MB", *(("captures, MB",) if is_capture else ())):
            sizes[name] += path.stat().st_size / 1e6
    return sizes


def show(work: Path, table: str, costs: Mapping[str, Costs], sizes: Mapping[str, Mapping[str, float]]) -> None:
    """Save the table: each measure now, before, and the earlier as a multiple of the present one."""
    from benchmarks.tables import save_table
    from cspine.reports.evaluation.sections import Table

    measures = {version: dict(_measures(costs[version], sizes[version])) for version in costs}
    rows = []
    for name, now in measures["now"].items():
        row = [name, TARGETS.get(name, ""), _format(now)]
        if "before" in measures:
            before = measures["before"][name]
            ratios = [each / ours for each, ours in zip(before, now, strict=True) if ours]
            row += [_format(before), f"{median(ratios):.2f}" if ratios else ""]
        rows.append(tuple(row))
    header = ("measure", "target", *costs, *(("before / now",) if "before" in costs else ()))
    save_table(work, table, Table(header, tuple(rows)))


def _measures(costs: Costs, sizes: Mapping[str, float]) -> Iterator[tuple[str, list[float]]]:
    for name, each in costs.items():
        yield f"{name}, s", [cost.seconds for cost in each]
        yield f"{name}, processor time, s", [cost.cpu_seconds for cost in each]
        yield f"{name}, peak memory, MB", [cost.peak_mb for cost in each]
    for name, size in sizes.items():
        yield name, [size]


def _format(values: list[float]) -> str:
    """Return the median."""
    value = median(values)
    return f"{value:,.{2 if value < 100 else 0}f}"


if __name__ == "__main__":
    main()
