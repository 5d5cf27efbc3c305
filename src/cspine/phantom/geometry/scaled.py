"""Solids of another size: scaled about the origin, or by a factor that changes along one direction."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Floats, Floats32
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import AXES, Box, PointCloud, PointSet, Vector, enclosing_box
from cspine.phantom.geometry.solids import Solid


@dataclass(frozen=True)
class _ScaledPoints(PointSet):
    """Points divided by a factor; their coordinates still broadcast where those of the points do."""

    points: PointSet
    factor: float

    def coordinates(self, origin: Vector, axes: npt.ArrayLike = AXES) -> tuple[Floats32, ...]:
        """Return the coordinates about an origin along axes."""
        return self.points.coordinates(np.multiply(origin, self.factor), np.asarray(axes) / self.factor)


@dataclass(frozen=True)
class ScaledSolid(Solid):
    """A solid scaled by a factor about the origin of its frame."""

    solid: Solid
    factor: float

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        return self.solid.bounding_box() * self.factor

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        return self.solid.signed_distance(_ScaledPoints(points, self.factor)) * np.float32(self.factor)


def scale_parts(parts: Iterable[Part], factor: float) -> tuple[Part, ...]:
    """Return parts scaled about the origin of their frame, with their seams."""
    return tuple(
        replace(part, solid=ScaledSolid(part.solid, factor), blend_mm=part.blend_mm * factor) for part in parts
    )


@dataclass(frozen=True)
class GradedScale:
    """A scale about a point, whose factor changes smoothly along a direction from one value to another.

    A point at the offset q from `origin_mm` goes to `scaled_origin_mm` + g(u) q, where u is the component of q along
    `direction` and g rises from `factors[0]` at and below `range_mm[0]` to `factors[1]` at `range_mm[1]`.

    Attributes
    ----------
    origin_mm, scaled_origin_mm : (3,)
        The fixed point before and after.
    direction : (3,)
        Unit vector.
    range_mm : (float, float)
        Where the factor begins and ends to change, before scaling.
    factors : (float, float)
        Factor before and beyond the range; their ratio is below 2, so that no two points coincide.
    """

    origin_mm: Floats
    scaled_origin_mm: Floats
    direction: Floats
    range_mm: tuple[float, float]
    factors: tuple[float, float]

    def in_frame(self, before: Floats, after: Floats) -> "GradedScale":
        """Return the same scale between two other frames, of equal axes.

        Parameters
        ----------
        before, after : (4, 4)
            From the frame to that of this scale, of the points before and after scaling.
        """
        axes = before[:3, :3].T
        return replace(
            self,
            origin_mm=axes @ (self.origin_mm - before[:3, 3]),
            scaled_origin_mm=axes @ (self.scaled_origin_mm - after[:3, 3]),
            direction=axes @ self.direction,
        )

    def factor_at(self, along: npt.NDArray[np.floating]) -> Floats32:
        """Return the factor at components along the direction, before scaling."""
        low, high = self.range_mm
        weight = np.clip((np.asarray(along, np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
        return np.asarray(self.factors[0] + (self.factors[1] - self.factors[0]) * weight * weight * (3 - 2 * weight))

    def apply(self, point: Vector) -> Floats:
        """Return where a point goes, (3,)."""
        offset = np.asarray(point, np.float64) - self.origin_mm
        return np.asarray(self.scaled_origin_mm + offset * float(self.factor_at(offset @ self.direction)))

    def undo(self, points: PointSet) -> tuple[PointCloud, Floats32]:
        """Return where points were before, and the factor at each."""
        x, y, z, along = points.coordinates(self.scaled_origin_mm, [*AXES, self.direction])
        low, high = self.range_mm
        before = np.linspace(low, high, 65)
        after = before * self.factor_at(before)
        factor = np.interp(along, after, self.factor_at(before)).astype(np.float32)
        a, b, c = (np.float32(value) for value in self.origin_mm)
        return PointCloud(x / factor + a, y / factor + b, z / factor + c), factor


@dataclass(frozen=True)
class GradedSolid(Solid):
    """A solid under a graded scale."""

    solid: Solid
    scale: GradedScale

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        offsets = self.solid.bounding_box() - self.scale.origin_mm
        return enclosing_box(self.scale.scaled_origin_mm + offsets * factor for factor in self.scale.factors)

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface, to first order."""
        before, factor = self.scale.undo(points)
        return np.asarray(self.solid.signed_distance(before) * factor, np.float32)
