"""Solids by their signed distance, in mm: negative inside, right to first order at the surface.

All lengths are mm, all vectors (x, y, z) in whatever frame the solid is described in.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Field: TypeAlias = npt.NDArray[np.float32]
Place: TypeAlias = npt.NDArray[np.float64]
Vector: TypeAlias = Sequence[float] | Place
Box: TypeAlias = npt.NDArray[np.float64]
"""Two corners, the lower first."""

_TINY: Final = np.float32(1e-6)
AXES: Final = np.eye(3)

SIDES: Final = (-1.0, 1.0)
"""Right and left, to mirror x by."""


def by(x: float, y: float, z: float) -> Place:
    """Return a step, to be added to a place.

    >>> by(0, 1, 2) + by(1, 0, 0)
    array([1., 1., 2.])
    """
    return np.array([x, y, z], dtype=np.float64)


class Points(ABC):
    """Points in space that tell their coordinates in any frame."""

    @abstractmethod
    def coordinates(self, origin: Vector, axes: npt.ArrayLike = AXES) -> tuple[Field, ...]:
        """Return the coordinates about an origin, one array for each axis; the arrays broadcast together.

        Parameters
        ----------
        origin : (3,)
        axes : (n, 3)
            Unit vectors, one in each row.
        """


@dataclass(frozen=True)
class Cloud(Points):
    """Points by their x, y and z."""

    x: Field
    y: Field
    z: Field

    def coordinates(self, origin: Vector, axes: npt.ArrayLike = AXES) -> tuple[Field, ...]:
        """Return the coordinates about an origin along axes."""
        offsets = [p - np.float32(o) for p, o in zip((self.x, self.y, self.z), origin, strict=True)]
        if axes is AXES:
            return tuple(offsets)
        rows = np.asarray(axes, np.float32)
        return tuple(offsets[0] * row[0] + offsets[1] * row[1] + offsets[2] * row[2] for row in rows)


class Solid(ABC):
    """A solid that tells how far points lie from its surface."""

    @abstractmethod
    def box(self) -> Box:
        """Return a box that holds the solid."""

    @abstractmethod
    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""


@dataclass(frozen=True)
class Ellipsoid(Solid):
    """An ellipsoid.

    Attributes
    ----------
    radii : Vector
        Along its three axes.
    axes : (3, 3), optional
        Its axes as columns; the frame's where left out.
    """

    centre: Vector
    radii: Vector
    axes: npt.NDArray[np.float64] | None = None

    def box(self) -> Box:
        """Return a box that holds the solid."""
        axes = np.eye(3) if self.axes is None else self.axes
        reach = np.sqrt((axes**2) @ np.square(self.radii))
        return np.array([self.centre - reach, self.centre + reach])

    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""
        axes = AXES if self.axes is None else self.axes.T
        return _from_ellipse(points.coordinates(self.centre, axes), self.radii)


@dataclass(frozen=True)
class Rod(Solid):
    """A straight rod with round ends, tapered, and flat where asked.

    Attributes
    ----------
    radius : (float, float)
        At its start and end, across `wide`.
    flat : float
        How many times as thick it is along `wide`.
    wide : Vector
        Its wide direction, made perpendicular to it.
    """

    start: Vector
    end: Vector
    radius: tuple[float, float]
    flat: float = 1.0
    wide: Vector = (0.0, 0.0, 1.0)

    def box(self) -> Box:
        """Return a box that holds the solid."""
        ends, reach = np.array([self.start, self.end], float), np.multiply(self.radius, max(self.flat, 1.0))[:, None]
        return np.array([(ends - reach).min(axis=0), (ends + reach).max(axis=0)])

    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""
        axis = np.subtract(self.end, self.start)
        length = float(np.linalg.norm(axis))
        axis = axis / length
        up = np.asarray(self.wide, float) - np.dot(self.wide, axis) * axis
        if np.dot(up, up) < 1e-12:  # any direction across will do
            up = np.cross(axis, AXES[int(np.argmin(np.abs(axis)))])
        up = up / np.linalg.norm(up)
        along, height, width = points.coordinates(self.start, [axis, up / self.flat, np.cross(axis, up)])
        share = np.clip(along / np.float32(length), 0, 1)
        beyond = along - share * np.float32(length)
        radius = np.float32(self.radius[0]) + np.float32(self.radius[1] - self.radius[0]) * share
        height, rest = height * height, width * width + beyond * beyond
        k = np.sqrt(height + rest)
        if self.flat == 1.0:
            return np.asarray(k - radius)
        steep = np.sqrt(height * np.float32(self.flat**-2) + rest)
        return np.asarray((k - radius) * k / np.maximum(steep, _TINY))


@dataclass(frozen=True)
class Column(Solid):
    """An upright elliptic cylinder between two heights, with square edges; made for holes."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    heights: tuple[float, float]

    def box(self) -> Box:
        """Return a box that holds the solid."""
        (x, y), (a, b), (low, high) = self.centre, self.radii, self.heights
        return np.array([[x - a, y - b, low], [x + a, y + b, high]])

    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates((*self.centre, sum(self.heights) / 2))
        side = _from_ellipse((x, y), self.radii)
        return np.maximum(side, np.abs(z) - np.float32((self.heights[1] - self.heights[0]) / 2))


@dataclass(frozen=True)
class Ring(Solid):
    """A part of an upright elliptic ring: what of it lies within a range of y.

    Attributes
    ----------
    radii : (float, float)
        Of its inner edge, along x and y.
    thickness, height : float
        Of the band, across and upright.
    within : (float, float)
        The range of y.
    """

    centre: Vector
    radii: tuple[float, float]
    thickness: float
    height: float
    within: tuple[float, float]

    def box(self) -> Box:
        """Return a box that holds the solid."""
        x, y, z = self.centre
        a, b = self.radii[0] + self.thickness, self.radii[1] + self.thickness
        low, high = max(self.within[0], y - b), min(self.within[1], y + b)
        return np.array([[x - a, low, z - self.height / 2], [x + a, high, z + self.height / 2]])

    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates(self.centre)
        radial = _from_ellipse((x, y), [radius + self.thickness / 2 for radius in self.radii])
        band = _from_ellipse((radial, z), (self.thickness / 2, self.height / 2))
        front, back = (np.float32(limit - self.centre[1]) for limit in self.within)
        return np.asarray(np.maximum(band, np.maximum(front - y, y - back)))


@dataclass(frozen=True)
class Pillar(Solid):
    """An upright rounded block whose top and bottom slope down to the back alike, as an articular pillar's.

    Attributes
    ----------
    half : (float, float)
        Half its extent along x and y.
    height : float
        Upright.
    slope_deg : float
        Of top and bottom against the horizontal plane.
    """

    centre: Vector
    half: tuple[float, float]
    height: float
    slope_deg: float
    round_mm: float = 1.5

    def box(self) -> Box:
        """Return a box that holds the solid."""
        rise = self.height / 2 + self.half[1] * np.tan(np.radians(self.slope_deg))
        reach = np.array([*self.half, rise])
        return np.array([self.centre - reach, self.centre + reach])

    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates(self.centre)
        a, b = self.half
        side = beside(x, y, x / np.float32(a), y / np.float32(b), np.float32(0.6), min(a, b))
        tilt = np.radians(self.slope_deg)
        level = np.float32(np.cos(tilt)) * z + np.float32(np.sin(tilt)) * y
        caps = np.abs(level) - np.float32(self.height / 2 * np.cos(tilt))
        return intersect(side, caps, self.round_mm)


@dataclass(frozen=True)
class Shell(Solid):
    """The skin of another solid, `thickness` deep."""

    of: Solid
    thickness: float

    def box(self) -> Box:
        """Return a box that holds the solid."""
        return self.of.box()

    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""
        half = np.float32(self.thickness / 2)
        return np.asarray(np.abs(self.of.distance(points) + half) - half)


@dataclass(frozen=True)
class Cropped(Solid):
    """What of another solid lies within a box."""

    of: Solid
    within: Box

    def box(self) -> Box:
        """Return a box that holds the solid."""
        low, high = self.of.box()
        return np.array([np.maximum(low, self.within[0]), np.minimum(high, self.within[1])])

    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""
        field = self.of.distance(points)
        for values, low, high in zip(points.coordinates((0, 0, 0)), *self.within, strict=True):
            field = np.maximum(field, np.maximum(np.float32(low) - values, values - np.float32(high)))
        return field


def enclose(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that holds all of these."""
    corners = np.array(list(boxes))
    return np.array([corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)])


def cover(field: Field, edge_mm: float | np.float32) -> Field:
    """Return how much of a place a solid covers, 0 to 1, its surface smoothed over a length."""
    return np.asarray(np.clip(np.float32(0.5) - field / np.float32(edge_mm), 0, 1))


def unite(one: Field, other: Field, blend: float) -> Field:
    """Return the union of two solids, their seam rounded over `blend` mm (a polynomial smooth minimum)."""
    if blend <= 0:
        return np.minimum(one, other)
    share = np.clip(np.float32(0.5) + (other - one) * np.float32(0.5 / blend), 0, 1)
    return np.asarray(other + (one - other) * share - np.float32(blend) * share * (1 - share))


def intersect(one: Field, other: Field, blend: float) -> Field:
    """Return what two solids have in common, the edge rounded over `blend` mm."""
    return -unite(-one, -other, blend)


def smoothstep(values: Field, low: float, high: float) -> Field:
    """Return 0 below `low`, 1 above `high`, and a smooth rise between."""
    share = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def beside(x: Field, y: Field, across: Field, along: Field, square: Field | np.float32, least_mm: float) -> Field:
    """Return the distance to an upright block's side, of a cross-section between an ellipse and a rounded rectangle.

    Parameters
    ----------
    x, y : arrays
        In mm.
    across, along : arrays
        The same as shares of the block's half extents.
    square : array or number
        0 for an ellipse, 1 for a rounded rectangle.
    least_mm : float
        The smallest half extent, by which distances are told near the middle.
    """
    u, v = across * across, along * along
    reach = np.sqrt(np.maximum((u + v) * (1 - square) + np.sqrt(u * u + v * v) * square, _TINY))
    return np.asarray((reach - 1) * np.maximum(np.hypot(x, y) / reach, np.float32(least_mm)))


def _from_ellipse(offsets: Sequence[Field], radii: Vector) -> Field:
    """Return the distance to an ellipse or ellipsoid to first order: k (k - 1) / |gradient of k^2 / 2|."""
    square: Field | np.float32 = np.float32(0)
    steep: Field | np.float32 = np.float32(0)
    for offset, radius in zip(offsets, radii, strict=True):
        part = (offset * np.float32(1 / radius)) ** 2
        square = square + part
        steep = steep + part * np.float32(radius**-2)
    k = np.sqrt(square)
    return np.asarray(k * (k - 1) / np.maximum(np.sqrt(steep), _TINY))
