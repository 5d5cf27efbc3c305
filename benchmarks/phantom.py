"""Cost of the phantom, and an image of its fracture types.

Speed is that of one processor core: complete studies of 300 slices of 512 x 512 pixels, written as DICOM; crops around
single vertebrae; coarse volumes. Peak memory is that of a process that renders one study after another.

Run: ``python -m benchmarks.phantom --studies 7 --out docs/img``; the table goes to standard output.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from cspine.core.anatomy import Level
from cspine.core.typing import Grays
from cspine.phantom import PhantomSettings, render_coarse, render_vertebrae, synthesize
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.fractures.sites import sites
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.scanner.render import render

SEED: Final = 5
_STEP_MM, _SIDE = 0.4, 150
_WINDOW_HU: Final = (-300, 1300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=7, help="studies, of which the median is reported")
    parser.add_argument("--out", type=Path, required=True, help="folder for the image")
    options = parser.parse_args()
    draw_fracture_sheet(options.out / "phantom-fractures.png")
    rows = measure_speeds(options.studies)
    sys.stdout.write("\n".join(["| measure | median | lowest to highest |", "|---|---|---|", *rows]) + "\n")


def measure_speeds(studies: int) -> list[str]:
    """Return the table's rows, measured in this process and one thread."""
    settings = PhantomSettings(prevalence=1.0, slice_spacing_mm=(0.5, 0.6), tilt_fraction=0.0, odd_matrix_fraction=0.0)
    per_slice: dict[float, list[float]] = {0.0: [], 1.0: []}
    crops, coarse, peaks = [], [], []
    for index in range(studies):
        for prevalence, seconds in per_slice.items():
            varied = settings.model_copy(update={"prevalence": prevalence})
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                synthesize(Path(folder) / "data", studies=1, seed=SEED + index, settings=varied)
                elapsed = time.perf_counter() - started
                (images,) = (Path(folder) / "data" / "train_images").iterdir()
                seconds.append(elapsed / len(list(images.iterdir())))
        started = time.perf_counter()
        n_crops = len(list(render_vertebrae(SEED, index, settings)))
        crops.append(n_crops / (time.perf_counter() - started))
        started = time.perf_counter()
        render_coarse(SEED, index, settings)
        coarse.append(time.perf_counter() - started)
        peaks.append(_peak_mb())
    return [
        _row("study of 300 slices of 512 x 512 without fractures, with DICOM, s", [300 * s for s in per_slice[0.0]]),
        _row("the same with fractures, s", [300 * s for s in per_slice[1.0]]),
        _row("vertebra crops (80 voxels of 0.8 mm a side), per s", crops),
        _row("coarse volume (3 mm), s", coarse),
        f"| peak memory after the first and the last of {studies} studies, MB | {peaks[0]:.0f} | {peaks[-1]:.0f} |",
    ]


def _row(measure: str, values: list[float]) -> str:
    return f"| {measure} | {np.median(values):.1f} | {min(values):.1f} to {max(values):.1f} |"


def _peak_mb() -> float:
    """Return the peak resident memory of this process, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


# --- the image -------------------------------------------------------------------------------------------------------


def draw_fracture_sheet(path: Path) -> None:
    """Draw one fracture of each type: axial, sagittal and coronal, its mask outlined; three types in a row."""
    neck = draw_neck(np.random.default_rng(SEED), age_years=(20.0, 40.0))
    tiles = []
    for level in ("C1", "C2", "C5"):
        for site in sites(level, neck.person):
            fractures = _draw_displaced(neck, level, site.fracture_type)
            fractured = neck.with_fractures({level: fractures})
            views = [_render_view(fractured, level, fractures[0], axis) for axis in range(3)]
            tile = Image.fromarray(np.hstack(views))
            ImageDraw.Draw(tile).text((4, 2), f"{level} {site.fracture_type}", fill=(255, 220, 0))
            tiles.append(np.asarray(tile))
    while len(tiles) % 3:
        tiles.append(np.zeros_like(tiles[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [np.hstack(tiles[start : start + 3]) for start in range(0, len(tiles), 3)]
    Image.fromarray(np.vstack(rows)).save(path, optimize=True)


def _draw_displaced(neck: Neck, level: Level, fracture_type: str) -> tuple[Fracture, ...]:
    """Draw fractures of a type until one is clearly displaced, and on the left where the type has a side."""
    settings = PhantomSettings(fracture_width_mm=(1.0, 1.6), displacement_mm=(1.5, 4.0), bone_loss_fraction=0.0)
    rng = np.random.default_rng(SEED)
    while True:
        fractures = draw_fractures(level, neck.person, settings, rng, fracture_type=fracture_type)
        first = fractures[0]
        is_displaced = first.height_loss_mm > 0 or np.linalg.norm(first.translation_mm) > 0.8
        if first.center_mm[0] > -2.0 and is_displaced:
            return fractures


def _render_view(neck: Neck, level: str, fracture: Fracture, axis: int) -> Grays:
    """Render a section through a fracture: 0 axial, 1 sagittal, 2 coronal; (rows, columns, 3)."""
    frame, center = neck.frames[level], fracture.center_mm
    x, y, z = frame.axes.T
    across, down, along = ((z, y, x), (x, -z, y), (y, -z, x))[axis]
    cx, cy, cz = center
    view_center = ([0, 0.5 * cy + 8, cz], [cx, 8, 0.5 * cz], [0, cy, 0.5 * cz])[axis]
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([across, down, along]) * _STEP_MM
    affine[:3, 3] = frame.to_lps(view_center) - (down + along) * (_STEP_MM * (_SIDE - 1) / 2)
    rendered = render(neck, Grid(affine, (1, _SIDE, _SIDE)))
    low, high = _WINDOW_HU
    gray = np.clip((rendered.hu[0] - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    image = np.dstack([gray, gray, gray])
    mask = rendered.fracture_mask[0] > 0
    image[mask & ~np.roll(mask, 1, axis=0)] = (255, 60, 60)
    return image


if __name__ == "__main__":
    main()
