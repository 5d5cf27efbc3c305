"""What metal and dense bone do to slices."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from scipy import fft

from cspine.phantom.anatomy.grid import Grid
from cspine.phantom.anatomy.solids import Field, Place

_METAL_HU: Final = 9000.0
_METAL_MM: Final = 2.2
_STREAKS_MM: Final = 5.0
"""How far above and below a filling slices are streaked."""

_RAYS: Final = 90
"""Streaks about a filling."""

_BONE_HU: Final = 300.0
_SHADOW: Final = 0.10
"""How much of the dense bone that a beam meets is missing along it, at most."""

_COARSE: Final = 4
"""The shadow is worked out on every fourth pixel; it has no detail."""


def add_metal(hu: Field, fillings: Sequence[Place], grid: Grid) -> None:
    """Put fillings into slices, with their streaks and the dark bands between them.

    Parameters
    ----------
    hu : (k, j, i) float32
        Is changed.
    fillings : sequence of (3,)
        Where metal is, LPS.
    grid : Grid
        Of the slices.
    """
    if not fillings:
        return
    patterns = [_pattern(place) for place in fillings]
    for k in range(grid.shape[0]):
        x, y, z = (
            grid.part((slice(k, k + 1), slice(0, grid.shape[1]), slice(0, grid.shape[2])))
            .points()
            .coordinates((0, 0, 0))
        )
        near = [
            (place, pattern, off)
            for place, pattern in zip(fillings, patterns, strict=True)
            if (off := float(np.abs(z - place[2]).min())) < _STREAKS_MM
        ]
        for place, pattern, off in near:
            _streak(hu[k], x[0] - np.float32(place[0]), y[0] - np.float32(place[1]), pattern, off)
        for (one, _, off), (other, _, _) in pairwise(near):
            _darken_between(hu[k], x[0], y[0], one, other, off)


def darken(image: Any, plane: Field, pixel_mm: float, share: float) -> None:  # noqa: ANN401 - a transform
    """Take the shadow of dense bone, which hardens the beam, from a slice's transform.

    Parameters
    ----------
    image : complex array
        The transform of the slice; is changed.
    plane : (rows, columns) float32
        The slice.
    pixel_mm : float
        Its pixels.
    share : float
        How much of the shadow is left after the scanner's own correction, 0 to 1.
    """
    if not share:
        return
    dense = np.maximum(plane[::_COARSE, ::_COARSE] - np.float32(_BONE_HU), 0)
    rows, columns = dense.shape
    v, u = frequencies((rows, columns), (pixel_mm * _COARSE, pixel_mm * _COARSE))
    along = np.exp(-((60.0 * u) ** 2) - (14.0 * v) ** 2)  # mostly between what lies side by side
    shadow = fft.rfft2(dense) * (along * (_SHADOW * share * image.shape[0] / rows * plane.shape[1] / columns))
    above, below, across = (rows + 1) // 2, rows // 2, shadow.shape[1] - 1
    image[:above, :across] -= shadow[:above, :across]
    image[-below:, :across] -= shadow[-below:, :across]


def frequencies(shape: tuple[int, int], pixel_mm: Sequence[float] | Place) -> tuple[Place, Place]:
    """Return the frequencies of a slice's transform along its rows' axis and its columns', per mm, to be broadcast."""
    return fft.fftfreq(shape[0], pixel_mm[0])[:, None], fft.rfftfreq(shape[1], pixel_mm[1])[None, :]


def _pattern(place: Place) -> Field:
    """Return the strength of the streaks about a filling by angle; its place makes it the same in every slab."""
    seed = [int(value) for value in np.asarray(place).view(np.uint64)]
    return np.random.default_rng(seed).normal(0.0, 1.0, _RAYS).astype(np.float32)


def _streak(hu: Field, x: Field, y: Field, pattern: Field, off_mm: float) -> None:
    reach = np.sqrt(x * x + y * y)
    angle = (np.arctan2(y, x) + np.float32(np.pi)) * np.float32(_RAYS / (2 * np.pi))
    low = np.floor(angle).astype(np.intp) % _RAYS
    part = angle - np.floor(angle)
    ray = pattern[low] * (1 - part) + pattern[(low + 1) % _RAYS] * part
    fade = np.float32(1 - off_mm / _STREAKS_MM)
    hu += fade * np.float32(260.0) * ray * np.exp(-reach / np.float32(35.0))
    hu += np.float32(_METAL_HU) * np.clip(np.float32(_METAL_MM - off_mm) - reach + 0.5, 0, 1)


def _darken_between(hu: Field, x: Field, y: Field, one: Place, other: Place, off_mm: float) -> None:
    way = (other - one)[:2]
    length = max(float(np.hypot(*way)), 1.0)
    along = ((x - one[0]) * way[0] + (y - one[1]) * way[1]) / length
    across = ((y - one[1]) * way[0] - (x - one[0]) * way[1]) / length
    within = np.clip(1 - np.maximum(np.maximum(-along, along - length), 0) / 15.0, 0, 1)
    hu -= (350.0 * (1 - off_mm / _STREAKS_MM) * within * np.exp(-((across / 3.0) ** 2))).astype(np.float32)
