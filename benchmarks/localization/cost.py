"""Time and memory of the localizer: a neck, a pan-scan, and fifty scans in one process.

Every measurement is a fresh process that holds the volume in memory. Where an earlier localizer is named, both are
measured in turn, so that the load of the machine cancels out. Linux only.

Run: ``python -m benchmarks.localization.cost --out DIR --repeats 5 [--localizer FILE] [--previous FILE]``
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.localization.straight import straight_volume
from benchmarks.processes import run_module

NECK, PAN_SCAN, MANY = "neck", "pan-scan", "many"
N_MANY: Final = 50

_SEED: Final = 18_003
_RENDERED_MM: Final = 3.0
"""Phantoms are rendered on voxels of this size and interpolated: the localizer sees no finer ones."""

_WARM_CALLS: Final = 3
"""Calls that are timed in each process, after one that is not."""

_FIRST_SCANS: Final = 10
"""Growth is counted from here on: the first scans set the size of what is kept."""

_MEBI_TO_MEGA: Final = 1024 / 1e6


@dataclass(frozen=True)
class Target:
    """A scan that is measured.

    Attributes
    ----------
    name : str
        What it is, in words.
    kind : str
        Kind of the body phantom's scan.
    shape : (int, int, int)
        Slices, rows and columns.
    voxel_mm : (float, float, float)
        Spacing along k, j and i.
    max_seconds, max_mb : float or None
        Limits that have to be met.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]
    max_seconds: float
    max_mb: float | None


TARGETS: Final = {
    NECK: Target("350 slices of 512 x 512, 0.35 x 0.7 mm", "neck", (350, 512, 512), (0.7, 0.35, 0.35), 0.3, None),
    PAN_SCAN: Target(
        "pan-scan, 1,000 slices of 512 x 512, 50 cm", "pan-scan", (1000, 512, 512), (0.9, 0.977, 0.977), 1.0, 700.0
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", "--work", type=Path, required=True, help="run folder")
    parser.add_argument("--localizer", default="", help="name or ONNX file of a localizer; the embedded one if omitted")
    parser.add_argument("--previous", default="", help="ONNX file of an earlier localizer, measured in turn")
    parser.add_argument("--repeats", type=int, default=5, help="processes, of which the median is reported")
    parser.add_argument("--one", choices=[*TARGETS, MANY], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure = measure_many if options.one == MANY else measure_target
        sys.stdout.write(json.dumps(measure(options.one, options.out, options.localizer)) + "\n")
        return
    localizers = {"this": options.localizer} | ({"previous": options.previous} if options.previous else {})
    measured = measure_all(options.out, localizers, options.repeats)
    from benchmarks.tables import save_table  # not at the top: the measured processes stay small
    from cspine.core.files import write_json
    from cspine.reports.evaluation.sections import Table

    write_json(options.out / "localization-cost.json", measured)
    header = ("measure", "limit", *localizers)
    save_table(options.out, "localization-cost", Table(header, tuple(cost_rows(measured, list(localizers)))))


def measure_all(out: Path, localizers: dict[str, str], repeats: int) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Measure every target with every localizer in turn.

    Returns
    -------
    dict
        Target to name of the localizer to its measurements; none of a localizer that does not run.
    """
    for name in TARGETS:
        prepare(name, out)
    measured: dict[str, dict[str, list[dict[str, float]]]] = {}
    for target in (*TARGETS, MANY):
        measured[target] = {name: [] for name in localizers}
        for _ in range(1 if target == MANY else repeats):
            for name, localizer in localizers.items():
                try:
                    arguments = ("--out", out, "--localizer", localizer, "--one", target)
                    measured[target][name].append(run_module("benchmarks.localization.cost", *arguments))
                except SystemExit as error:
                    if name == "this":
                        raise
                    print(f"{name}: {str(error).splitlines()[-1]}", file=sys.stderr)
    return measured


def cost_rows(
    measured: dict[str, dict[str, list[dict[str, float]]]], localizers: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table: measure, limit, and the median of each localizer."""
    for name, target in TARGETS.items():
        limits = (f"{target.max_seconds:g}", "", "" if target.max_mb is None else f"{target.max_mb:g}")
        keys = (("seconds", "s, warm", 2), ("peak_mb", "MB, peak with the volume", 0),
                ("above_mb", "MB, peak above the volume", 0))  # fmt: skip
        for (key, unit, digits), limit in zip(keys, limits, strict=True):
            cells = [_median(measured[name][localizer], key, digits) for localizer in localizers]
            yield f"{target.name}: {unit}", limit, *cells
    keys = (("growth_mb", f"MB, growth from scan {_FIRST_SCANS} to {N_MANY}", 0),
            ("held_mb", "MB, held after them", 0), ("peak_mb", "MB, peak", 0))  # fmt: skip
    for key, unit, digits in keys:
        cells = [_median(measured[MANY][localizer], key, digits) for localizer in localizers]
        yield f"{N_MANY} scans of all kinds in one process: {unit}", "", *cells


def _median(runs: Sequence[dict[str, float]], key: str, digits: int) -> str:
    if not runs:
        return "does not run"
    values = [run[key] for run in runs]
    spread = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.{digits}f}{spread}"


# --- measured processes ----------------------------------------------------------------------------------------------


def measure_target(name: str, out: Path, localizer: str) -> dict[str, float]:
    """Localize one volume several times, and return the median time and the peak memory."""
    import highdicom

    from cspine.localization.loading import load_localizer

    target = TARGETS[name]
    loaded = load_localizer(localizer or None)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = target.voxel_mm
    affine[3, 3] = 1.0
    volume = highdicom.Volume(np.load(_volume_file(name, out)), affine, "PATIENT")
    _reset_peak()
    before, seconds = _status_mb("VmRSS"), []
    for _ in range(_WARM_CALLS + 1):
        started = time.perf_counter()
        spine_map = loaded(volume)
        seconds.append(time.perf_counter() - started)
    peak = _status_mb("VmHWM")
    return {
        "seconds": statistics.median(seconds[1:]),
        "first_seconds": seconds[0],
        "peak_mb": peak,
        "above_mb": peak - before,
        "n_vertebrae": len(spine_map.vertebrae),
    }


def measure_many(_: str, __: Path, localizer: str) -> dict[str, float]:
    """Localize scans of all kinds in this process, and return how its resident memory grows."""
    from cspine.core.errors import NotAssessableError
    from cspine.localization.loading import load_localizer

    loaded = load_localizer(localizer or None)
    resident = []
    for index in range(N_MANY):
        hu, affine = _render(index, None)
        with suppress(NotAssessableError):  # an answer, too
            loaded(straight_volume(hu, affine))
        del hu
        resident.append(_status_mb("VmRSS"))
    return {
        "growth_mb": resident[-1] - resident[_FIRST_SCANS - 1],
        "held_mb": resident[-1],
        "peak_mb": _status_mb("VmHWM"),
    }


def _status_mb(key: str) -> float:
    """Return an entry of /proc/self/status in units of 10^6 bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * _MEBI_TO_MEGA


def _reset_peak() -> None:
    """Let VmHWM, the peak of the resident memory, begin anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


# --- volumes ---------------------------------------------------------------------------------------------------------


def prepare(name: str, out: Path) -> None:
    """Write the volume of a target, unless that is done."""
    path = _volume_file(name, out)
    if path.is_file():
        return
    from scipy import ndimage

    target = TARGETS[name]
    hu, affine = _render(0, target)
    step = np.array(target.voxel_mm) / np.linalg.norm(affine[:3, :3], axis=0)
    first = (np.array(hu.shape) - 1) / 2 - step * (np.array(target.shape) - 1) / 2
    fine = ndimage.affine_transform(hu, step, first, target.shape, order=1, mode="nearest")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, fine)


def _volume_file(name: str, out: Path) -> Path:
    return out / "cost" / f"{name}.npy"


def _render(index: int, target: Target | None) -> tuple[Any, Any]:
    """Return HU and affine of a body phantom, of the kind of a target or of any kind."""
    from cspine.phantom.body.render import render_body_volume
    from cspine.phantom.body.sampler import draw_body
    from cspine.phantom.body.settings import BODY_DOMAINS

    settings = BODY_DOMAINS["source"]
    if target is not None:
        settings = settings.model_copy(update={"kinds": {target.kind: 1.0}})
    rendered = render_body_volume(*draw_body(_SEED, index, settings), min_spacing_mm=_RENDERED_MM)
    return rendered.hu, rendered.affine_lps


if __name__ == "__main__":
    main()
