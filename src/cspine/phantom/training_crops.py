"""Phantoms for training without files: crops of single vertebrae and coarse volumes, rendered on the fly."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from cspine.core.anatomy import FRACTURE_STEP, VERTEBRAE, Level
from cspine.core.typing import Floats, HounsfieldUnits, Labels
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.sampler import draw_fractured_neck
from cspine.phantom.scanner.render import RenderedNeck, render
from cspine.phantom.scanner.scanner import MAX_HU, MIN_HU, Scanner
from cspine.phantom.settings import PhantomSettings, random_stream

_FWHM_PER_SD: Final = 2 * float(np.sqrt(2 * np.log(2)))
"""Full width at half maximum over standard deviation of a Gaussian."""

_NOISE_FWHM_MM: Final = 0.6
"""Width of the Gaussian that correlates the noise."""


@dataclass(frozen=True)
class Crop:
    """A part of a neck on its own grid, with its truth.

    Attributes
    ----------
    level : str or None
        Name of the vertebra in the crop; None for a coarse volume.
    hu : (k, j, i) int16
        k, j and i as the affine says.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    labels : (k, j, i) uint8
        Numbers of vertebrae as in the challenge; in a coarse volume also the head as
        `cspine.phantom.scanner.render.SKULL_LABEL`.
    fracture_level_mask : (k, j, i) uint8
        Numbers of vertebrae where they are fractured.
    fractures : tuple of Fracture
        Fracture surfaces of the vertebra, in its frame; in a coarse volume those of all vertebrae.
    frames : dict
        Level to the affine from the frame of the vertebra to LPS mm, (4, 4).
    """

    level: Level | None
    hu: HounsfieldUnits
    affine_lps: Floats
    labels: Labels
    fracture_level_mask: Labels
    fractures: tuple[Fracture, ...]
    frames: Mapping[str, Floats]


def render_vertebrae(
    seed: int, index: int, settings: PhantomSettings, *, size: int = 80, spacing_mm: float = 0.8
) -> Iterator[Crop]:
    """Yield a crop about each of C1 to C7 of a study, along the axes of the vertebra.

    Parameters
    ----------
    seed, index, settings
        As of `cspine.phantom.study.render_study`.
    size : int
        Voxels along each axis.
    spacing_mm : float
        Distance between neighboring voxels, in mm.
    """
    neck, scanner = draw_fractured_neck(seed, index, settings)
    rng = random_stream(seed, index, settings, 2)
    for level in VERTEBRAE:
        frame = neck.frames[level]
        affine = np.eye(4)
        affine[:3, :3] = frame.axes[:, ::-1] * spacing_mm
        affine[:3, 3] = frame.to_lps([0.0, 12.0, 0.0]) - affine[:3, :3] @ np.full(3, (size - 1) / 2)
        yield _crop(neck, scanner, Grid(affine, (size, size, size)), level, rng)


def render_coarse(
    seed: int, index: int, settings: PhantomSettings, *, spacing_mm: float = 3.0, margin: int = 0
) -> Crop:
    """Return the whole field of view of a study at a coarse spacing.

    Parameters
    ----------
    seed, index, settings
        As of `cspine.phantom.study.render_study`.
    spacing_mm : float
        Distance between neighboring voxels, in mm.
    margin : int
        Voxels beyond the scan on every side, which show the neck too.
    """
    neck, scanner = draw_fractured_neck(seed, index, settings)
    affine = scanner.grid.affine.copy()
    scale = spacing_mm / scanner.grid.spacing_mm
    affine[:3, :3] *= scale
    affine[:3, 3] -= margin * affine[:3, :3].sum(axis=1)
    shape = [max(round(count / part), 1) + 2 * margin for count, part in zip(scanner.grid.shape, scale, strict=True)]
    grid = Grid(affine, (shape[0], shape[1], shape[2]))
    return _crop(neck, scanner, grid, None, random_stream(seed, index, settings, 2))


def _crop(neck: Neck, scanner: Scanner, grid: Grid, level: Level | None, rng: np.random.Generator) -> Crop:
    """Render a neck on a grid, with the resolution and noise of the scanner at the spacing of the grid."""
    spacing = grid.spacing_mm
    thickness = float(max(spacing[0], scanner.thickness_mm)) if level is None else 0.0  # crops are blurred
    rendered = render(neck, grid, thickness_mm=thickness, label_skull=level is None)
    hu = _blur_and_add_noise(rendered, scanner, spacing, rng)
    fractures = (
        neck.fractures.get(level, ())
        if level
        else tuple(surface for surfaces in neck.fractures.values() for surface in surfaces)
    )
    frames = {name: frame.affine for name, frame in neck.frames.items()}
    return Crop(
        level, hu, grid.affine, rendered.labels, rendered.fracture_mask % np.uint8(FRACTURE_STEP), fractures, frames
    )


def _blur_and_add_noise(
    rendered: RenderedNeck, scanner: Scanner, spacing: Floats, rng: np.random.Generator
) -> HounsfieldUnits:
    """Return HU blurred as by the scanner, beyond the averaging over voxels, with the noise left after it."""
    sd_mm = np.array([scanner.thickness_mm * 0.6, scanner.psf_fwhm_mm, scanner.psf_fwhm_mm]) / _FWHM_PER_SD
    sigma = np.sqrt(np.maximum(sd_mm**2 - (spacing * 0.29) ** 2, 0)) / spacing
    hu = ndimage.gaussian_filter(rendered.hu, sigma, mode="nearest", truncate=3.0)
    noise = ndimage.gaussian_filter(
        rng.standard_normal(hu.shape, dtype=np.float32), _NOISE_FWHM_MM / _FWHM_PER_SD / spacing, truncate=2.0
    )
    remaining = min(1.0, float(np.sqrt(np.prod(np.minimum(1.0, np.array([1.0, 0.7, 0.7]) / spacing)))))
    hu += noise * np.float32(scanner.noise_hu * remaining / max(float(noise.std()), 1e-6))
    return np.clip(np.rint(hu), MIN_HU, MAX_HU).astype(np.int16)
