"""Regular grids of points in space."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Floats, Floats32
from cspine.phantom.geometry.points import AXES, Box, PointSet, Vector

GridWindow: TypeAlias = tuple[slice, slice, slice]
"""A part of a grid, along k, j and i."""


@dataclass(frozen=True)
class Grid:
    """A regular grid of points, in any frame and direction.

    Attributes
    ----------
    affine : (4, 4)
        From ``[k, j, i, 1]`` to mm; its axes may be sheared.
    shape : (int, int, int)
        Points along k, j and i.
    """

    affine: Floats
    shape: tuple[int, int, int]

    @classmethod
    def aligned(cls, origin: Vector, spacing_mm: float | Sequence[float], shape: tuple[int, int, int]) -> "Grid":
        """Return a grid whose axes k, j and i point along z, y and x.

        Parameters
        ----------
        origin : (3,)
            Position of the first point, in mm.
        spacing_mm : float or (float, float, float)
            Distance of neighboring points along k, j and i, in mm.
        shape : (int, int, int)
            Number of points along k, j and i.

        Examples
        --------
        >>> Grid.aligned((10.0, 0.0, 0.0), (2.0, 0.5, 0.5), (3, 4, 4)).affine @ [1, 2, 0, 1]
        array([10.,  1.,  2.,  1.])
        """
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2] = np.broadcast_to(spacing_mm, 3)
        affine[:, 3] = [*origin, 1.0]
        return cls(affine, shape)

    @property
    def spacing_mm(self) -> Floats:
        """Distance of neighboring points along k, j and i, (3,)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def plane_z_mm(self) -> Floats:
        """The z of the center of each plane k, (k,)."""
        first = self.affine[2, 3] + self.affine[2, 1:3] @ (np.array(self.shape[1:]) - 1) / 2
        return np.asarray(first + self.affine[2, 0] * np.arange(self.shape[0]))

    @cached_property
    def _inverse(self) -> Floats:
        return np.asarray(np.linalg.inv(self.affine))

    def in_frame(self, frame: Floats) -> "Grid":
        """Return the same points in another frame.

        Parameters
        ----------
        frame : (4, 4)
            From the other frame to that of this grid.
        """
        return Grid(np.linalg.inv(frame) @ self.affine, self.shape)

    def crop(self, window: GridWindow) -> "Grid":
        """Return the grid of the points within a window."""
        affine = self.affine.copy()
        affine[:3, 3] += self.affine[:3, :3] @ [part.start for part in window]
        return Grid(affine, tuple(part.stop - part.start for part in window))

    def window(self, box: Box, margin_mm: float = 0.0) -> GridWindow | None:
        """Return the smallest window that contains a box with a margin, or None where they do not meet the grid.

        Parameters
        ----------
        box : (2, 3)
            In the frame of the grid.
        margin_mm : float
            Added on every side of the box.
        """
        center = self._inverse[:3, :3] @ (0.5 * (box[0] + box[1])) + self._inverse[:3, 3]
        reach = np.abs(self._inverse[:3, :3]) @ (0.5 * (box[1] - box[0]) + margin_mm)
        start = np.maximum(np.ceil(center - reach), 0).astype(int)
        stop = np.minimum(np.floor(center + reach) + 1, self.shape).astype(int)
        if np.any(start >= stop):
            return None
        k, j, i = (slice(*ends) for ends in zip(start.tolist(), stop.tolist(), strict=True))
        return k, j, i

    def points(self) -> PointSet:
        """Return the points of the grid; their coordinates broadcast to its shape."""
        return _GridPoints(self)


@dataclass(frozen=True)
class _GridPoints(PointSet):
    """The points of a grid, whose coordinates are sums of one term for each axis: cheaper than arrays of points."""

    grid: Grid

    def coordinates(self, origin: Vector, axes: npt.ArrayLike = AXES) -> tuple[Floats32, ...]:
        """Return the coordinates about an origin along axes."""
        affine, rows = self.grid.affine, np.asarray(axes, np.float64)
        steps, starts = rows @ affine[:3, :3], rows @ (affine[:3, 3] - np.asarray(origin, np.float64))
        negligible = 1e-9 * np.abs(affine[:3, :3]).max()
        return tuple(self._sum(row, start, negligible) for row, start in zip(steps, starts.tolist(), strict=True))

    def _sum(self, steps: Floats, start: float, negligible: float) -> Floats32:
        """Return a coordinate, which spans only those axes of the grid along which it changes."""
        result = np.full((1, 1, 1), start, np.float32)
        for axis, (count, step) in enumerate(zip(self.grid.shape, steps.tolist(), strict=True)):
            if abs(step) > negligible:
                shape = [1, 1, 1]
                shape[axis] = count
                result = result + (np.arange(count, dtype=np.float32) * np.float32(step)).reshape(shape)
        return result
