"""What the phantom costs, and what its fractures look like.

Speed is told per processor core: whole studies of 300 slices of 512 x 512 pixels, written as DICOM; crops about single
vertebrae; coarse volumes. Peak memory is that of a process that renders one study after another.

Run: ``python -m benchmarks.phantom --studies 7 --out docs/img``
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cspine.core.anatomy import Level
from cspine.phantom import PhantomSettings, render_coarse, render_vertebrae, synthesize
from cspine.phantom.anatomy.grid import Grid
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.fractures.fracture import Fracture, draw_fractures, sites
from cspine.phantom.scanner.render import render

SEED: Final = 5
_STEP_MM, _SIDE = 0.4, 150
_WINDOW_HU: Final = (-300, 1300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True, help="where the picture goes")
    options = parser.parse_args()
    sheet(options.out / "phantom-fractures.png")
    sys.stdout.write(
        "\n".join(["| what | median | lowest to highest |", "|---|---|---|", *speeds(options.studies)]) + "\n"
    )


def speeds(studies: int) -> list[str]:
    """Return a row for each speed; one process, one thread."""
    settings = PhantomSettings(prevalence=1.0, slice_spacing_mm=(0.5, 0.6), tilted=0.0, odd_matrix=0.0)
    per_slice: dict[float, list[float]] = {0.0: [], 1.0: []}
    crops, coarse, peaks = [], [], []
    for index in range(studies):
        for prevalence, spent in per_slice.items():
            drawn = settings.model_copy(update={"prevalence": prevalence})
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                synthesize(Path(folder) / "data", studies=1, seed=SEED + index, settings=drawn)
                took = time.perf_counter() - start
                (images,) = (Path(folder) / "data" / "train_images").iterdir()
                spent.append(took / len(list(images.iterdir())))
        start = time.perf_counter()
        made = len(list(render_vertebrae(SEED, index, settings)))
        crops.append(made / (time.perf_counter() - start))
        start = time.perf_counter()
        render_coarse(SEED, index, settings)
        coarse.append(time.perf_counter() - start)
        peaks.append(_peak_mb())
    return [
        _line("study of 300 slices of 512 x 512 without fractures, with DICOM, s", [300 * s for s in per_slice[0.0]]),
        _line("the same with fractures, s", [300 * s for s in per_slice[1.0]]),
        _line("vertebra crops (80 voxels of 0.8 mm a side), per s", crops),
        _line("coarse volume (3 mm), s", coarse),
        f"| peak memory after the first and the last of {studies} studies, MB | {peaks[0]:.0f} | {peaks[-1]:.0f} |",
    ]


def _line(what: str, values: list[float]) -> str:
    return f"| {what} | {np.median(values):.1f} | {min(values):.1f} to {max(values):.1f} |"


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


# --- the picture -----------------------------------------------------------------------------------------------------


def sheet(path: Path) -> None:
    """Draw one fracture of each kind: axial, sagittal and coronal, its truth outlined; three kinds in a row."""
    neck = draw_neck(np.random.default_rng(SEED), age_years=(20.0, 40.0))
    tiles = []
    for level in ("C1", "C2", "C5"):
        for site in sites(level, neck.person):
            cracks = _draw(neck, level, site.kind)
            views = [_view(neck.broken({level: cracks}), level, cracks[0], number) for number in range(3)]
            tile = Image.fromarray(np.hstack(views))
            ImageDraw.Draw(tile).text((4, 2), f"{level} {site.kind}", fill=(255, 220, 0))
            tiles.append(np.asarray(tile))
    while len(tiles) % 3:
        tiles.append(np.zeros_like(tiles[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [np.hstack(tiles[start : start + 3]) for start in range(0, len(tiles), 3)]
    Image.fromarray(np.vstack(rows)).save(path, optimize=True)


def _draw(neck: Neck, level: Level, kind: str) -> tuple[Fracture, ...]:
    """Draw a plain fracture of a kind, on the left where it has a side."""
    settings = PhantomSettings(gap_mm=(1.0, 1.6), displacement_mm=(1.5, 4.0))
    rng = np.random.default_rng(SEED)
    while True:
        cracks = draw_fractures(level, neck.person, settings, rng, kind=kind)
        if cracks[0].centre_mm[0] > -2.0 and (cracks[0].crush_mm or np.linalg.norm(cracks[0].shift_mm) > 0.8):
            return cracks


def _view(neck: Neck, level: str, crack: Fracture, number: int) -> npt.NDArray[np.uint8]:
    frame, place = neck.frames[level], crack.centre_mm
    x, y, z = frame.axes.T
    across, down, along = ((z, y, x), (x, -z, y), (y, -z, x))[number]
    middle = ([0, 0.5 * place[1] + 8, place[2]], [place[0], 8, 0.5 * place[2]], [0, place[1], 0.5 * place[2]])[number]
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([across, down, along]) * _STEP_MM
    affine[:3, 3] = frame.to_lps(middle) - (down + along) * (_STEP_MM * (_SIDE - 1) / 2)
    rendered = render(neck, Grid(affine, (1, _SIDE, _SIDE)))
    low, high = _WINDOW_HU
    grey = np.clip((rendered.hu[0] - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    image = np.dstack([grey, grey, grey])
    broken = rendered.fracture_mask[0] > 0
    image[broken & ~np.roll(broken, 1, axis=0)] = (255, 60, 60)
    return image


if __name__ == "__main__":
    main()
