"""Necks for training without files: coarse volumes and single vertebrae, scanned on the fly, with their truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.anatomy import FRACTURE_STEP, VERTEBRAE, Level
from cspine.phantom.anatomy.grid import Grid
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.sampler import draw_broken_neck
from cspine.phantom.scanner.render import Rendered, render
from cspine.phantom.scanner.scanner import HIGHEST_HU, LOWEST_HU, Scanner
from cspine.phantom.settings import PhantomSettings, stream

_TO_DEVIATION: Final = 2 * float(np.sqrt(2 * np.log(2)))
"""Width at half height over standard deviation of a Gaussian."""

_NOISE_GRAIN_MM: Final = 0.6


@dataclass(frozen=True)
class Crop:
    """A piece of a scanned neck on a lattice of its own, with its truth.

    Attributes
    ----------
    level : str or None
        Of a vertebra's crop.
    hu : (k, j, i) int16
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    labels, broken : (k, j, i) uint8
        Vertebrae as the challenge numbers them, and of a coarse volume the head as `SKULL`; and vertebrae's numbers
        where they are broken.
    fractures : tuple of Crack
        The vertebra's fractures, in its frame; of a coarse volume, all.
    frames : dict
        Level to the (4, 4) affine from a vertebra's frame to LPS mm.
    """

    level: Level | None
    hu: npt.NDArray[np.int16]
    affine_lps: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]
    broken: npt.NDArray[np.uint8]
    fractures: tuple[Fracture, ...]
    frames: Mapping[str, npt.NDArray[np.float64]]


def render_vertebrae(
    seed: int, index: int, settings: PhantomSettings, *, size: int = 80, spacing_mm: float = 0.8
) -> Iterator[Crop]:
    """Yield a crop about each of C1 to C7, along the vertebra's own axes.

    Parameters
    ----------
    seed, index : int
        Which study.
    settings : PhantomSettings
        Ranges to draw from.
    size : int
        Voxels along each axis.
    spacing_mm : float
        Between them.
    """
    neck, scanner = draw_broken_neck(seed, index, settings)
    rng = stream(seed, index, settings, 2)
    for level in VERTEBRAE:
        frame = neck.frames[level]
        affine = np.eye(4)
        affine[:3, :3] = frame.axes[:, ::-1] * spacing_mm
        affine[:3, 3] = frame.to_lps([0.0, 12.0, 0.0]) - affine[:3, :3] @ np.full(3, (size - 1) / 2)
        yield _crop(neck, scanner, Grid(affine, (size, size, size)), level, rng)


def render_coarse(
    seed: int, index: int, settings: PhantomSettings, *, spacing_mm: float = 3.0, margin: int = 0
) -> Crop:
    """Return a study's whole field at a coarse spacing.

    Parameters
    ----------
    seed, index : int
        Which study.
    settings : PhantomSettings
        Ranges to draw from.
    spacing_mm : float
        Between voxels.
    margin : int
        By how many voxels the lattice reaches beyond the scan on every side; the neck goes on there.
    """
    neck, scanner = draw_broken_neck(seed, index, settings)
    affine = scanner.grid.affine.copy()
    scale = spacing_mm / scanner.grid.spacing_mm
    affine[:3, :3] *= scale
    affine[:3, 3] -= margin * affine[:3, :3].sum(axis=1)
    shape = [max(round(count / part), 1) + 2 * margin for count, part in zip(scanner.grid.shape, scale, strict=True)]
    grid = Grid(affine, (shape[0], shape[1], shape[2]))
    return _crop(neck, scanner, grid, None, stream(seed, index, settings, 2))


def _crop(neck: Neck, scanner: Scanner, grid: Grid, level: Level | None, rng: np.random.Generator) -> Crop:
    """Render a lattice, with the scanner's resolution and noise brought down to its spacing."""
    spacing = grid.spacing_mm
    thickness = float(max(spacing[0], scanner.thickness_mm)) if level is None else 0.0  # of a crop, the blur does it
    rendered = render(neck, grid, thickness_mm=thickness, label_skull=level is None)
    hu = _scan(rendered, scanner, spacing, rng)
    fractures = (
        neck.fractures.get(level, ())
        if level
        else tuple(fracture for found in neck.fractures.values() for fracture in found)
    )
    frames = {name: frame.affine for name, frame in neck.frames.items()}
    return Crop(
        level, hu, grid.affine, rendered.labels, rendered.fracture_mask % np.uint8(FRACTURE_STEP), fractures, frames
    )


def _scan(
    rendered: Rendered, scanner: Scanner, spacing: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Blur by what the scanner blurs beyond the voxels, and add as much noise as they leave of the scanner's."""
    blurs = np.array([scanner.thickness_mm * 0.6, scanner.blur_mm, scanner.blur_mm]) / _TO_DEVIATION
    sigma = np.sqrt(np.maximum(blurs**2 - (spacing * 0.29) ** 2, 0)) / spacing
    hu = ndimage.gaussian_filter(rendered.hu, sigma, mode="nearest", truncate=3.0)
    noise = ndimage.gaussian_filter(
        rng.standard_normal(hu.shape, dtype=np.float32), _NOISE_GRAIN_MM / _TO_DEVIATION / spacing, truncate=2.0
    )
    left = min(1.0, float(np.sqrt(np.prod(np.minimum(1.0, np.array([1.0, 0.7, 0.7]) / spacing)))))
    hu += noise * np.float32(scanner.noise_hu * left / max(float(noise.std()), 1e-6))
    return np.clip(np.rint(hu), LOWEST_HU, HIGHEST_HU).astype(np.int16)
