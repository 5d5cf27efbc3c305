"""Random textures: periodic blocks of band-pass filtered noise, mapped to space at any scale."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from scipy import ndimage

from cspine.core.typing import Bools, Floats32
from cspine.phantom.geometry.grid import Grid

_SIDE: Final = 96
"""Voxels of a block along each axis; with a power of two, neighboring slices of a scan could share planes."""

_N_BLOCKS: Final = 6

_OFFSET: Final = 32 * _SIDE
"""Added to all positions in a block, in voxels, so that none is negative."""


@dataclass(frozen=True)
class Texture:
    """Noise of mean 0 and standard deviation 1.

    Attributes
    ----------
    start : (float, float, float)
        Position in the block of the origin of space, in voxels along z, y and x.
    grain : float
        Size of its structures, in voxels of the block.
    block : int
        Which of the blocks it takes.
    """

    start: tuple[float, float, float]
    grain: float = 2.5
    block: int = 0

    def interpolate(self, grid: Grid, *, scale: tuple[float, float, float]) -> Floats32:
        """Return the noise on a grid by linear interpolation, (k, j, i).

        Parameters
        ----------
        grid : Grid
            The points at which the function is sampled.
        scale : (float, float, float)
            Size of its structures along z, y and x, in mm.
        """
        x, y, z = grid.points().coordinates((0, 0, 0))
        positions = np.stack(np.broadcast_arrays(*self._positions((z, y, x), scale)))
        return np.asarray(
            ndimage.map_coordinates(_block(self.grain, self.block), positions, order=1, mode="grid-wrap"), np.float32
        )

    def nearest(self, grid: Grid, mask: Bools, scales: Sequence[tuple[float, float, float]]) -> Iterator[Floats32]:
        """Yield the noise at selected points of a grid by nearest-neighbor lookup, which suffices in bone.

        Parameters
        ----------
        grid : Grid
            The points at which the function is sampled.
        mask : (k, j, i) bool
            Which points of the grid.
        scales : sequence of (float, float, float)
            Sizes of structures along z, y and x in mm, for each of which an array (n,) is yielded.
        """
        x, y, z = (np.broadcast_to(values, mask.shape)[mask] for values in grid.points().coordinates((0, 0, 0)))
        for scale in scales:
            k, j, i = (values.astype(np.int32) for values in self._positions((z, y, x), scale))
            yield _block(self.grain, self.block).ravel()[((k % _SIDE) * _SIDE + j % _SIDE) * _SIDE + i % _SIDE]

    def _positions(self, zyx: Sequence[Floats32], scale: tuple[float, float, float]) -> list[Floats32]:
        """Return positions in the block in voxels; none is negative, so that casting to int takes the floor."""
        return [
            values * np.float32(self.grain / size) + np.float32(start + _OFFSET)
            for values, size, start in zip(zyx, scale, self.start, strict=True)
        ]


def draw_texture(rng: np.random.Generator, grain: float = 2.5) -> Texture:
    """Draw the block of a texture and its position in it."""
    z, y, x = rng.uniform(0, _SIDE, 3).tolist()
    return Texture((z, y, x), grain, int(rng.integers(_N_BLOCKS)))


@cache
def _block(grain: float, number: int) -> Floats32:
    """Return a periodic block of noise with structures of about `grain` voxels: a difference of two Gaussians."""
    noise = np.random.default_rng([int(grain * 1000), number]).standard_normal((_SIDE,) * 3, dtype=np.float32)
    fine = ndimage.gaussian_filter(noise, grain / 2.5, mode="wrap")
    block = fine - ndimage.gaussian_filter(noise, grain * 1.2, mode="wrap")
    return np.asarray(block / block.std(), np.float32)
