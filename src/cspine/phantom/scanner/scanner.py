"""A CT scanner: its field, slices, kernel, dose, and what shoulders do to it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import fft

from cspine.phantom.anatomy.grid import Grid
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.solids import Field
from cspine.phantom.scanner.artefacts import add_metal, darken, frequencies
from cspine.phantom.scanner.render import render
from cspine.phantom.settings import PhantomSettings

LOWEST_HU, HIGHEST_HU = -1024, 3071
_SLAB: Final = 24
"""Slices rendered at a time: few enough for the processor's cache, many enough to share windows."""

_SILENT: Final = 2e-3
"""Noise of frequencies that a kernel passes less of than this does not count."""

_WATER_PER_MM: Final = 0.0195
"""Attenuation of water at 70 keV, the mean of a 120 kV beam."""


@dataclass(frozen=True)
class Scanner:
    """One scan's technique.

    Attributes
    ----------
    grid : Grid
        Of the slices, from the feet up, in LPS.
    thickness_mm : float
        Of a slice.
    resolution_per_mm, edge : float
        Of the kernel, as in `transfer`.
    noise_hu : float
        Standard deviation at C4.
    shoulders : float
        How much of the shoulders' noise and streaks is left.
    beam_hardening : float
        How much of the shadow between dense bones is left.
    motion_mm : (float, float, float, float) or None
        When the patient moved: from which height to which, and by how much along x and y, in mm.
    round_field : bool
        Whether all outside the largest circle is padding.
    """

    grid: Grid
    thickness_mm: float
    resolution_per_mm: float
    edge: float
    noise_hu: float
    shoulders: float
    beam_hardening: float = 0.0
    motion_mm: tuple[float, float, float, float] | None = None
    round_field: bool = False

    @property
    def blur_mm(self) -> float:
        """Width of the point spread at half its height, within slices: that of a Gaussian of the same resolution."""
        return 2 * float(np.log(2)) / (np.pi * self.resolution_per_mm)

    def covers(self, places: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which places, (n, 3) in LPS mm, lie within its voxels."""
        index = (places - self.grid.affine[:3, 3]) @ np.linalg.inv(self.grid.affine[:3, :3]).T
        inside = np.all((index >= -0.5) & (index <= np.array(self.grid.shape) - 0.5), axis=1)
        return np.asarray(
            inside & ~_is_outside(self.grid.shape[1:], index[:, 1], index[:, 2]) if self.round_field else inside
        )


@dataclass(frozen=True)
class Scan:
    """What a scanner gives of a neck, with its truth.

    Attributes
    ----------
    hu : (k, j, i) int16
        k from the feet to the head, j to the back, i to the left.
    labels, fracture_mask : (k, j, i) uint8
        As `cspine.phantom.scanner.render.Rendered`.
    """

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    fracture_mask: npt.NDArray[np.uint8]


def draw_scanner(neck: Neck, settings: PhantomSettings, rng: np.random.Generator) -> Scanner:
    """Draw a technique and lay its slices from T2 to the skull base; of a few studies from or to somewhere between."""
    field = rng.uniform(*settings.field_mm)
    rows, columns = _matrix(settings, rng)
    pixel, spacing = field / columns, rng.uniform(*settings.slice_spacing_mm)
    thickness_to_spacing_ratio = rng.uniform(*settings.thickness_to_spacing_ratio)
    bottom = neck.frames["T2"].centre_mm[2] - rng.uniform(0.0, 14.0)
    top = neck.frames["C1"].centre_mm[2] + rng.uniform(18.0, 40.0)
    if rng.random() < settings.shortened:
        if rng.random() < 0.6:
            bottom = rng.uniform(neck.frames["C7"].centre_mm[2] - 12.0, neck.frames["C4"].centre_mm[2])
        else:
            top = rng.uniform(neck.frames["C3"].centre_mm[2], neck.frames["C1"].centre_mm[2] + 8.0)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing, pixel, pixel, 1.0
    aside = rng.uniform(-1, 1) * settings.lateral_offset_mm
    before = 0.06 * field + rng.uniform(-6.0, 6.0)  # more of the neck lies behind the spine than before it
    affine[:3, 3] = np.round([aside - (field - pixel) / 2, before - pixel * (rows - 1) / 2, bottom], 3)
    if rng.random() < settings.tilted:
        tilt = np.radians(rng.uniform(-18.0, 18.0))  # the gantry turns about x, the table moves on along z
        affine[:3, 1] = pixel * np.array([0.0, np.cos(tilt), np.sin(tilt)])
        affine[2, 3] -= affine[2, 1] * (rows - 1) / 2
    grid = Grid(affine, (int((top - bottom) / spacing) + 1, rows, columns))
    motion_mm = None
    if rng.random() < settings.moved:
        start = float(rng.uniform(bottom, top))
        x, y = rng.normal(0.0, 0.9, 2).tolist()
        motion_mm = (start, start + float(rng.uniform(8.0, 40.0)), x, y)
    return Scanner(
        grid,
        thickness_mm=float(spacing * thickness_to_spacing_ratio),
        resolution_per_mm=float(rng.uniform(*settings.resolution_per_mm)),
        edge=float(rng.uniform(*settings.edge)),
        noise_hu=float(rng.uniform(*settings.noise_hu)),
        shoulders=float(rng.uniform(*settings.shoulders)),
        beam_hardening=float(rng.uniform(*settings.beam_hardening)),
        motion_mm=motion_mm,
        round_field=bool(rng.random() < settings.round_field),
    )


def _matrix(settings: PhantomSettings, rng: np.random.Generator) -> tuple[int, int]:
    """Draw rows and columns: the challenge has studies of 768 x 768 and of 512 x 519 too."""
    matrix = settings.matrix
    if rng.random() >= settings.odd_matrix:
        return matrix, matrix
    large = matrix * 3 // 2
    odd = [(matrix - 8, matrix), (matrix + 7, matrix), (matrix, matrix + 7), (large, large)]
    rows, columns = odd[int(rng.integers(len(odd)))]
    return rows, columns


def acquire(neck: Neck, scanner: Scanner, rng: np.random.Generator) -> Scan:
    """Scan a neck.

    Parameters
    ----------
    neck : Neck
        Who lies in the scanner, with fractures.
    scanner : Scanner
        The technique.
    rng : numpy Generator
        For the noise.
    """
    grid = scanner.grid
    hu = np.empty(grid.shape, np.int16)
    labels, fracture_mask = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    kernel, spectrum, streaks = _filters(scanner)
    half, wide = _band(spectrum)
    spectrum, streaks = (np.concatenate([part[:half, :wide], part[-half:, :wide]]) for part in (spectrum, streaks))
    level, streak = noise_of_slices(neck, scanner)
    memory = float(np.clip(1 - grid.spacing_mm[0] / scanner.thickness_mm, 0, 0.9))  # overlapping slices share noise
    last = _white(grid.shape[1:], spectrum.shape, rng)
    moved, shaken = _jolt(scanner)
    beyond = outside_circle(grid.shape[1:]) if scanner.round_field else None
    whole = slice(0, grid.shape[1]), slice(0, grid.shape[2])
    for start in range(0, grid.shape[0], _SLAB):
        slab = slice(start, min(start + _SLAB, grid.shape[0]))
        part = grid.part((slab, *whole))
        rendered = render(neck, part, thickness_mm=scanner.thickness_mm)
        labels[slab], fracture_mask[slab] = rendered.labels, rendered.fracture_mask
        add_metal(rendered.hu, neck.fillings, part)
        for k in range(slab.start, slab.stop):
            last = memory * last + np.float32(np.sqrt(1 - memory**2)) * _white(grid.shape[1:], spectrum.shape, rng)
            plane = rendered.hu[k - start]
            image: Any = fft.rfft2(plane)
            darken(image, plane, float(grid.spacing_mm[1]), scanner.beam_hardening)
            image *= kernel * moved if moved is not None and shaken[k] else kernel
            noise = last * (spectrum * np.float32(level[k]) + streaks * np.float32(streak[k]))
            image[:half, :wide] += noise[:half]
            image[-half:, :wide] += noise[half:]
            scanned = fft.irfft2(image, s=grid.shape[1:], overwrite_x=True)
            np.rint(scanned, out=scanned)
            hu[k] = np.clip(scanned, LOWEST_HU, HIGHEST_HU, out=scanned)
            if beyond is not None:
                hu[k][beyond], labels[k][beyond], fracture_mask[k][beyond] = LOWEST_HU, 0, 0
    return Scan(hu, labels, fracture_mask)


def transfer(frequency: Field, resolution_per_mm: float, edge: float) -> Field:
    """Return a kernel's modulation transfer.

    Parameters
    ----------
    frequency : array
        Line pairs per mm.
    resolution_per_mm : float
        Where a kernel without lift passes half.
    edge : float
        How much what lies below is lifted: 0 for a soft kernel, 1 for a bone kernel with overshoot.
    """
    square = (frequency / np.float32(resolution_per_mm)) ** 2
    return np.asarray((1 + np.float32(edge) * square) * np.exp(-np.float32(np.log(2)) * square), np.float32)


def _filters(scanner: Scanner) -> tuple[Field, Field, Field]:
    """Return, in the frequencies of a slice's transform: the kernel, and the spectra of noise and of streaks.

    Noise of filtered back projection rises with frequency until the kernel takes it away (Riederer, Pelc and Chesler
    1978); that of too few photons through the shoulders runs sideways. Both are scaled to a deviation of 1 HU.
    """
    columns = scanner.grid.shape[2]
    v, u = (values.astype(np.float32) for values in frequencies(scanner.grid.shape[1:], scanner.grid.spacing_mm[1:]))
    frequency = np.hypot(u, v)
    kernel = transfer(frequency, scanner.resolution_per_mm, scanner.edge)
    noise = np.sqrt(frequency) * kernel
    streaks = noise * np.exp(-((u / np.float32(0.02)) ** 2))
    return kernel, _of_unit_deviation(noise, columns), _of_unit_deviation(streaks, columns)


def _jolt(scanner: Scanner) -> tuple[npt.NDArray[np.complex64] | None, npt.NDArray[np.bool_]]:
    """Return how motion changes a slice's transform (two places at once, half the time each), and which slices."""
    grid = scanner.grid
    if scanner.motion_mm is None:
        return None, np.zeros(grid.shape[0], bool)
    low, high, x, y = scanner.motion_mm
    v, u = frequencies(grid.shape[1:], grid.spacing_mm[1:])
    at = grid.heights_mm
    return (0.5 + 0.5 * np.exp(-2j * np.pi * (u * x + v * y))).astype(np.complex64), (at >= low) & (at <= high)


@lru_cache(maxsize=4)
def outside_circle(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return which pixels of a slice of so many rows and columns lie outside its largest circle."""
    j, i = np.ogrid[: shape[0], : shape[1]]
    return _is_outside(shape, j, i)


def _is_outside(shape: tuple[int, ...], j: npt.NDArray[Any], i: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which rows and columns lie outside the largest circle."""
    rows, columns = shape
    return np.asarray(np.hypot(j - (rows - 1) / 2, i - (columns - 1) / 2) > min(rows, columns) / 2)


def _of_unit_deviation(spectrum: Field, columns: int) -> Field:
    """Scale a spectrum so that white noise through it has a deviation of 1 again."""
    twice = np.full(spectrum.shape[1], 2.0)  # all but the first and last column stand for two
    twice[0] = 1.0
    if columns % 2 == 0:
        twice[-1] = 1.0
    power = float((spectrum.astype(np.float64) ** 2 @ twice).sum())
    pixels = spectrum.shape[0] * columns
    return np.asarray(spectrum * np.float32(np.sqrt(pixels / power)), np.float32)


def _band(spectrum: Field) -> tuple[int, int]:
    """Return how many rows at either end, and how many columns, of a transform hold all noise that counts."""
    rows, columns = np.nonzero(spectrum > _SILENT * spectrum.max())
    up = np.minimum(rows, len(spectrum) - rows).max() + 1
    return int(min(up, len(spectrum) // 2)), int(columns.max()) + 1


def _white(shape: tuple[int, int], part: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.complex64]:
    """Return a part of the transform of white noise with a deviation of 1.

    It is white noise itself, which saves the transform. The first column should mirror itself: of one that does not the
    way back takes half the power, which is put in before.
    """
    rows, columns = part
    parts = rng.standard_normal((rows, columns, 2), dtype=np.float32)
    parts *= np.float32(np.sqrt(shape[0] * shape[1] / 2))
    parts[:, 0] *= np.float32(np.sqrt(2))
    return parts.view(np.complex64)[..., 0]


def noise_of_slices(neck: Neck, scanner: Scanner) -> tuple[Field, Field]:
    """Return the deviation of noise and of streaks in each slice, HU.

    Noise goes with the root of what the beam loses (Beer's law), on average over a beam from the side and one from the
    front; what the beam from the side loses more becomes streaks. The tube gives more where more is lost, which halves
    the exponent, as its current's modulation does.
    """
    side, front = neck.soft.paths_mm()
    at, levels = scanner.grid.heights_mm, neck.soft.grid.heights_mm
    lost = [np.exp(0.5 * _WATER_PER_MM * np.interp(at, levels, path)) for path in (side, front)]
    calm = float(np.interp(0.0, at, 0.5 * lost[0] + 0.5 * lost[1]))
    noise = (0.5 * lost[0] + 0.5 * lost[1]) / calm
    noise = 1 + (noise - 1) * scanner.shoulders
    streaks = np.maximum(lost[0] - lost[1], 0) / calm * scanner.shoulders
    limit = np.float32(4.0)
    return (
        np.minimum(noise, limit).astype(np.float32) * np.float32(scanner.noise_hu),
        np.minimum(0.8 * streaks, limit).astype(np.float32) * np.float32(scanner.noise_hu),
    )
