"""Tiles: a large coarse volume in parts that the localizer sees one after the other, in bounded memory.

The localizer takes 300 bytes for each voxel that it sees. A neck is seen whole. A scan of the whole body is first
cropped to the body, and then split into tiles that overlap; of each tile only the core is kept, whose surroundings the
network saw. With an overlap of 96 voxels the outputs are equal to the bit; with `MARGIN`, a vertebra moves by 0.2 mm at
most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import scipy

from cspine.core.typing import HounsfieldUnits
from cspine.models.metadata import PADDING

SIDE_MULTIPLE: Final = 16
"""The localizer halves its input four times: sides are multiples of this, and tiles begin at multiples of it."""

MAX_WHOLE_VOXELS: Final = 5_500_000
"""Coarse volumes up to this size are seen whole: 0.5 x 0.5 x 0.6 m."""

TILE_VOXELS: Final = 2_500_000
"""Preferred size of a tile, for which the network takes 0.75 GB. Twice the size must quarter the voxels seen in all."""

MARGIN: Final = 48
"""Voxels beyond each side of a tile's core that the network sees as well, 144 mm."""

_MIN_BONE_HU: Final = 100
"""A part without a voxel above this holds no vertebra: spongy bone of the aged has 100 HU, cortical bone 600."""

_BODY_HU: Final = -500
_BODY_STEP: Final = 2
_BODY_MARGIN: Final = max(PADDING)
"""Voxels around the body that are kept; as many as a scan is padded by, so that a cut-off body is padded, too."""

Box = tuple[slice, slice, slice]
"""Voxels along k, j and i."""


@dataclass(frozen=True)
class Tile:
    """A part of a padded coarse volume.

    Attributes
    ----------
    seen : (slice, slice, slice)
        What the network sees; sides are multiples of `SIDE_MULTIPLE`.
    core : (slice, slice, slice)
        The part of it whose outputs are kept; the cores of all tiles do not overlap.
    """

    seen: Box
    core: Box

    @property
    def core_in_seen(self) -> Box:
        """The core, counted from the first voxel that the network sees."""
        k, j, i = (
            slice(core.start - seen.start, core.stop - seen.start)
            for core, seen in zip(self.core, self.seen, strict=True)
        )
        return k, j, i


def plan_tiles(hu: HounsfieldUnits, padded_shape: tuple[int, int, int]) -> tuple[Tile, ...]:
    """Return the tiles of a coarse volume.

    Parameters
    ----------
    hu : (k, j, i)
        The coarse volume, without padding.
    padded_shape : (int, int, int)
        Its shape after padding by `PADDING` on either side and to multiples of `SIDE_MULTIPLE`.

    Returns
    -------
    tuple of Tile
        One that is the whole volume up to `MAX_WHOLE_VOXELS`; otherwise those that show bone.
    """
    if hu.size <= MAX_WHOLE_VOXELS:
        whole = _box(np.zeros(3, int).tolist(), list(padded_shape))
        return (Tile(whole, whole),)
    tiles = split_box(_body_box(hu, padded_shape))
    return tuple(tile for tile in tiles if _shows_bone(hu, tile.core)) or tiles[:1]


def split_box(box: Box) -> tuple[Tile, ...]:
    """Split a box into tiles of about `TILE_VOXELS`, at most `MAX_WHOLE_VOXELS`, with as little overlap as possible.

    Parameters
    ----------
    box : (slice, slice, slice)
        What is split; its sides are multiples of `SIDE_MULTIPLE`.
    """
    lengths = [part.stop - part.start for part in box]
    cores = _choose_cores(lengths)
    return tuple(
        Tile((seen[0], seen[1], seen[2]), (core[0], core[1], core[2]))
        for parts in product(*(_intervals(part, core) for part, core in zip(box, cores, strict=True)))
        for seen, core in [tuple(zip(*parts, strict=True))]
    )


def _intervals(whole: slice, core_length: int) -> Iterator[tuple[slice, slice]]:
    """Yield what is seen and what is kept of each tile along one axis."""
    for start in range(whole.start, whole.stop, core_length):
        stop = min(start + core_length, whole.stop)
        yield slice(max(start - MARGIN, whole.start), min(stop + MARGIN, whole.stop)), slice(start, stop)


def _choose_cores(lengths: list[int]) -> tuple[int, ...]:
    """Return the length of cores along each axis: the fewest voxels seen in all, in tiles that are not too large."""

    def cost(cores: tuple[int, ...]) -> tuple[float, float]:
        sides = [min(core + 2 * MARGIN, length) for core, length in zip(cores, lengths, strict=True)]
        n_tiles = np.prod([np.ceil(length / core) for core, length in zip(cores, lengths, strict=True)])
        tile = float(np.prod(sides))
        return max(tile, float(MAX_WHOLE_VOXELS)), float(n_tiles) * tile * max(tile, float(TILE_VOXELS)) ** 2

    options = (range(SIDE_MULTIPLE, length + 1, SIDE_MULTIPLE) for length in lengths)
    return min(product(*options), key=cost)


def _body_box(hu: HounsfieldUnits, padded_shape: tuple[int, int, int]) -> Box:
    """Return the padded volume's part that holds the largest connected body: not the air around it, nor blankets."""
    labels, count = scipy.ndimage.label(hu[::_BODY_STEP, ::_BODY_STEP, ::_BODY_STEP] > _BODY_HU)
    if not count:
        return _box([0, 0, 0], list(padded_shape))
    largest = int(np.bincount(labels.ravel())[1:].argmax())
    body = scipy.ndimage.find_objects(labels)[largest]
    starts, stops = [], []
    for part, padding, length in zip(body, PADDING, padded_shape, strict=True):
        low = _BODY_STEP * part.start + padding - _BODY_MARGIN
        high = _BODY_STEP * part.stop + padding + _BODY_MARGIN
        starts.append(max(low // SIDE_MULTIPLE * SIDE_MULTIPLE, 0))
        stops.append(min(-(-high // SIDE_MULTIPLE) * SIDE_MULTIPLE, length))
    return _box(starts, stops)


def _shows_bone(hu: HounsfieldUnits, core: Box) -> bool:
    """Return whether any voxel of a core, which is given in the padded volume, may be bone."""
    k, j, i = (
        slice(max(part.start - padding, 0), max(part.stop - padding, 0))
        for part, padding in zip(core, PADDING, strict=True)
    )
    return bool((hu[k, j, i] > _MIN_BONE_HU).any())


def _box(starts: list[int], stops: list[int]) -> Box:
    k, j, i = (slice(start, stop) for start, stop in zip(starts, stops, strict=True))
    return k, j, i
