"""The phantom beside a real CT at the same window and resolution: numbers, noise spectra, and a sheet of images.

The real CT is vtk-head (see docs/real-ct.md). Its regions were marked by eye, in voxels, before the phantom's were
measured; the phantom's regions follow from its known anatomy. The phantoms are of one seed and are scanned with
vtk-head's slices and pixels; their kernel was chosen to give edges about as soft as vtk-head's.

Run: ``python -m benchmarks.realism --real DIR --out docs/img``; the table goes to standard output.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from cspine.core.typing import Floats, Grays
from cspine.dicom import load_volume
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.anatomy.organs import Layout, layout_along_spine
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.scanner.acquisition import Scan, acquire
from cspine.phantom.scanner.scanner import Scanner

N_PHANTOMS: Final = 40
SEED: Final = 77
PIXEL_MM, SLICE_MM = 0.8, 1.5
WINDOW_HU: Final = (-450, 1050)
RADII_PX: Final = (1, 2, 3, 4)
"""Distances at which texture is compared; the region of a vertebral body is 8 pixels wide."""

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
BRAIN: Final[Box] = (slice(80, 92), slice(152, 184), slice(112, 144))
"""Homogeneous region in which the noise is measured."""

LAMINA_EDGES: Final = ((43, 174, 179), (33, 174, 180), (22, 176, 182), (13, 180, 187))
"""Slice, and the rows from the canal to the crest of the lamina behind it, at column 130."""


@dataclass(frozen=True)
class CtMeasurements:
    """Measurements of one CT.

    Attributes
    ----------
    regions : dict of str to (n,)
        Voxel values of each tissue, in HU.
    edge_mm : list of float
        Widths of edges from the canal to the lamina behind it, see `_edge_mm`.
    noise : (9,)
        Noise power spectrum and standard deviation, see `_spectrum`.
    texture : (5,)
        Autocorrelation of spongy bone, see `_texture`.
    """

    regions: dict[str, Floats]
    edge_mm: list[float]
    noise: Floats
    texture: Floats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder of vtk-head's DICOM files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    options = parser.parse_args()
    real = load_volume(options.real).array.astype(np.float64)
    scans = [_draw_scan(number) for number in range(N_PHANTOMS)]
    phantoms = [_measure_phantom(neck, scanner, scan) for neck, scanner, scan in scans]
    sys.stdout.write(_table(_measure_real(real), phantoms))
    _sheet(real, scans[:2], options.out / "phantom-beside-real.png")
    _spectra(_measure_real(real), phantoms, options.out / "phantom-spectra.png")


def _draw_scan(number: int) -> tuple[Neck, Scanner, Scan]:
    neck = draw_neck(np.random.default_rng([SEED, number]), age_years=(20.0, 45.0))
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = SLICE_MM, PIXEL_MM, PIXEL_MM
    affine[:, 3] = [-PIXEL_MM * 127.5, -122.0, -42.0, 1.0]
    grid = Grid(affine, (93, 256, 256))
    scanner = Scanner(grid, SLICE_MM, mtf50_per_mm=0.5, edge_enhancement=0.25, noise_hu=13.0, photon_starvation=0.5)
    return neck, scanner, acquire(neck, scanner, np.random.default_rng([SEED, number, 1]))


# --- measurements ----------------------------------------------------------------------------------------------------


def _measure_real(hu: Floats) -> CtMeasurements:
    regions = {name: np.concatenate([hu[box].ravel() for box in boxes]) for name, boxes in REGIONS.items()}
    edges = [_edge_mm(hu[k, start : stop + 1, 130]) for k, start, stop in LAMINA_EDGES]
    return CtMeasurements(regions, edges, _spectrum(hu[BRAIN]), _texture([hu[box] for box in _BODIES]))


def _measure_phantom(neck: Neck, scanner: Scanner, scan: Scan) -> CtMeasurements:
    grid, hu = scanner.grid, scan.hu.astype(np.float64)
    layout = layout_along_spine(neck.person, neck.frames)

    def box_around(point_lps_mm: Floats, half: tuple[int, int, int]) -> Box:
        k, j, i = np.rint((np.linalg.inv(grid.affine) @ [*point_lps_mm, 1.0])[:3]).astype(int)
        return tuple(slice(max(n - h, 0), n + h + 1) for n, h in zip((k, j, i), half, strict=True))  # type: ignore[return-value]

    bodies = [box_around(neck.frames[level].to_lps([0.0, -1.0, 1.0]), (2, 3, 3)) for level in ("C3", "C4", "C5")]
    discs = [box_around(frame[:3, 3], (0, 2, 2)) for _, frame in neck.discs[3:5]]
    muscles = [box_around(layout.canal["C4"] + np.array([side * 26.0, 22.0, 0.0]), (3, 5, 5)) for side in (-1, 1)]
    skin = _subcutaneous_fat(hu, box_around(layout.canal["C4"], (0, 0, 0)))
    regions = {
        "spongy bone, C3 to C5": np.concatenate([hu[box].ravel() for box in bodies]),
        "disc": np.concatenate([hu[box].ravel() for box in discs]),
        "muscle": np.concatenate([hu[box].ravel() for box in muscles]),
        "cord": hu[box_around(layout.canal["C3"], (3, 2, 2))].ravel(),
        "fat under the skin": hu[skin].ravel(),
    }
    edges = [_lamina_edge(hu, layout, level, box_around) for level in ("C2", "C3", "C4", "C5")]
    brain = box_around(layout.frames["C0"].to_lps([0.0, 34.0, 30.0]), (3, 12, 12))
    return CtMeasurements(regions, edges, _spectrum(hu[brain]), _texture([hu[box] for box in bodies]))


def _subcutaneous_fat(hu: Floats, at: Box) -> Box:
    """Return a few voxels of fat just below the skin, behind the canal at voxel `at`."""
    k, j, i = (part.start for part in at)
    air = np.flatnonzero(hu[k, j:, i] < -300)  # a cushion or a table may follow it
    last = j + (int(air[0]) - 1 if len(air) else hu.shape[1] - 1 - j)
    return slice(k - 3, k + 4), slice(last - 6, last - 3), slice(i - 3, i + 4)


def _lamina_edge(hu: Floats, layout: Layout, level: str, box_around: Callable[..., Box]) -> float:
    """Return the width of the edge from the canal to the lamina behind it."""
    k, j, i = (part.start for part in box_around(layout.canal[level] + np.array([0.0, 0.0, -3.0]), (0, 0, 0)))
    line = hu[k, j : j + 14, i]
    return _edge_mm(line[: int(np.argmax(line)) + 1])


def _edge_mm(line: Floats) -> float:
    """Return the distance in which a line of HU values rises from 10 % to 90 % of its maximum; NaN if too faint."""
    low, high = float(line[:2].mean()), float(line.max())
    if high - low < 250:
        return float("nan")
    fraction = (line[: int(line.argmax()) + 1] - low) / (high - low)
    points = [float(np.interp(part, np.maximum.accumulate(fraction), np.arange(len(fraction)))) for part in (0.1, 0.9)]
    return (points[1] - points[0]) * PIXEL_MM


def _spectrum(hu: Floats) -> Floats:
    """Return the noise power in 8 bins up to 0.625 per mm, normalized to a sum of 1, and the standard deviation."""
    flat = hu - hu.mean(axis=(1, 2), keepdims=True)
    rows, columns = hu.shape[1:]
    power = (np.abs(np.fft.fft2(flat)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(columns, PIXEL_MM), np.fft.fftfreq(rows, PIXEL_MM)))
    edges = np.linspace(0, 0.625, 9)
    bins = [power[(frequency > low) & (frequency <= high)].mean() for low, high in pairwise(edges)]
    return np.array([*(np.array(bins) / np.sum(bins)), flat.std()])


def _texture(boxes: list[Floats]) -> Floats:
    """Return the radial autocorrelation at 1 to 4 pixels of distance within a slice, and that between adjacent slices.

    Each distance pools all pairs of voxels of a slice whose distance rounds to it.
    """
    reach = len(RADII_PX)
    correlations: list[list[float]] = [[] for _ in range(reach + 1)]
    for box in boxes:
        flat = box - box.mean()
        power = float((flat**2).mean())
        for down in range(reach + 1):
            for aside in range(-reach, reach + 1):
                ring = round(float(np.hypot(down, aside)))
                if 1 <= ring <= reach and (down or aside > 0):
                    one = flat[:, down:, max(aside, 0) : flat.shape[2] + min(aside, 0)]
                    other = flat[:, : flat.shape[1] - down, max(-aside, 0) : flat.shape[2] - max(aside, 0)]
                    correlations[ring - 1].append(float((one * other).mean()) / power)
        correlations[reach].append(float((flat[1:] * flat[:-1]).mean()) / power)
    return np.array([np.mean(values) for values in correlations])


# --- table and figures -----------------------------------------------------------------------------------------------


def _table(real: CtMeasurements, phantoms: list[CtMeasurements]) -> str:
    lines = [
        "| measure | real | phantoms: median (quartiles) |",
        "|---|---|---|",
    ]
    for name, values in real.regions.items():
        medians = [float(np.median(one.regions[name])) for one in phantoms]
        spreads = [float(one.regions[name].std()) for one in phantoms]
        lines.append(
            f"| {name}, HU | {np.median(values):.0f} (deviation {values.std():.0f}) | "
            f"{_quartiles(medians, 0)} (deviation {np.median(spreads):.0f}) |"
        )
    edges = [float(np.nanmedian(one.edge_mm)) for one in phantoms]
    lines.append(f"| edge of the lamina, 10 to 90 %, mm | {np.nanmedian(real.edge_mm):.2f} | {_quartiles(edges, 2)} |")
    frequency = (np.arange(8) + 0.5) * 0.625 / 8
    measures: dict[str, Callable[[CtMeasurements], float]] = {
        "noise, mean frequency, per mm": lambda one: float(one.noise[:8] @ frequency),
        "noise, deviation, HU": lambda one: float(one.noise[8]),
        "texture, correlation at 0.8 mm": lambda one: float(one.texture[0]),
        "texture, at 1.6 mm": lambda one: float(one.texture[1]),
        "texture, at 2.4 mm": lambda one: float(one.texture[2]),
        "texture, at 3.2 mm": lambda one: float(one.texture[3]),
        "texture, 1 slice apart": lambda one: float(one.texture[-1]),
    }
    for name, measure in measures.items():
        measured = [measure(one) for one in phantoms]
        lines.append(f"| {name} | {measure(real):.2f} | {_quartiles(measured, 2)} |")
    return "\n".join(lines) + "\n"


def _quartiles(values: Sequence[float], digits: int) -> str:
    low, center, high = np.nanpercentile(values, [25, 50, 75])
    return f"{center:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _sheet(real: Floats, scans: list[tuple[Neck, Scanner, Scan]], path: Path) -> None:
    """Draw the real CT above two phantoms: midsagittal, lateral sagittal, coronal, and three axial slices."""
    rows = [_row(real, 130, 155, (50, 30, 12), _BODIES[1][1].start + 4)]
    for neck, scanner, scan in scans:
        inverse = np.linalg.inv(scanner.grid.affine)
        voxel = {
            level: np.rint((inverse @ [*neck.frames[level].center_mm, 1.0])[:3]).astype(int) for level in neck.levels
        }
        rows.append(
            _row(scan.hu.astype(np.float64), voxel["C4"][2], voxel["C4"][2] + 24,
                 (voxel["C1"][0], voxel["C3"][0], voxel["C5"][0]), voxel["C4"][1] - 2)
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(rows)).save(path, optimize=True)


def _row(hu: Floats, center: int, lateral: int, slices: tuple[int, int, int], coronal: int) -> Grays:
    low, high = WINDOW_HU
    gray = np.clip((hu - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    tall = (256, round(93 * SLICE_MM / PIXEL_MM))
    upright = [gray[::-1, :, center], gray[::-1, :, lateral], gray[::-1, coronal, :]]
    images = [
        np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(tall, Image.Resampling.BILINEAR))
        for image in upright
    ]
    top = min(max(coronal - tall[1] // 2, 0), 256 - tall[1])
    images += [gray[min(max(k, 0), 92)][top : top + tall[1]] for k in slices]
    return np.hstack(images)


def _spectra(real: CtMeasurements, phantoms: list[CtMeasurements], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (first, left, right) = plt.subplots(1, 3, figsize=(13, 3.4), constrained_layout=True)
    colors = dict(zip(real.regions, ("#d55e00", "#009e73", "#0072b2", "#cc79a7", "#999999"), strict=True))
    bins = np.linspace(-250, 1050, 66)
    for name, color in colors.items():
        pooled = np.concatenate([one.regions[name] for one in phantoms])
        first.hist(pooled, bins=bins, density=True, color=color, alpha=0.35)
        first.hist(real.regions[name], bins=bins, density=True, color=color, histtype="step", lw=1.4, label=name)
    first.set(xlabel="HU", yticks=[], title="Tissues: real (lines), phantoms (filled)", yscale="log")
    first.legend(frameon=False, fontsize=7)
    frequency, distances = (np.arange(8) + 0.5) * 0.625 / 8, PIXEL_MM * np.array(RADII_PX)
    for one in phantoms:
        left.plot(frequency, one.noise[:8], color="#bbbbbb", lw=0.8)
        right.plot([0, *distances], [1, *one.texture[:-1]], color="#bbbbbb", lw=0.8)
    left.plot(frequency, np.median([p.noise[:8] for p in phantoms], axis=0), color="#0072b2", label="phantoms, median")
    left.plot(frequency, real.noise[:8], color="#d55e00", label="real")
    right.plot([0, *distances], [1, *np.median([p.texture[:-1] for p in phantoms], axis=0)], color="#0072b2")
    right.plot([0, *distances], [1, *real.texture[:-1]], color="#d55e00")
    left.set(xlabel="line pairs per mm", ylabel="fraction of the noise power", title="Noise")
    right.set(xlabel="distance, mm", ylabel="correlation", title="Texture of spongy bone: radial profile")
    left.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
