"""Soft tissue of a whole body: as that of a neck, but cheap enough to be rasterized for every scan."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from cspine.core.typing import Floats32
from cspine.phantom.anatomy.organs import AIR, FAT, MUSCLE, SKIN, composite_organ
from cspine.phantom.anatomy.soft_tissue import SoftTissue
from cspine.phantom.geometry.distance_fields import smoothstep
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import bounding_box_of, sample_distance

_DEPTH_MM: Final = 25.0
"""Depth below the skin down to which distances are needed."""

_SEPTA_SCALE_MM: Final = (45.0, 12.0, 12.0)
_SEPTA_WIDTH: Final = np.float32(0.16)
"""Size of the muscles between septa of fat along z, y and x, and width of the septa in units of the texture."""


@dataclass(frozen=True)
class CoarseSoftTissue(SoftTissue):
    """Skin, fat, muscle and organs on a grid of 2 mm or coarser, where the nearest value of a texture suffices."""

    @cached_property
    def hu(self) -> Floats32:
        """HU on the grid, (k, j, i)."""
        grid = self.grid
        hu = np.full(grid.shape, AIR, np.float32)
        window = grid.window(bounding_box_of(self.body), float(grid.spacing_mm.max()))
        if window is not None:
            self._fill(hu[window], grid.crop(window))
        for organ in self.organs:
            composite_organ(hu, organ, grid)
        return hu

    def _fill(self, hu: Floats32, grid: Grid) -> None:
        """Fill an image with skin, fat and muscle, in place."""
        depth = sample_distance(self.body, grid, truncation_mm=_DEPTH_MM)
        np.negative(depth, out=depth)
        edge = np.float32(grid.spacing_mm.max())
        near = depth > -0.5 * edge
        depth = depth[near]
        (y,) = grid.points().coordinates((0, 0, 0), [[0.0, 1.0, 0.0]])
        behind = np.broadcast_to(smoothstep(y - np.float32(self.back_y), 0.0, 40.0), near.shape)[near]
        (septa,) = self.texture.nearest(grid, near, [_SEPTA_SCALE_MM])
        fat = np.float32(60.0 + 70.0 * self.girth)
        muscle = np.float32(MUSCLE) - fat * np.exp(-((septa / _SEPTA_WIDTH) ** 2))
        value = np.full(depth.shape, AIR, np.float32)
        for layer, start in ((SKIN, 0.0), (FAT, 2.0), (muscle, np.float32(2.0 + 9.0 * self.girth) * (1 + behind))):
            value += np.clip((depth - start) / edge + np.float32(0.5), 0, 1) * (layer - value)
        hu[near] = value
