"""Planes of a straight, even grid from the slices of a sheared or uneven stack."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from cspine.dicom.codec.pixels import AIR_HU, Pixels
from cspine.dicom.grid import Grid


class Blender:
    """Makes planes of a grid one after the other, decoding each slice once while neighbours are made in order."""

    def __init__(self, grid: Grid, read: Callable[[int], Pixels]) -> None:
        self._grid = grid
        self._read = read
        self._kept: dict[int, Pixels] = {}

    def plane(self, k: int) -> Pixels:
        """Return one plane, rows x columns of HU."""
        below, part = int(self._grid.below[k]), float(self._grid.part[k])
        wanted = (below,) if part == 0.0 else (below, below + 1)
        self._kept = {place: self._kept[place] for place in wanted if place in self._kept}
        for place in wanted:
            if place not in self._kept:
                self._kept[place] = self._placed(place)
        if part == 0.0:
            return self._kept[below]
        blend = (1.0 - part) * self._kept[below] + part * self._kept[below + 1]
        plane: Pixels = np.rint(blend).astype(np.int16)
        return plane

    def _placed(self, place: int) -> Pixels:
        """Return a slice where it lies on the canvas."""
        image = self._read(place)
        if self._grid.shift is None:
            return image
        canvas = np.full(self._grid.shape[1:], AIR_HU, np.int16)
        canvas[: image.shape[0], : image.shape[1]] = image
        placed = np.empty_like(canvas)
        ndimage.shift(canvas, self._grid.shift[place], output=placed, order=1, mode="constant", cval=AIR_HU)
        return placed
