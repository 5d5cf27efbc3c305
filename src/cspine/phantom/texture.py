"""Random textures: periodic blocks of smooth noise, laid over space at any scale."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.phantom.grid import Grid
from cspine.phantom.solids import Field

_SIDE = 96
"""Voxels of a block; a power of two would let neighbouring slices of a scan fall on the same planes."""


@dataclass(frozen=True)
class Texture:
    """Noise of mean 0 and deviation 1 that no two people share: a block, and where theirs begins."""

    start: tuple[float, float, float]
    grain: float = 2.5

    def on(self, grid: Grid, *, scale: tuple[float, float, float], smooth: bool = True) -> Field:
        """Return the noise on a lattice in the patient's axes.

        Parameters
        ----------
        grid : Grid
            In mm.
        scale : (float, float, float)
            Its grain along z, y and x, in mm.
        smooth : bool
            Interpolate between the block's voxels; without, the nearest is taken, which suffices for fine grains.
        """
        block = _block(self.grain)
        x, y, z = grid.points().seen((0, 0, 0))
        at = [
            (values * np.float32(self.grain / size) + np.float32(start)) % _SIDE
            for values, size, start in zip((z, y, x), scale, self.start, strict=True)
        ]
        if not smooth:
            k, j, i = (values.astype(np.intp) % _SIDE for values in at)
            return block[k, j, i]
        places = np.stack(np.broadcast_arrays(*at))
        return np.asarray(ndimage.map_coordinates(block, places, order=1, mode="grid-wrap"), np.float32)


def draw_texture(rng: np.random.Generator, grain: float = 2.5) -> Texture:
    """Draw a place in the block."""
    z, y, x = rng.uniform(0, _SIDE, 3).tolist()
    return Texture((z, y, x), grain)


@cache
def _block(grain: float) -> npt.NDArray[np.float32]:
    """Return a periodic block whose structures are about `grain` voxels wide, without slow changes."""
    noise = np.random.default_rng(int(grain * 1000)).standard_normal((_SIDE,) * 3, dtype=np.float32)
    fine = ndimage.gaussian_filter(noise, grain / 2.5, mode="wrap")
    block = fine - ndimage.gaussian_filter(noise, grain * 1.2, mode="wrap")
    return np.asarray(block / block.std(), np.float32)
