"""Points, vectors and boxes in space, in mm."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Floats, Floats32

Vector: TypeAlias = Sequence[float] | Floats
"""A point or a direction, (3,)."""

Box: TypeAlias = Floats
"""Two opposite corners of an axis-aligned box, (2, 3), the lower first."""

AXES: Final = np.eye(3)


def vector(x: float, y: float, z: float) -> Floats:
    """Return a vector in mm.

    >>> vector(0, 1, 2) + vector(1, 0, 0)
    array([1., 1., 2.])
    """
    return np.array([x, y, z], dtype=np.float64)


class PointSet(ABC):
    """Points in space whose coordinates can be had in any frame."""

    @abstractmethod
    def coordinates(self, origin: Vector, axes: npt.ArrayLike = AXES) -> tuple[Floats32, ...]:
        """Return the coordinates about an origin, one array for each axis; the arrays broadcast together.

        Parameters
        ----------
        origin : (3,)
            In the frame of the points.
        axes : (n, 3)
            One direction in each row; a row that is no unit vector scales the coordinate.
        """


@dataclass(frozen=True)
class PointCloud(PointSet):
    """Points given by arrays of x, y and z, which broadcast together."""

    x: Floats32
    y: Floats32
    z: Floats32

    def coordinates(self, origin: Vector, axes: npt.ArrayLike = AXES) -> tuple[Floats32, ...]:
        """Return the coordinates about an origin along axes."""
        offsets = [p - np.float32(o) for p, o in zip((self.x, self.y, self.z), origin, strict=True)]
        if axes is AXES:
            return tuple(offsets)
        rows = np.asarray(axes, np.float32)
        return tuple(offsets[0] * row[0] + offsets[1] * row[1] + offsets[2] * row[2] for row in rows)


def enclosing_box(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that contains all of the given boxes."""
    corners = np.array(list(boxes))
    return np.array([corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)])
