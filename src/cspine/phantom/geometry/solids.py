"""Solids as signed distance fields, in mm: negative inside, exact to first order at the surface.

All lengths are in mm, all vectors are (x, y, z) in the frame in which the solid is described.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Floats, Floats32
from cspine.phantom.geometry.distance_fields import ellipse_distance, smooth_intersection, superellipse_distance
from cspine.phantom.geometry.points import AXES, Box, PointSet, Vector

_EPSILON: Final = np.float32(1e-6)

SIDES: Final = (-1.0, 1.0)
"""Right and left: factors that mirror x."""


class Solid(ABC):
    """A solid that is described by its signed distance field."""

    @abstractmethod
    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid, (2, 3)."""

    @abstractmethod
    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface in mm, negative inside."""


@dataclass(frozen=True)
class Ellipsoid(Solid):
    """An ellipsoid.

    Attributes
    ----------
    center : (3,)
        Position of its center, in mm.
    radii : (3,)
        Along its three axes.
    axes : (3, 3), optional
        Its axes as columns; the axes of the frame by default.
    """

    center: Vector
    radii: Vector
    axes: Floats | None = None

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        axes = np.eye(3) if self.axes is None else self.axes
        reach = np.sqrt((axes**2) @ np.square(self.radii))
        return np.array([self.center - reach, self.center + reach])

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        axes = AXES if self.axes is None else self.axes.T
        return ellipse_distance(points.coordinates(self.center, axes), self.radii)


@dataclass(frozen=True)
class Rod(Solid):
    """A tapered capsule: a straight rod with round ends, of circular or elliptic cross-section.

    Attributes
    ----------
    start, end : (3,)
        The ends of its axis.
    radius : (float, float)
        At its start and end, across `major_axis`.
    aspect_ratio : float
        Radius along `major_axis` over `radius`.
    major_axis : (3,)
        Direction of the long axis of the cross-section; its component along the rod is ignored.
    """

    start: Vector
    end: Vector
    radius: tuple[float, float]
    aspect_ratio: float = 1.0
    major_axis: Vector = (0.0, 0.0, 1.0)

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        ends = np.array([self.start, self.end], float)
        reach = np.multiply(self.radius, max(self.aspect_ratio, 1.0))[:, None]
        return np.array([(ends - reach).min(axis=0), (ends + reach).max(axis=0)])

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        axis = np.subtract(self.end, self.start)
        length = float(np.linalg.norm(axis))
        axis = axis / length
        major = np.asarray(self.major_axis, float) - np.dot(self.major_axis, axis) * axis
        if np.dot(major, major) < 1e-12:  # parallel to the rod: any direction across serves
            major = np.cross(axis, AXES[int(np.argmin(np.abs(axis)))])
        major = major / np.linalg.norm(major)
        along, height, width = points.coordinates(self.start, [axis, major / self.aspect_ratio, np.cross(axis, major)])
        fraction = np.clip(along / np.float32(length), 0, 1)
        beyond = along - fraction * np.float32(length)
        radius = np.float32(self.radius[0]) + np.float32(self.radius[1] - self.radius[0]) * fraction
        height, rest = height * height, width * width + beyond * beyond
        k = np.sqrt(height + rest)
        if self.aspect_ratio == 1.0:
            return np.asarray(k - radius)
        gradient = np.sqrt(height * np.float32(self.aspect_ratio**-2) + rest)
        return np.asarray((k - radius) * k / np.maximum(gradient, _EPSILON))


@dataclass(frozen=True)
class Column(Solid):
    """An elliptic cylinder along z with flat ends, used for cut-outs.

    Attributes
    ----------
    center, radii : (float, float)
        Along x and y.
    heights : (float, float)
        The z of its ends, the lower first.
    """

    center: tuple[float, float]
    radii: tuple[float, float]
    heights: tuple[float, float]

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        (x, y), (a, b), (low, high) = self.center, self.radii, self.heights
        return np.array([[x - a, y - b, low], [x + a, y + b, high]])

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates((*self.center, sum(self.heights) / 2))
        side = ellipse_distance((x, y), self.radii)
        return np.maximum(side, np.abs(z) - np.float32((self.heights[1] - self.heights[0]) / 2))


@dataclass(frozen=True)
class Ring(Solid):
    """The part of an elliptic ring about z that lies within a range of y.

    Attributes
    ----------
    center : (3,)
        Center of the ring.
    radii : (float, float)
        Radii of the inner edge along x and y, in mm.
    thickness, height : float
        Thickness of the band in the plane of the ring, and its height along z, in mm.
    y_range : (float, float)
        The range of y.
    """

    center: Vector
    radii: tuple[float, float]
    thickness: float
    height: float
    y_range: tuple[float, float]

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        x, y, z = self.center
        a, b = self.radii[0] + self.thickness, self.radii[1] + self.thickness
        low, high = max(self.y_range[0], y - b), min(self.y_range[1], y + b)
        return np.array([[x - a, low, z - self.height / 2], [x + a, high, z + self.height / 2]])

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates(self.center)
        radial = ellipse_distance((x, y), [radius + self.thickness / 2 for radius in self.radii])
        band = ellipse_distance((radial, z), (self.thickness / 2, self.height / 2))
        front, back = (np.float32(limit - self.center[1]) for limit in self.y_range)
        return np.asarray(np.maximum(band, np.maximum(front - y, y - back)))


@dataclass(frozen=True)
class Pillar(Solid):
    """An articular pillar: an upright rounded block whose parallel top and bottom slope down to the back.

    Attributes
    ----------
    center : (3,)
        Position of its center, in mm.
    half : (float, float)
        Half its extent along x and y.
    height : float
        Height along z, in mm.
    slope_deg : float
        Angle of top and bottom to the horizontal plane.
    blend_mm : float
        Radius that rounds the edges of top and bottom.
    """

    center: Vector
    half: tuple[float, float]
    height: float
    slope_deg: float
    blend_mm: float = 1.5

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        rise = self.height / 2 + self.half[1] * np.tan(np.radians(self.slope_deg))
        reach = np.array([*self.half, rise])
        return np.array([self.center - reach, self.center + reach])

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates(self.center)
        a, b = self.half
        side = superellipse_distance(x, y, x / np.float32(a), y / np.float32(b), np.float32(0.6), min(a, b))
        slope = np.radians(self.slope_deg)
        level = np.float32(np.cos(slope)) * z + np.float32(np.sin(slope)) * y
        caps = np.abs(level) - np.float32(self.height / 2 * np.cos(slope))
        return smooth_intersection(side, caps, self.blend_mm)


@dataclass(frozen=True)
class Shell(Solid):
    """The outermost layer of another solid, `thickness` mm deep."""

    solid: Solid
    thickness: float

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        return self.solid.bounding_box()

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        half = np.float32(self.thickness / 2)
        return np.asarray(np.abs(self.solid.signed_distance(points) + half) - half)


@dataclass(frozen=True)
class CroppedSolid(Solid):
    """The part of another solid that lies within a box, (2, 3)."""

    solid: Solid
    limits: Box

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        low, high = self.solid.bounding_box()
        return np.array([np.maximum(low, self.limits[0]), np.minimum(high, self.limits[1])])

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        field = self.solid.signed_distance(points)
        for values, low, high in zip(points.coordinates((0, 0, 0)), *self.limits, strict=True):
            field = np.maximum(field, np.maximum(np.float32(low) - values, values - np.float32(high)))
        return field
