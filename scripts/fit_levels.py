"""Fit the numbers of the level assignment on scans that the localizer was not trained on, and rate them.

Run: ``python -m scripts.fit_levels --localizer FILE --seed N --scans 200 --out levels.json``. Phantoms of the source
domain are drawn from a seed of their own. With ``--real DIR --held-out JSON``, real scans are localized by networks
that were trained without them, as in ``python -m benchmarks.localization``.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import highdicom
import numpy as np
import scipy
from benchmarks.localization.real import RealRun
from benchmarks.localization.scans import REAL_SCANS, SCANS_BY_NAME
from benchmarks.localization.straight import straight_volume
from benchmarks.localization.truth import read_truth
from benchmarks.progress import log_progress

from cspine.core.execution.parallel import parallel_map
from cspine.core.files import read_json, write_json
from cspine.core.progress import Progress
from cspine.core.typing import Floats
from cspine.localization.cascade.assembly import to_detections
from cspine.localization.level_evidence import AnchorEvidence
from cspine.localization.loading import load_localizer
from cspine.localization.localizer import Localizer
from cspine.localization.scan import Scan
from cspine.phantom.body.render import render_body_volume
from cspine.phantom.body.sampler import draw_body
from cspine.phantom.body.settings import BODY_DOMAINS
from cspine.spine.level_settings import LEVELS, LevelAssignmentSettings
from cspine.training.localizer.fit_levels import LabeledScan, fit_level_assignment, level_reliability

SEED: Final = 5101
SCANS: Final = 70
"""Phantoms that the shipped numbers were chosen on, and their seed; no network is trained on them."""

MIN_SPACING_MM: Final = 1.3
"""Phantoms are rendered in voxels of at least this size, since no network sees smaller ones."""

MAX_DISTANCE_MM: Final = 8.0
"""A detection is the vertebra whose origin is nearest, up to this distance: half of that between neighbors."""

REAL_REPEAT: Final = 2
"""Weight of a real scan relative to a phantom's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--localizer", type=Path, required=True, help="weights file")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the phantoms")
    parser.add_argument("--scans", type=int, default=SCANS, help="number of phantoms")
    parser.add_argument("--real", type=Path, help="folder of real CT")
    parser.add_argument("--held-out", type=Path, help="JSON: name of a real scan to the localizer trained without it")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="JSON file that is written")
    options = parser.parse_args()
    held_out = read_json(options.held_out) if options.held_out else {}
    fit_levels(
        options.localizer,
        options.out,
        seed=options.seed,
        scans=options.scans,
        real=options.real,
        held_out=held_out,
        workers=options.workers,
    )


def fit_levels(
    localizer: Path,
    out: Path,
    *,
    seed: int = SEED,
    scans: int = SCANS,
    real: Path | None = None,
    held_out: Mapping[str, str] = MappingProxyType({}),
    workers: int = 1,
) -> None:
    """Fit the numbers of the level assignment, and print how reliable the confidence is with those of the other half.

    Parameters
    ----------
    localizer : Path
        Weights file.
    out : Path
        JSON file that is written; the log goes beside it.
    seed, scans : int
        Seed and number of the phantoms.
    real : Path, optional
        Folder of real CT.
    held_out : dict
        Name of a real scan that took part in training to the localizer that was trained without it.
    workers : int
        Number of processes.
    """
    progress = log_progress(out.with_suffix(".log"))
    phantoms = label_phantoms(localizer, seed, scans, workers, progress)
    labeled: list[LabeledScan] = []
    if real is not None:
        labeled = label_real(RealRun(out.parent, real, str(localizer), held_out=held_out), workers, progress)
    halves = [phantoms[half::2] + labeled[half::2] * REAL_REPEAT for half in (0, 1)]
    fitted = [fit_level_assignment(half) for half in halves]
    for name, scans_of in (("phantoms", phantoms), ("real scans", labeled)):
        if scans_of:
            _print_reliability(name, [scans_of[1::2], scans_of[::2]], fitted)
    settings = fit_level_assignment(halves[0] + halves[1])
    write_json(out, settings.model_dump(mode="json"))
    print(json.dumps(settings.model_dump(mode="json", exclude={"spacing_mm", "first_level_log_prior"})))


def label_phantoms(localizer: Path, seed: int, scans: int, workers: int, progress: Progress) -> list[LabeledScan]:
    """Return the detections in phantoms of the source domain, with their true levels."""
    jobs = parallel_map(
        partial(_label_phantom, localizer, seed), range(scans), workers=workers, stage="phantoms", progress=progress
    )
    return [scan for job in jobs if (scan := job.get()) is not None]


def label_real(run: RealRun, workers: int, progress: Progress) -> list[LabeledScan]:
    """Return the detections in real scans, by networks that were trained without them, with the reader's levels."""
    names = [scan.name for scan in REAL_SCANS if scan.exists(run.real)]
    jobs = parallel_map(partial(_label_real, run), names, workers=workers, stage="real scans", progress=progress)
    return [scan for job in jobs if (scan := job.get()) is not None]


def _print_reliability(
    name: str, halves: Sequence[Sequence[LabeledScan]], fitted: Sequence[LevelAssignmentSettings]
) -> None:
    """Print how reliable each half is by the numbers that the other half was fitted on."""
    parts = [level_reliability(half, settings) for half, settings in zip(halves, fitted, strict=True) if half]
    for part in parts:
        print(
            f"{name}: {len(part.names)} vertebrae, {part.is_right.mean():.3f} right, expected calibration error "
            f"{part.expected_calibration_error:.3f}, {part.certain_of_wrong_fraction:.2f} of the wrong above 0.9"
        )


def _label_phantom(localizer: Path, seed: int, index: int) -> LabeledScan | None:
    body, scan = draw_body(seed, index, BODY_DOMAINS["source"])
    rendered = render_body_volume(body, scan, min_spacing_mm=MIN_SPACING_MM)
    volume = straight_volume(rendered.hu, rendered.affine_lps)
    origins = {level: frame[:3, 3] for level, frame in rendered.frames.items() if level in LEVELS}
    return _label(load_localizer(str(localizer)), volume, origins)


def _label_real(run: RealRun, name: str) -> LabeledScan | None:
    scan = SCANS_BY_NAME[name]
    truth = read_truth(scan.name, run.real, run.reference)
    if truth.vertebrae is None:
        return None
    localizer = run.load_localizer(scan)
    points = {level: each.point_lps_mm for level, each in truth.vertebrae.items() if level in LEVELS}
    known = {level: point for level, point in points.items() if point is not None}
    return _label(localizer, scan.load(run.real, localizer), known, is_complete=False)


def _label(
    localizer: Localizer, volume: highdicom.Volume, origins: dict[str, Floats], *, is_complete: bool = True
) -> LabeledScan | None:
    """Return the detections of a scan with the levels of the vertebrae nearest to them, or None without vertebrae.

    Parameters
    ----------
    localizer : Localizer
        What detects.
    volume : highdicom.Volume
        HU.
    origins : dict
        Level to origin in LPS mm.
    is_complete : bool
        Whether all vertebrae are known; detections beyond the known ones are left out otherwise.
    """
    localized = localizer.localize(Scan.of(volume))
    if localized.candidates is None or localized.coarse is None or not origins:
        return None
    detections = to_detections(localized.candidates, localized.coarse)
    origins = {level: localized.scale * origin for level, origin in origins.items()}
    distances = np.linalg.norm(detections.frames[:, None, :3, 3] - np.array(list(origins.values()))[None], axis=2)
    rows, columns = scipy.optimize.linear_sum_assignment(np.minimum(distances, 4 * MAX_DISTANCE_MM))
    levels: list[str | None] = [None] * len(detections)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if distances[row, column] <= MAX_DISTANCE_MM:
            levels[row] = list(origins)[column]
    if not is_complete:
        heights = [origin[2] for origin in origins.values()]
        low, high = min(heights) - MAX_DISTANCE_MM, max(heights) + MAX_DISTANCE_MM
        inside = (detections.frames[:, 2, 3] >= low) & (detections.frames[:, 2, 3] <= high)
        levels = [levels[number] for number in np.flatnonzero(inside)]
        detections = replace(detections.subset(np.flatnonzero(inside)), anchors=AnchorEvidence())
    scan = LabeledScan(detections, tuple(levels))
    return scan if scan.members else None


if __name__ == "__main__":
    main()
