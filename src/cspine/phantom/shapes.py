"""Signed distances to simple solids, in mm: negative inside. Points are three arrays x, y, z that broadcast."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Field: TypeAlias = npt.NDArray[np.float32]
Points: TypeAlias = tuple[Field, Field, Field]
Vector: TypeAlias = Sequence[float]


def ellipsoid(points: Points, centre: Vector, radii: Vector) -> Field:
    """Return the distance to an ellipsoid, to first order: k (k - 1) / |gradient|, exact on the surface."""
    offsets = [(p - np.float32(c)) for p, c in zip(points, centre, strict=True)]
    k = np.sqrt(sum((o / np.float32(r)) ** 2 for o, r in zip(offsets, radii, strict=True)))
    slope = np.sqrt(sum((o / np.float32(r * r)) ** 2 for o, r in zip(offsets, radii, strict=True)))
    return np.asarray(k * (k - 1) / np.maximum(slope, np.float32(1e-6)), np.float32)


def capsule(points: Points, start: Vector, end: Vector, radius: float) -> Field:
    """Return the distance to a rod with round ends."""
    axis = np.asarray(end, np.float32) - np.asarray(start, np.float32)
    offsets = [(p - np.float32(s)) for p, s in zip(points, start, strict=True)]
    along = sum(o * a for o, a in zip(offsets, axis, strict=True)) / np.float32(axis @ axis)
    along = np.clip(along, 0.0, 1.0)
    square = sum((o - along * a) ** 2 for o, a in zip(offsets, axis, strict=True))
    return np.asarray(np.sqrt(square) - np.float32(radius), np.float32)


def drum(points: Points, centre: Vector, radii: tuple[float, float], height: float, waist: float) -> Field:
    """Return the distance to an upright elliptic cylinder, narrower by the fraction `waist` at half height."""
    x, y, z = ((p - np.float32(c)) for p, c in zip(points, centre, strict=True))
    narrow = 1 - np.float32(waist) * (1 - np.clip(2 * z / np.float32(height), -1, 1) ** 2)
    reach = np.sqrt((x / np.float32(radii[0])) ** 2 + (y / np.float32(radii[1])) ** 2)
    side = (reach - narrow) * np.float32(min(radii))
    return np.asarray(np.maximum(side, np.abs(z) - np.float32(height / 2)), np.float32)


def join(parts: Sequence[Field], blend: float = 1.5) -> Field:
    """Return the union of solids, blended over `blend` mm (polynomial smooth minimum)."""
    union = parts[0]
    for part in parts[1:]:
        share = np.clip(0.5 + 0.5 * (part - union) / np.float32(blend), 0.0, 1.0)
        union = part + (union - part) * share - np.float32(blend) * share * (1 - share)
    return np.asarray(union, np.float32)
