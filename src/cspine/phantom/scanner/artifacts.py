"""Artifacts: streaks of metal, and beam hardening by dense bone."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import fft

from cspine.core.typing import Floats, Floats32
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.scanner.kernel import spatial_frequencies

_METAL_HU: Final = 9000.0
_METAL_RADIUS_MM: Final = 2.2
_STREAK_RANGE_MM: Final = 5.0
"""Distance above and below a filling up to which slices have streaks."""

_N_RAYS: Final = 90
"""Streaks about a filling."""

_BONE_HU: Final = 300.0
_BAND_GAIN: Final = 0.10
"""Loss of HU per HU of dense bone in the path of the beam, without correction."""

_STRIDE: Final = 4
"""Dark bands are computed on every fourth pixel, since they have no detail."""


def add_metal(hu: Floats32, fillings: Sequence[Floats], grid: Grid) -> None:
    """Add dental fillings to slices, with their streaks and the dark bands between them.

    Parameters
    ----------
    hu : (k, j, i) float32
        The slices; changed in place.
    fillings : sequence of (3,)
        Positions of fillings, in LPS.
    grid : Grid
        Points of the slices, LPS in mm.
    """
    if not fillings:
        return
    patterns = [_ray_pattern(filling) for filling in fillings]
    for k in range(grid.shape[0]):
        x, y, z = (
            grid.crop((slice(k, k + 1), slice(0, grid.shape[1]), slice(0, grid.shape[2])))
            .points()
            .coordinates((0, 0, 0))
        )
        near = [
            (filling, pattern, distance_mm)
            for filling, pattern in zip(fillings, patterns, strict=True)
            if (distance_mm := float(np.abs(z - filling[2]).min())) < _STREAK_RANGE_MM
        ]
        for filling, pattern, distance_mm in near:
            _add_streaks(hu[k], x[0] - np.float32(filling[0]), y[0] - np.float32(filling[1]), pattern, distance_mm)
        for (one, _, distance_mm), (other, _, _) in pairwise(near):
            _darken_between(hu[k], x[0], y[0], one, other, distance_mm)


def apply_beam_hardening(transform: npt.NDArray[Any], plane: Floats32, pixel_mm: float, strength: float) -> None:
    """Subtract dark bands between dense bones from the Fourier transform of a slice.

    Parameters
    ----------
    transform : (rows, columns // 2 + 1) complex
        Real transform of the slice; changed in place.
    plane : (rows, columns) float32
        The same slice before the transform, in HU.
    pixel_mm : float
        Distance between neighboring pixels of the slice, in mm.
    strength : float
        Fraction of the bands left after the correction of the scanner, 0 to 1.
    """
    if not strength:
        return
    dense = np.maximum(plane[::_STRIDE, ::_STRIDE] - np.float32(_BONE_HU), 0)
    rows, columns = dense.shape
    v, u = spatial_frequencies((rows, columns), (pixel_mm * _STRIDE, pixel_mm * _STRIDE))
    along = np.exp(-((60.0 * u) ** 2) - (14.0 * v) ** 2)  # bands are mostly lateral
    gain = _BAND_GAIN * strength * transform.shape[0] / rows * plane.shape[1] / columns
    bands = fft.rfft2(dense) * (along * gain)
    positive, negative, width = (rows + 1) // 2, rows // 2, bands.shape[1] - 1
    transform[:positive, :width] -= bands[:positive, :width]
    transform[-negative:, :width] -= bands[-negative:, :width]


def _ray_pattern(filling: Floats) -> Floats32:
    """Return the intensity of the streaks about a filling by angle; seeded by its position, so that slabs agree."""
    seed = [int(value) for value in np.asarray(filling).view(np.uint64)]
    return np.random.default_rng(seed).normal(0.0, 1.0, _N_RAYS).astype(np.float32)


def _add_streaks(hu: Floats32, x: Floats32, y: Floats32, pattern: Floats32, distance_mm: float) -> None:
    """Add a filling and its streaks to a slice at a distance above or below, given x and y about the filling."""
    radius = np.sqrt(x * x + y * y)
    angle = (np.arctan2(y, x) + np.float32(np.pi)) * np.float32(_N_RAYS / (2 * np.pi))
    low = np.floor(angle).astype(np.intp) % _N_RAYS
    weight = angle - np.floor(angle)
    ray = pattern[low] * (1 - weight) + pattern[(low + 1) % _N_RAYS] * weight
    fade = np.float32(1 - distance_mm / _STREAK_RANGE_MM)
    hu += fade * np.float32(260.0) * ray * np.exp(-radius / np.float32(35.0))
    hu += np.float32(_METAL_HU) * np.clip(np.float32(_METAL_RADIUS_MM - distance_mm) - radius + 0.5, 0, 1)


def _darken_between(hu: Floats32, x: Floats32, y: Floats32, one: Floats, other: Floats, distance_mm: float) -> None:
    """Add a dark band between two fillings to a slice at a distance above or below."""
    direction = (other - one)[:2]
    length = max(float(np.hypot(*direction)), 1.0)
    along = ((x - one[0]) * direction[0] + (y - one[1]) * direction[1]) / length
    across = ((y - one[1]) * direction[0] - (x - one[0]) * direction[1]) / length
    within = np.clip(1 - np.maximum(np.maximum(-along, along - length), 0) / 15.0, 0, 1)
    hu -= (350.0 * (1 - distance_mm / _STREAK_RANGE_MM) * within * np.exp(-((across / 3.0) ** 2))).astype(np.float32)
