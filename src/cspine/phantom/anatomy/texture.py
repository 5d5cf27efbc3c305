"""Random textures: periodic blocks of smooth noise, laid over space at any scale."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.phantom.anatomy.grid import Grid
from cspine.phantom.anatomy.solids import Field

_SIDE = 96
"""Voxels of a block; a power of two would let neighbouring slices of a scan fall on the same planes."""


_BLOCKS = 6

_FAR = 32 * _SIDE
"""Blocks begin this far off, in voxels."""


@dataclass(frozen=True)
class Texture:
    """Noise of mean 0 and deviation 1: one of a few blocks, and where in it a person's begins."""

    start: tuple[float, float, float]
    grain: float = 2.5
    block: int = 0

    def on(self, grid: Grid, *, scale: tuple[float, float, float]) -> Field:
        """Return the noise on a lattice, interpolated.

        Parameters
        ----------
        grid : Grid
            In mm.
        scale : (float, float, float)
            Its grain along z, y and x, in mm.
        """
        x, y, z = grid.points().coordinates((0, 0, 0))
        places = np.stack(np.broadcast_arrays(*self._places((z, y, x), scale)))
        return np.asarray(
            ndimage.map_coordinates(_block(self.grain, self.block), places, order=1, mode="grid-wrap"), np.float32
        )

    def at(
        self, grid: Grid, where: npt.NDArray[np.bool_], scales: Sequence[tuple[float, float, float]]
    ) -> Iterator[Field]:
        """Yield the noise at some points of a lattice, once for each grain: the nearest values, which do in bone."""
        x, y, z = (np.broadcast_to(values, where.shape)[where] for values in grid.points().coordinates((0, 0, 0)))
        for scale in scales:
            k, j, i = (values.astype(np.int32) for values in self._places((z, y, x), scale))
            yield _block(self.grain, self.block).ravel()[((k % _SIDE) * _SIDE + j % _SIDE) * _SIDE + i % _SIDE]

    def _places(self, zyx: Sequence[Field], scale: tuple[float, float, float]) -> list[Field]:
        """Return where in the block points lie; never below 0, so that whole numbers are cut towards their floor."""
        return [
            values * np.float32(self.grain / size) + np.float32(start + _FAR)
            for values, size, start in zip(zyx, scale, self.start, strict=True)
        ]


def draw_texture(rng: np.random.Generator, grain: float = 2.5) -> Texture:
    """Draw a block and a place in it."""
    z, y, x = rng.uniform(0, _SIDE, 3).tolist()
    return Texture((z, y, x), grain, int(rng.integers(_BLOCKS)))


@cache
def _block(grain: float, number: int) -> npt.NDArray[np.float32]:
    """Return a periodic block whose structures are about `grain` voxels wide, without slow changes."""
    noise = np.random.default_rng([int(grain * 1000), number]).standard_normal((_SIDE,) * 3, dtype=np.float32)
    fine = ndimage.gaussian_filter(noise, grain / 2.5, mode="wrap")
    block = fine - ndimage.gaussian_filter(noise, grain * 1.2, mode="wrap")
    return np.asarray(block / block.std(), np.float32)
