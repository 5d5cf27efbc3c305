"""A fracture surface: its geometry, its gap, and the displacement field of the fragment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Bools, Floats, Floats32
from cspine.phantom.geometry.distance_fields import smoothstep
from cspine.phantom.geometry.points import Box, PointCloud, PointSet

_ANTERIOR_MARGIN_MM: Final = 3.0
"""Distance from the anterior wall of a compressed body to its box."""

_COMPRESSED_BODIES: Final = frozenset({"body compression", "body burst"})


@dataclass(frozen=True)
class Fracture:
    """One fracture surface through a part of a vertebra, in the frame of the vertebra.

    A fracture of one type has one or more surfaces. The fragment lies on the side of the surface to which its normal
    points. It is displaced and rotated, or impacted into the bone on the other side.

    Attributes
    ----------
    fracture_type : str
        Name of its type, such as "dens type II".
    center_mm, normal : (3,)
        A point of the surface, and its unit normal toward the fragment.
    half_extent_mm : (3,)
        Half the sides of the box about the center to which the fracture is confined.
    width_mm : float
        Width of the gap at the center before the fragment is displaced.
    gap_radius_mm : float
        Distance from the center to the end of the gap; beyond it, the bone is intact.
    translation_mm, rotation_rad : (3,)
        Displacement of the fragment, and its rotation vector about the center.
    is_loose : bool
        Whether the fragment moves as a rigid body; otherwise its displacement decreases to zero toward the box.
    height_loss_mm : float
        Loss of anterior height of impacted bone, which has no gap but a dense band; 0 where nothing is impacted.
    roughness : (n, 4)
        Waves that make the surface rough: amplitude in mm, wave number in 1/mm, phase and direction in the plane.
    is_bone_lost : bool
        Whether the gap is wide because bone is lost, not because the fragment is displaced.
    """

    fracture_type: str
    center_mm: Floats
    normal: Floats
    half_extent_mm: Floats
    width_mm: float
    gap_radius_mm: float
    translation_mm: Floats
    rotation_rad: Floats
    is_loose: bool
    height_loss_mm: float
    roughness: Floats
    is_bone_lost: bool = False

    def bounding_box(self) -> Box:
        """Return the box to which the fracture is confined, (2, 3)."""
        return np.array([self.center_mm - self.half_extent_mm, self.center_mm + self.half_extent_mm])

    @property
    def max_displacement_mm(self) -> float:
        """Upper bound of the displacement of any point of the fragment."""
        by_rotation = float(np.linalg.norm(self.rotation_rad)) * float(np.linalg.norm(self.half_extent_mm))
        return float(np.linalg.norm(self.translation_mm)) + by_rotation + self.height_loss_mm

    @property
    def gap_mm(self) -> float:
        """Width of the gap after displacement, which widens it along the normal."""
        return self.width_mm / 2 + max(self.width_mm / 2, float(self.translation_mm @ self.normal))

    @property
    def bone_lost_mm(self) -> float:
        """Width of the bone that is lost along the normal; 0 where none is."""
        return self.width_mm if self.is_bone_lost else 0.0

    def surface_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance from the rough surface in mm, positive on the side of the fragment."""
        u, v, distance = points.coordinates(self.center_mm, [*in_plane(self.normal), self.normal])
        for amplitude, number, phase, angle in self.roughness.astype(np.float32):
            distance = distance + amplitude * np.sin(number * (np.cos(angle) * u + np.sin(angle) * v) + phase)
        return np.asarray(distance, np.float32)

    def contains(self, points: PointSet) -> Bools:
        """Return which points lie in the box to which the fracture is confined."""
        x, y, z = points.coordinates(self.center_mm)
        a, b, c = (np.float32(half) for half in self.half_extent_mm)
        return np.asarray((np.abs(x) <= a) & (np.abs(y) <= b) & (np.abs(z) <= c))

    def half_gap_mm(self, points: PointSet) -> Floats32:
        """Return half the width of the gap in mm: elliptic, from its maximum at the center to zero at its end."""
        x, y, z = points.coordinates(self.center_mm)
        square = x * x + y * y + z * z
        remaining = np.clip(1 - square / np.float32(self.gap_radius_mm**2), 0, 1)
        return np.asarray(np.float32(self.width_mm / 2) * np.sqrt(remaining), np.float32)

    def inverse_warp(self, points: PointSet) -> PointSet:
        """Return where the bone at given points of the fragment was before its displacement."""
        x, y, z = points.coordinates(self.center_mm)
        weight = self._displacement_weight((x, y, z))
        a, b, c = (np.float32(angle) for angle in self.rotation_rad)
        rotated = (b * z - c * y, c * x - a * z, a * y - b * x)
        moved = [
            values + np.float32(center) - weight * (rotation + np.float32(translation))
            for values, center, rotation, translation in zip(
                (x, y, z), self.center_mm, rotated, self.translation_mm, strict=True
            )
        ]
        if self.height_loss_mm:
            back = np.float32(self.half_extent_mm[1])
            wedge = np.clip((back - y) / np.float32(2 * back - _ANTERIOR_MARGIN_MM), 0, 1)
            moved[2] = moved[2] + weight * np.float32(self.height_loss_mm) * wedge
        return PointCloud(moved[0], moved[1], moved[2])

    def _displacement_weight(self, offsets: Sequence[Floats32]) -> Floats32 | np.float32:
        """Return the fraction of the displacement that applies at offsets from the center, 0 to 1."""
        if self.is_loose:
            return np.float32(1.0)
        halves = self.half_extent_mm.astype(np.float32)
        reach: list[Floats32] = [np.abs(offset) / half for offset, half in zip(offsets, halves, strict=True)]
        if self.height_loss_mm:  # bone above the surface sinks, processes at its sides bend
            lateral, superior = 1 - smoothstep(reach[0], 0.85, 1.0), 1 - smoothstep(reach[2], 0.45, 0.95)
            if self.fracture_type not in _COMPRESSED_BODIES:  # bodies lose no height at their back
                lateral = lateral * (1 - smoothstep(reach[1], 0.85, 1.0))
            return np.asarray(lateral * superior, np.float32)
        return np.asarray(1 - smoothstep(np.maximum(np.maximum(reach[0], reach[1]), reach[2]), 0.45, 0.95))


def in_plane(normal: Floats) -> tuple[Floats, Floats]:
    """Return two unit vectors that span the plane with this normal."""
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    across = np.cross(normal, helper)
    across /= np.linalg.norm(across)
    return across, np.cross(normal, across)


def fracture_sizes_mm(surfaces: Sequence[Fracture]) -> dict[str, float]:
    """Return the sizes of a fracture of one or more surfaces, as its record has them: the largest of each, in mm."""
    return {
        "width_mm": max(surface.gap_mm for surface in surfaces),
        "displacement_mm": max(float(np.linalg.norm(surface.translation_mm)) for surface in surfaces),
        "height_loss_mm": max(surface.height_loss_mm for surface in surfaces),
        "bone_lost_mm": max(surface.bone_lost_mm for surface in surfaces),
    }
