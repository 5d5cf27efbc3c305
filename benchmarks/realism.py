"""The phantom beside a real CT at the same window and resolution: numbers, spectra, and a sheet of images.

The real one is vtk-head (see docs/real-ct.md), whose regions were marked by eye, in voxels, before the phantom's were
measured; the phantom's come from its truth. The phantoms are of one seed and are scanned with vtk-head's slices and
pixels; their kernel was chosen to give edges about as soft as vtk-head's.

Run: ``python -m benchmarks.realism --real DIR --out docs/img``; the table goes to standard output.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from cspine.dicom import load_volume
from cspine.phantom.anatomy.grid import Grid
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.anatomy.tissue import Layout, lay_out
from cspine.phantom.scanner.scanner import Scan, Scanner, acquire

NECKS: Final = 40
SEED: Final = 77
PIXEL_MM, SLICE_MM = 0.8, 1.5
WINDOW_HU: Final = (-450, 1050)
RADII_PX: Final = (1, 2, 3, 4)
"""At which distances texture is compared; a body's region is 8 pixels wide."""

Hu = npt.NDArray[np.float64]
Box = tuple[slice, slice, slice]

_BODIES: Final[tuple[Box, ...]] = (
    (slice(27, 33), slice(153, 161), slice(126, 134)),
    (slice(18, 23), slice(156, 164), slice(126, 134)),
    (slice(9, 14), slice(159, 167), slice(126, 134)),
)
REGIONS: Final[Mapping[str, tuple[Box, ...]]] = {
    "spongy bone, C3 to C5": _BODIES,
    "disc": ((slice(25, 26), slice(155, 162), slice(126, 134)), (slice(16, 17), slice(157, 164), slice(126, 134))),
    "muscle": (
        (slice(20, 30), slice(195, 205), slice(98, 112)),
        (slice(20, 30), slice(195, 205), slice(154, 164)),
    ),
    "cord": ((slice(25, 35), slice(168, 174), slice(127, 133)),),
    "fat under the skin": ((slice(20, 30), slice(225, 228), slice(126, 134)),),
}
QUIET: Final[Box] = (slice(80, 92), slice(152, 184), slice(112, 144))
"""Brain, for the noise."""

EDGES: Final = ((43, 174, 179), (33, 174, 180), (22, 176, 182), (13, 180, 187))
"""Slice, and the rows from the canal to the crest of the lamina behind it, at column 130."""


@dataclass(frozen=True)
class Picture:
    """What is measured of one CT."""

    regions: dict[str, Hu]
    edge_mm: list[float]
    noise: Hu
    grain: Hu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="the folder of vtk-head")
    parser.add_argument("--out", type=Path, required=True, help="where the figures go")
    options = parser.parse_args()
    real = load_volume(options.real).array.astype(np.float64)
    drawn = [_draw(number) for number in range(NECKS)]
    pictures = [_measure_phantom(neck, scanner, scan) for neck, scanner, scan in drawn]
    sys.stdout.write(_table(_measure_real(real), pictures))
    _sheet(real, drawn[:2], options.out / "phantom-beside-real.png")
    _spectra(_measure_real(real), pictures, options.out / "phantom-spectra.png")


def _draw(number: int) -> tuple[Neck, Scanner, Scan]:
    neck = draw_neck(np.random.default_rng([SEED, number]), age_years=(20.0, 45.0))
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = SLICE_MM, PIXEL_MM, PIXEL_MM
    affine[:, 3] = [-PIXEL_MM * 127.5, -122.0, -42.0, 1.0]
    grid = Grid(affine, (93, 256, 256))
    scanner = Scanner(grid, SLICE_MM, resolution_per_mm=0.5, edge=0.25, noise_hu=13.0, shoulders=0.5)
    return neck, scanner, acquire(neck, scanner, np.random.default_rng([SEED, number, 1]))


# --- what is measured ------------------------------------------------------------------------------------------------


def _measure_real(hu: Hu) -> Picture:
    regions = {name: np.concatenate([hu[box].ravel() for box in boxes]) for name, boxes in REGIONS.items()}
    edges = [_edge_mm(hu[k, start : stop + 1, 130]) for k, start, stop in EDGES]
    return Picture(regions, edges, _spectrum(hu[QUIET]), _texture([hu[box] for box in _BODIES]))


def _measure_phantom(neck: Neck, scanner: Scanner, scan: Scan) -> Picture:
    grid, hu = scanner.grid, scan.hu.astype(np.float64)
    layout = lay_out(neck.person, neck.frames)

    def about(place: npt.NDArray[Any], half: tuple[int, int, int]) -> Box:
        k, j, i = np.rint((np.linalg.inv(grid.affine) @ [*place, 1.0])[:3]).astype(int)
        return tuple(slice(max(n - h, 0), n + h + 1) for n, h in zip((k, j, i), half, strict=True))  # type: ignore[return-value]

    bodies = [about(neck.frames[level].to_lps([0.0, -1.0, 1.0]), (2, 3, 3)) for level in ("C3", "C4", "C5")]
    discs = [about(frame[:3, 3], (0, 2, 2)) for _, frame in neck.discs[3:5]]
    muscles = [about(layout.canal["C4"] + np.array([side * 26.0, 22.0, 0.0]), (3, 5, 5)) for side in (-1, 1)]
    behind = _skin_behind(hu, about(layout.canal["C4"], (0, 0, 0)))
    regions = {
        "spongy bone, C3 to C5": np.concatenate([hu[box].ravel() for box in bodies]),
        "disc": np.concatenate([hu[box].ravel() for box in discs]),
        "muscle": np.concatenate([hu[box].ravel() for box in muscles]),
        "cord": hu[about(layout.canal["C3"], (3, 2, 2))].ravel(),
        "fat under the skin": hu[behind].ravel(),
    }
    edges = [_lamina_edge(hu, layout, level, about) for level in ("C2", "C3", "C4", "C5")]
    suppress_pydicom_warnings = about(layout.frames["C0"].to_lps([0.0, 34.0, 30.0]), (3, 12, 12))
    return Picture(regions, edges, _spectrum(hu[suppress_pydicom_warnings]), _texture([hu[box] for box in bodies]))


def _skin_behind(hu: Hu, at: Box) -> Box:
    """Return a few voxels of fat, just under the skin behind the neck."""
    k, j, i = (part.start for part in at)
    air = np.flatnonzero(hu[k, j:, i] < -300)  # a cushion or a table may follow it
    last = j + (int(air[0]) - 1 if len(air) else hu.shape[1] - 1 - j)
    return slice(k - 3, k + 4), slice(last - 6, last - 3), slice(i - 3, i + 4)


def _lamina_edge(hu: Hu, layout: Layout, level: str, about: Callable[..., Box]) -> float:
    """Return the edge from the canal to the lamina behind it."""
    k, j, i = (part.start for part in about(layout.canal[level] + np.array([0.0, 0.0, -3.0]), (0, 0, 0)))
    line = hu[k, j : j + 14, i]
    return _edge_mm(line[: int(np.argmax(line)) + 1])


def _edge_mm(line: Hu) -> float:
    """Return over what length a line of HU rises from a tenth to nine tenths of its crest."""
    low, high = float(line[:2].mean()), float(line.max())
    if high - low < 250:
        return float("nan")
    share = (line[: int(line.argmax()) + 1] - low) / (high - low)
    places = [float(np.interp(part, np.maximum.accumulate(share), np.arange(len(share)))) for part in (0.1, 0.9)]
    return (places[1] - places[0]) * PIXEL_MM


def _spectrum(hu: Hu) -> Hu:
    """Return the noise power in 8 steps of frequency to 0.625 per mm, their sum scaled to 1, and the deviation."""
    flat = hu - hu.mean(axis=(1, 2), keepdims=True)
    rows, columns = hu.shape[1:]
    power = (np.abs(np.fft.fft2(flat)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(columns, PIXEL_MM), np.fft.fftfreq(rows, PIXEL_MM)))
    edges = np.linspace(0, 0.625, 9)
    steps = [power[(frequency > low) & (frequency <= high)].mean() for low, high in pairwise(edges)]
    return np.array([*(np.array(steps) / np.sum(steps)), flat.std()])


def _texture(boxes: list[Hu]) -> Hu:
    """Return the radial profile of texture: correlation at 1 to 4 pixels' distance in any direction; and 1 slice apart.

    Each distance takes all pairs of a slice's voxels that lie within half a pixel of it.
    """
    reach = len(RADII_PX)
    found: list[list[float]] = [[] for _ in range(reach + 1)]
    for box in boxes:
        flat = box - box.mean()
        power = float((flat**2).mean())
        for down in range(reach + 1):
            for aside in range(-reach, reach + 1):
                ring = round(float(np.hypot(down, aside)))
                if 1 <= ring <= reach and (down or aside > 0):
                    one = flat[:, down:, max(aside, 0) : flat.shape[2] + min(aside, 0)]
                    other = flat[:, : flat.shape[1] - down, max(-aside, 0) : flat.shape[2] - max(aside, 0)]
                    found[ring - 1].append(float((one * other).mean()) / power)
        found[reach].append(float((flat[1:] * flat[:-1]).mean()) / power)
    return np.array([np.mean(values) for values in found])


# --- what is shown ---------------------------------------------------------------------------------------------------


def _table(real: Picture, phantoms: list[Picture]) -> str:
    lines = [
        "| what | real | phantoms: median (quartiles) |",
        "|---|---|---|",
    ]
    for name, values in real.regions.items():
        medians = [float(np.median(picture.regions[name])) for picture in phantoms]
        spreads = [float(picture.regions[name].std()) for picture in phantoms]
        lines.append(
            f"| {name}, HU | {np.median(values):.0f} (deviation {values.std():.0f}) | "
            f"{_quartiles(medians, 0)} (deviation {np.median(spreads):.0f}) |"
        )
    edges = [float(np.nanmedian(picture.edge_mm)) for picture in phantoms]
    lines.append(f"| edge of the lamina, 10 to 90 %, mm | {np.nanmedian(real.edge_mm):.2f} | {_quartiles(edges, 2)} |")
    middle = (np.arange(8) + 0.5) * 0.625 / 8
    measures: dict[str, Callable[[Picture], float]] = {
        "noise, mean frequency, per mm": lambda picture: float(picture.noise[:8] @ middle),
        "noise, deviation, HU": lambda picture: float(picture.noise[8]),
        "texture, correlation at 0.8 mm": lambda picture: float(picture.grain[0]),
        "texture, at 1.6 mm": lambda picture: float(picture.grain[1]),
        "texture, at 2.4 mm": lambda picture: float(picture.grain[2]),
        "texture, at 3.2 mm": lambda picture: float(picture.grain[3]),
        "texture, 1 slice apart": lambda picture: float(picture.grain[-1]),
    }
    for name, measure in measures.items():
        found = [measure(picture) for picture in phantoms]
        lines.append(f"| {name} | {measure(real):.2f} | {_quartiles(found, 2)} |")
    return "\n".join(lines) + "\n"


def _quartiles(values: Sequence[float], digits: int) -> str:
    low, middle, high = np.nanpercentile(values, [25, 50, 75])
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _sheet(real: Hu, drawn: list[tuple[Neck, Scanner, Scan]], path: Path) -> None:
    """Put the real CT above two phantoms: sagittal, beside it, coronal, and three axial slices."""
    rows = [_row(real, 130, 155, (50, 30, 12), _BODIES[1][1].start + 4)]
    for neck, scanner, scan in drawn:
        inverse = np.linalg.inv(scanner.grid.affine)
        place = {
            level: np.rint((inverse @ [*neck.frames[level].centre_mm, 1.0])[:3]).astype(int) for level in neck.levels
        }
        rows.append(
            _row(scan.hu.astype(np.float64), place["C4"][2], place["C4"][2] + 24,
                 (place["C1"][0], place["C3"][0], place["C5"][0]), place["C4"][1] - 2)
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(path, optimize=True)


def _row(hu: Hu, middle: int, beside: int, slices: tuple[int, int, int], coronal: int) -> npt.NDArray[np.uint8]:
    low, high = WINDOW_HU
    grey = np.clip((hu - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    tall = (256, round(93 * SLICE_MM / PIXEL_MM))
    upright = [grey[::-1, :, middle], grey[::-1, :, beside], grey[::-1, coronal, :]]
    images = [
        np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(tall, Image.Resampling.BILINEAR))
        for image in upright
    ]
    top = min(max(coronal - tall[1] // 2, 0), 256 - tall[1])
    images += [grey[min(max(k, 0), 92)][top : top + tall[1]] for k in slices]
    return np.hstack(images)


def _spectra(real: Picture, phantoms: list[Picture], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (first, left, right) = plt.subplots(1, 3, figsize=(13, 3.4), constrained_layout=True)
    colours = dict(zip(real.regions, ("#d55e00", "#009e73", "#0072b2", "#cc79a7", "#999999"), strict=True))
    bins = np.linspace(-250, 1050, 66)
    for name, colour in colours.items():
        pooled = np.concatenate([picture.regions[name] for picture in phantoms])
        first.hist(pooled, bins=bins, density=True, color=colour, alpha=0.35)
        first.hist(real.regions[name], bins=bins, density=True, color=colour, histtype="step", lw=1.4, label=name)
    first.set(xlabel="HU", yticks=[], title="Tissues: real (lines), phantoms (filled)", yscale="log")
    first.legend(frameon=False, fontsize=7)
    middle, distances = (np.arange(8) + 0.5) * 0.625 / 8, PIXEL_MM * np.array(RADII_PX)
    for picture in phantoms:
        left.plot(middle, picture.noise[:8], color="#bbbbbb", lw=0.8)
        right.plot([0, *distances], [1, *picture.grain[:-1]], color="#bbbbbb", lw=0.8)
    left.plot(middle, np.median([p.noise[:8] for p in phantoms], axis=0), color="#0072b2", label="phantoms, median")
    left.plot(middle, real.noise[:8], color="#d55e00", label="real")
    right.plot([0, *distances], [1, *np.median([p.grain[:-1] for p in phantoms], axis=0)], color="#0072b2")
    right.plot([0, *distances], [1, *real.grain[:-1]], color="#d55e00")
    left.set(xlabel="line pairs per mm", ylabel="share of the noise's power", title="Noise")
    right.set(xlabel="distance, mm", ylabel="correlation", title="Texture of spongy bone: radial profile")
    left.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
