"""Random appearance of training patches: contrast, sharpness, noise and shading, wider than scanners differ."""

from typing import Final

import numpy as np
from scipy import ndimage

from cspine.core.typing import Floats32

_SOFT_TISSUE_HU: Final = 60.0
"""Attenuation above which bone contrast is scaled."""

_MAX_LOG_BONE_CONTRAST: Final = 0.45
_MAX_LOG_CONTRAST: Final = 0.15
_MAX_OFFSET_HU: Final = 60.0
_BLUR_PROBABILITY: Final = 0.3
_MAX_BLUR_MM: Final = (2.4, 1.7, 1.7)
"""Largest standard deviation of the blur along k, j and i."""

_SHARPEN_PROBABILITY: Final = 0.15
_NOISE_PROBABILITY: Final = 0.6
_MAX_NOISE_HU: Final = 50.0
_COARSE_NOISE_PROBABILITY: Final = 0.3
_SHADING_PROBABILITY: Final = 0.25
_MAX_SHADING_HU: Final = 40.0
_THICK_PROBABILITY: Final = 0.06


def random_appearance(hu: Floats32, spacing_mm: float, rng: np.random.Generator) -> Floats32:
    """Return a patch with random contrast, sharpness, noise and shading.

    Parameters
    ----------
    hu : (k, j, i) float32
        Hounsfield units.
    spacing_mm : float
        Side of a voxel.
    rng : Generator
        Random number generator; it is advanced.

    Returns
    -------
    (k, j, i) float32
    """
    bone = np.float32(np.exp(rng.uniform(-_MAX_LOG_BONE_CONTRAST, _MAX_LOG_BONE_CONTRAST)))
    contrast = np.float32(np.exp(rng.uniform(-_MAX_LOG_CONTRAST, _MAX_LOG_CONTRAST)))
    tissue = np.float32(_SOFT_TISSUE_HU)
    hu = np.where(hu > tissue, tissue + (hu - tissue) * bone, hu) * contrast
    hu = hu + np.float32(rng.uniform(-_MAX_OFFSET_HU, _MAX_OFFSET_HU))
    if rng.random() < _BLUR_PROBABILITY:
        sigma = rng.uniform(0.0, 1.0, 3) * _MAX_BLUR_MM / spacing_mm
        hu = ndimage.gaussian_filter(hu, sigma, truncate=2.0)
    elif rng.random() < _SHARPEN_PROBABILITY:
        hu = hu + np.float32(rng.uniform(0.2, 0.9)) * (hu - ndimage.gaussian_filter(hu, 0.8, truncate=2.0))
    if rng.random() < _THICK_PROBABILITY:
        hu = ndimage.uniform_filter1d(hu, int(rng.integers(2, 4)), axis=0)
    if rng.random() < _NOISE_PROBABILITY:
        hu = hu + _draw_noise(hu.shape, rng)
    if rng.random() < _SHADING_PROBABILITY:
        knots = rng.standard_normal((4, 3, 3)).astype(np.float32) * np.float32(rng.uniform(0.0, _MAX_SHADING_HU))
        factors = [count / knot for count, knot in zip(hu.shape, knots.shape, strict=True)]
        shading = ndimage.zoom(knots, factors, order=1, mode="nearest", grid_mode=False)
        hu = hu + shading[tuple(slice(count) for count in hu.shape)]
    return np.asarray(hu, np.float32)


def _draw_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Floats32:
    noise = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < _COARSE_NOISE_PROBABILITY:
        noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 0.9), truncate=2.0)
        noise /= noise.std()
    return noise * np.float32(rng.uniform(0.0, _MAX_NOISE_HU))
