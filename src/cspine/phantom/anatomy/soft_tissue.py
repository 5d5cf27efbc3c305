"""All that is not bone: drawn as solids, and rasterized once on a coarse grid when it is first needed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy import ndimage

from cspine.core.typing import Floats, Floats32
from cspine.phantom.anatomy.organs import AIR, FAT, MUSCLE, SKIN, Organ, composite_organ
from cspine.phantom.anatomy.texture import Texture
from cspine.phantom.geometry.distance_fields import smoothstep
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part, sample_distance
from cspine.spine.interpolation import interpolate_axis

_SPACING_MM: Final = 1.7

_EXTENT: Final = np.array([[-180.0, -135.0, -120.0], [180.0, 110.0, 125.0]])
"""What is rasterized, in LPS about C4: more than a field of view, so that the attenuation of the shoulders is known."""

_BEAM_HALF_WIDTH_MM: Final = 13.6
"""Half the width of the beam through the spine, whose attenuation determines the noise."""


def coarse_grid(spacing_mm: float = _SPACING_MM) -> Grid:
    """Return a grid over the neck, shoulders and head, in LPS about C4."""
    k, j, i = ((_EXTENT[1] - _EXTENT[0]) / spacing_mm).astype(int)[::-1].tolist()
    return Grid.aligned(_EXTENT[0], spacing_mm, (k, j, i))


@dataclass(frozen=True)
class SoftTissue:
    """Skin, fat, muscle and organs.

    Attributes
    ----------
    body : tuple of Part
        Their surface is the skin.
    organs : tuple of Organ
        Composited over muscle and fat in this order.
    girth : float
        Girth of the neck, 0 (slim) to 1 (heavy): determines the thickness of fat under the skin and between muscles.
    back_y : float
        The y behind which fat is thicker, in LPS.
    texture : Texture
        Random texture of the septa between muscles.
    grid : Grid
        On which they are rasterized, in LPS; a spacing of 1 to 2 mm suffices.
    """

    body: tuple[Part, ...]
    organs: tuple[Organ, ...]
    girth: float
    back_y: float
    texture: Texture
    grid: Grid

    @cached_property
    def hu(self) -> Floats32:
        """HU on the grid, (k, j, i)."""
        grid = self.grid
        skin = sample_distance(self.body, grid, truncation_mm=25.0)
        fat_mm = np.float32(2.0 + 9.0 * self.girth)
        _, y, _ = grid.points().coordinates((0, 0, 0))
        behind = smoothstep(y - np.float32(self.back_y), 0.0, 40.0)
        depth, edge = -skin, float(grid.spacing_mm.max())
        septa = self.texture.interpolate(grid, scale=(45.0, 12.0, 12.0))
        muscle = np.float32(MUSCLE) - np.float32(60.0 + 70 * self.girth) * np.exp(-((septa / np.float32(0.16)) ** 2))
        layers = ((SKIN, 0.0), (FAT, 2.0), (muscle, fat_mm * (1 + behind)))
        hu = np.full(grid.shape, AIR, np.float32)
        for value, start in layers:
            hu += np.clip((depth - start) / np.float32(edge) + np.float32(0.5), 0, 1) * (value - hu)
        for organ in self.organs:
            composite_organ(hu, organ, grid)
        return hu

    def resample(self, grid: Grid) -> Floats32:
        """Return HU on another grid by linear interpolation; beyond the border, values of the border.

        Parameters
        ----------
        grid : Grid
            Points of the image, LPS in mm.
        """
        k, j, i = Grid(np.linalg.inv(self.grid.affine) @ grid.affine, grid.shape).points().coordinates((0, 0, 0))
        if k.shape[1:] == (1, 1) and j.shape[::2] == (1, 1) and i.shape[:2] == (1, 1):
            hu = self.hu
            for axis, positions in ((0, k), (2, i), (1, j)):  # rows last: contiguous, and by then the array is largest
                hu = interpolate_axis(hu, axis, np.broadcast_to(positions.ravel(), (grid.shape[axis],)))
            return hu
        indices = np.stack(np.broadcast_arrays(k, j, i))
        return np.asarray(ndimage.map_coordinates(self.hu, indices, order=1, mode="nearest"), np.float32)

    def water_path_mm(self) -> tuple[Floats, Floats]:
        """Return the water-equivalent path of a lateral and of a frontal beam through C4, for each plane of the grid.

        Returns
        -------
        lateral, frontal : (k,)
            Water-equivalent path of the lateral and of the frontal beam in each plane, in mm.
        """
        _, j, i = (np.linalg.inv(self.grid.affine) @ [0.0, 0.0, 0.0, 1.0])[:3].round().astype(int)
        spacing = float(self.grid.affine[2, 0])
        half = round(_BEAM_HALF_WIDTH_MM / spacing)
        water = np.maximum(self.hu / 1000 + 1, 0)
        lateral = water[:, j - half : j + half + 1].mean(axis=1)
        frontal = water[:, :, i - half : i + half + 1].mean(axis=2)
        return lateral.sum(axis=1) * spacing, frontal.sum(axis=1) * spacing
