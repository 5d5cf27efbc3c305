"""A lattice of points in space, and solids sampled on it where they are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from cspine.phantom.anatomy.solids import AXES, Box, Field, Points, Rod, Solid, Vector, enclose, intersect, unite

Window: TypeAlias = tuple[slice, slice, slice]
Warp: TypeAlias = Callable[[Points], Points]

FINE_MM: Final = 0.85
"""Solids are sampled at steps no shorter than half of this, and no longer than this where the lattice allows."""

REACH_MM: Final = 3.0
"""Distances are told this far from a surface, and are larger than this beyond."""


@dataclass(frozen=True)
class Grid:
    """A lattice of points.

    Attributes
    ----------
    affine : (4, 4)
        From ``[k, j, i, 1]`` to mm, in any frame.
    shape : (int, int, int)
    """

    affine: npt.NDArray[np.float64]
    shape: tuple[int, int, int]

    @property
    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """Along k, j and i."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def heights_mm(self) -> npt.NDArray[np.float64]:
        """The z of each plane's middle."""
        amid = self.affine[2, 3] + self.affine[2, 1:3] @ (np.array(self.shape[1:]) - 1) / 2
        return np.asarray(amid + self.affine[2, 0] * np.arange(self.shape[0]))

    @cached_property
    def _inverse(self) -> npt.NDArray[np.float64]:
        return np.asarray(np.linalg.inv(self.affine))

    def seen_from(self, frame: npt.NDArray[np.float64]) -> "Grid":
        """Return the same points in a frame that is given by its affine to this grid's."""
        return Grid(np.linalg.inv(frame) @ self.affine, self.shape)

    def part(self, window: Window) -> "Grid":
        """Return the lattice of a window."""
        affine = self.affine.copy()
        affine[:3, 3] += self.affine[:3, :3] @ [part.start for part in window]
        return Grid(affine, tuple(part.stop - part.start for part in window))

    def window(self, box: Box, margin_mm: float = 0.0) -> Window | None:
        """Return the smallest window that holds a box and a margin; None where these lie beside the lattice."""
        at = self._inverse[:3, :3] @ (0.5 * (box[0] + box[1])) + self._inverse[:3, 3]
        reach = np.abs(self._inverse[:3, :3]) @ (0.5 * (box[1] - box[0]) + margin_mm)
        start = np.maximum(np.ceil(at - reach), 0).astype(int)
        stop = np.minimum(np.floor(at + reach) + 1, self.shape).astype(int)
        if np.any(start >= stop):
            return None
        k, j, i = (slice(*ends) for ends in zip(start.tolist(), stop.tolist(), strict=True))
        return k, j, i

    def points(self) -> Points:
        """Return the points."""
        return _Lattice(self)


@dataclass(frozen=True)
class _Lattice(Points):
    """A grid's points: any coordinate of theirs is a sum of one term for each axis of the grid, and costs one pass."""

    grid: Grid

    def coordinates(self, origin: Vector, axes: npt.ArrayLike = AXES) -> tuple[Field, ...]:
        """Return the coordinates about an origin along axes."""
        affine, rows = self.grid.affine, np.asarray(axes, np.float64)
        steps, starts = rows @ affine[:3, :3], rows @ (affine[:3, 3] - np.asarray(origin, np.float64))
        still = 1e-9 * np.abs(affine[:3, :3]).max()
        return tuple(self._sum(row, start, still) for row, start in zip(steps, starts.tolist(), strict=True))

    def _sum(self, row: npt.NDArray[np.float64], start: float, still: float) -> Field:
        """Return the sum, each only along those axes of the grid along which it changes."""
        result = np.full((1, 1, 1), start, np.float32)
        for axis, (count, along) in enumerate(zip(self.grid.shape, row.tolist(), strict=True)):
            if abs(along) > still:
                shape = [1, 1, 1]
                shape[axis] = count
                result = result + (np.arange(count, dtype=np.float32) * np.float32(along)).reshape(shape)
        return result


@dataclass(frozen=True)
class Part:
    """A solid to be added to others, or cut out of them; `blend_mm` rounds the seam."""

    solid: Solid
    blend_mm: float = 2.0
    cut: bool = False


def around(parts: Iterable[Part]) -> Box:
    """Return the box that holds what parts put together make."""
    return enclose(part.solid.box() for part in parts if not part.cut)


def rods(
    way: Iterable[Vector], radius: float, flat: float = 1.0, wide: Vector = (0.0, 0.0, 1.0), *, blend_mm: float = 1.0
) -> tuple[Part, ...]:
    """Return rods from each place of a way to the next."""
    return tuple(Part(Rod(start, end, (radius, radius), flat, wide), blend_mm) for start, end in pairwise(way))


def sample(
    parts: Iterable[Part],
    grid: Grid,
    *,
    reach_mm: float = REACH_MM,
    fine_mm: float = FINE_MM,
    warp: Warp | None = None,
    warp_mm: float = 0.0,
) -> Field:
    """Sample solids on a lattice, each only where it is.

    Lattices finer than `fine_mm` are interpolated: distances are nearly linear over such a length, and a solid that
    bends with a radius of 3 mm is off by three hundredths of one.

    Parameters
    ----------
    parts : iterable of Part
        In the grid's frame, put together in their order.
    grid : Grid
        The lattice.
    reach_mm : float
        How far from the surface distances are told.
    fine_mm : float
        At what steps solids are sampled at most.
    warp : callable, optional
        Moves the points before the solids are asked, by `warp_mm` at most.

    Returns
    -------
    (k, j, i) float32
        Signed distance in mm, negative inside.
    """
    strides = [min(max(int(fine_mm / step), 1), count) for step, count in zip(grid.spacing_mm, grid.shape, strict=True)]
    if max(strides) == 1:
        return _sample(parts, grid, reach_mm, warp, warp_mm)
    affine = grid.affine.copy()
    affine[:3, :3] *= strides
    k, j, i = (-(-(count - 1) // stride) + 1 for count, stride in zip(grid.shape, strides, strict=True))
    field = _sample(parts, Grid(affine, (k, j, i)), reach_mm, warp, warp_mm)
    for axis, (stride, count) in enumerate(zip(strides, grid.shape, strict=True)):
        field = _refine(field, axis, stride, count)
    return field


def _sample(parts: Iterable[Part], grid: Grid, reach_mm: float, warp: Warp | None, warp_mm: float) -> Field:
    field = np.full(grid.shape, reach_mm, np.float32)
    for part in parts:
        margin = part.blend_mm + warp_mm + (0.0 if part.cut else reach_mm)
        window = grid.window(part.solid.box(), margin)
        if window is None:
            continue
        points = grid.part(window).points()
        distance = part.solid.distance(points if warp is None else warp(points))
        if part.cut:
            field[window] = intersect(field[window], -distance, part.blend_mm)
        else:
            here = field[window]
            field[window] = np.where(distance < reach_mm, unite(here, distance, part.blend_mm), here)
    return field


def _refine(field: Field, axis: int, stride: int, count: int) -> Field:
    """Interpolate a field linearly to `stride` times as many points along an axis, `count` of them."""
    if stride == 1:
        return field
    along = np.moveaxis(field, axis, 0)
    fine = np.empty((stride * (len(along) - 1) + 1, *along.shape[1:]), np.float32)
    fine[::stride] = along
    steps = along[1:] - along[:-1]
    for number in range(1, stride):
        fine[number::stride] = along[:-1] + steps * np.float32(number / stride)
    return np.moveaxis(fine[:count], 0, axis)
