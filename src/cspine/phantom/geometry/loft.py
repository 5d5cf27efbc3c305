"""A solid lofted along z through elliptic cross-sections: trunks, lungs and cavities at the cost of one ellipse."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cspine.core.typing import Floats, Floats32
from cspine.phantom.geometry.distance_fields import superellipse_distance
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import Box, PointSet
from cspine.phantom.geometry.solids import Ellipsoid, Rod, Solid

_MIN_RADIUS_MM: Final = 0.5
"""Radius below which no solid shrinks."""


@dataclass(frozen=True)
class Loft(Solid):
    """A solid whose cross-sections at some heights are given, linearly interpolated between them, with flat ends.

    Attributes
    ----------
    z_mm : (n,)
        Heights of the cross-sections, ascending.
    center_mm : (n, 2)
        Their centers, x and y.
    half_width_mm : (n,)
        Half their extent along x.
    depth_mm : (n, 2)
        Their extent from the center to the front (-y) and to the back.
    squareness : float
        0 for ellipses, 1 for rounded rectangles; see `superellipse_distance`.

    Examples
    --------
    >>> from cspine.phantom.geometry.grid import Grid
    >>> loft = Loft(*(np.array(values) for values in ([0.0, 10.0], [[0.0, 0.0]] * 2, [20.0, 20.0], [[9.0, 5.0]] * 2)))
    >>> loft.signed_distance(Grid.aligned((0.0, -10.0, 5.0), 5.0, (1, 4, 1)).points()).ravel().round(1).tolist()
    [1.0, -4.0, -5.0, 0.0]
    """

    z_mm: Floats
    center_mm: Floats
    half_width_mm: Floats
    depth_mm: Floats
    squareness: float = 0.0

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        x, y = self.center_mm.T
        front, back = self.depth_mm.T
        low = [(x - self.half_width_mm).min(), (y - front).min(), self.z_mm[0]]
        return np.array([low, [(x + self.half_width_mm).max(), (y + back).max(), self.z_mm[-1]]], float)

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates((0, 0, 0))

        def at_height(values: Floats) -> Floats32:
            return np.interp(z, self.z_mm, values).astype(np.float32)

        x, y = x - at_height(self.center_mm[:, 0]), y - at_height(self.center_mm[:, 1])
        half_width, (front, back) = at_height(self.half_width_mm), map(at_height, self.depth_mm.T)
        v = np.asarray(y / np.where(y < 0, front, back), np.float32)
        smallest = float(min(self.half_width_mm.min(), self.depth_mm.min()))
        side = superellipse_distance(x, y, x / half_width, v, np.float32(self.squareness), smallest)
        size = 0.5 * (self.half_width_mm + self.depth_mm.mean(axis=1))
        slope = np.gradient(size, self.z_mm) if len(size) > 1 else np.zeros(1)
        side = side * at_height(1 / np.sqrt(1 + slope**2))
        low, high = np.float32(self.z_mm[0]), np.float32(self.z_mm[-1])
        return np.asarray(np.maximum(side, np.maximum(low - z, z - high)), np.float32)

    def inset(self, mm: float) -> "Loft":
        """Return the solid whose sides lie `mm` deeper (or further out, where negative); its ends stay."""
        half_width, depth = np.maximum(self.half_width_mm - mm, 1.0), np.maximum(self.depth_mm - mm, 1.0)
        return Loft(self.z_mm, self.center_mm, half_width, depth, self.squareness)


@dataclass(frozen=True)
class Block(Solid):
    """A box along the axes of the frame, (2, 3), the lower corner first."""

    box: Box

    def bounding_box(self) -> Box:
        """Return the box."""
        return self.box

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface, without rounding at edges and corners."""
        field: Floats32 | np.float32 = np.float32(-np.inf)
        for values, low, high in zip(points.coordinates((0, 0, 0)), *self.box, strict=True):
            field = np.maximum(field, np.maximum(np.float32(low) - values, values - np.float32(high)))
        return np.asarray(field, np.float32)


def inflated(part: Part, mm: float) -> Part:
    """Return an ellipsoid, a rod or a loft that is `mm` larger on all sides; smaller where negative.

    Raises
    ------
    TypeError
        If it is another solid.
    """
    solid = part.solid
    if isinstance(solid, Ellipsoid):
        radii = tuple(max(radius + mm, _MIN_RADIUS_MM) for radius in solid.radii)
        return replace(part, solid=replace(solid, radii=radii))
    if isinstance(solid, Rod):
        start, end = (max(radius + mm, _MIN_RADIUS_MM) for radius in solid.radius)
        long = max(solid.aspect_ratio * solid.radius[0] + mm, _MIN_RADIUS_MM)
        return replace(part, solid=replace(solid, radius=(start, end), aspect_ratio=long / start))
    if isinstance(solid, Loft):
        return replace(part, solid=solid.inset(-mm))
    raise TypeError(f"{type(solid).__name__} cannot be inflated; describe it as an ellipsoid, a rod or a loft.")


def loft(stations: list[tuple[float, float, float, float, float]], squareness: float = 0.0) -> Loft:
    """Return a loft through cross-sections, each ``(z, x, front y, back y, half width)`` in mm, in any order.

    Parameters
    ----------
    stations : list of tuple
        The cross-sections; the widest part lies in the middle of front and back.
    squareness : float
        As of `Loft`.
    """
    rows = np.array(sorted(stations), float)
    z, x, front, back, half_width = rows.T
    middle, depth = (front + back) / 2, (back - front) / 2
    return Loft(z, np.column_stack([x, middle]), half_width, np.column_stack([depth, depth]), squareness)
