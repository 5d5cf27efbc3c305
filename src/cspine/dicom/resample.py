"""Planes of a straight, even grid, interpolated from the slices of a sheared or uneven stack."""

from collections.abc import Callable

import numpy as np
import scipy

from cspine.core.typing import HounsfieldUnits
from cspine.dicom.grid import Grid
from cspine.dicom.hounsfield import AIR_HU


class PlaneResampler:
    """Interpolates the planes of a grid.

    The two slices of the latest plane are cached, so that each slice is decoded once if planes are requested in order.

    Parameters
    ----------
    grid : Grid
        The grid whose planes are interpolated.
    read : callable
        ``read(k)`` decodes the k-th sorted slice to (rows, columns) HU.
    """

    def __init__(self, grid: Grid, read: Callable[[int], HounsfieldUnits]) -> None:
        self._grid = grid
        self._read = read
        self._cache: dict[int, HounsfieldUnits] = {}

    def plane(self, k: int) -> HounsfieldUnits:
        """Return the k-th plane of the grid, (rows, columns) of HU."""
        lower, weight = int(self._grid.lower_slice[k]), float(self._grid.upper_weight[k])
        required = (lower,) if weight == 0.0 else (lower, lower + 1)
        self._cache = {index: self._cache[index] for index in required if index in self._cache}
        for index in required:
            if index not in self._cache:
                self._cache[index] = self._read_on_canvas(index)
        if weight == 0.0:
            return self._cache[lower]
        blend = (1.0 - weight) * self._cache[lower] + weight * self._cache[lower + 1]
        plane: HounsfieldUnits = np.rint(blend).astype(np.int16)
        return plane

    def _read_on_canvas(self, index: int) -> HounsfieldUnits:
        """Return a slice shifted to its position on the canvas."""
        image = self._read(index)
        if self._grid.shift_px is None:
            return image
        canvas = np.full(self._grid.shape[1:], AIR_HU, np.int16)
        canvas[: image.shape[0], : image.shape[1]] = image
        shifted = np.empty_like(canvas)
        scipy.ndimage.shift(canvas, self._grid.shift_px[index], output=shifted, order=1, mode="constant", cval=AIR_HU)
        return shifted
