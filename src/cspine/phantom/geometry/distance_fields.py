"""Operations on signed distance fields: smooth Boolean operations, partial volume, and distances to ellipses.

A field holds signed distances in mm as float32, negative inside.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from cspine.core.typing import Floats32
from cspine.phantom.geometry.points import Vector

_EPSILON: Final = np.float32(1e-6)


def partial_volume(field: Floats32, edge_mm: float | np.float32) -> Floats32:
    """Return the fraction of each voxel that a solid fills, 0 to 1: linear in the distance over `edge_mm`."""
    return np.asarray(np.clip(np.float32(0.5) - field / np.float32(edge_mm), 0, 1))


def smooth_union(one: Floats32, other: Floats32, blend_mm: float) -> Floats32:
    """Return the union of two solids, whose seam is rounded over `blend_mm`.

    The union is the polynomial smooth minimum (Quilez 2013); without a blend it is the minimum.
    """
    if blend_mm <= 0:
        return np.minimum(one, other)
    weight = np.clip(np.float32(0.5) + (other - one) * np.float32(0.5 / blend_mm), 0, 1)
    return np.asarray(other + (one - other) * weight - np.float32(blend_mm) * weight * (1 - weight))


def smooth_intersection(one: Floats32, other: Floats32, blend_mm: float) -> Floats32:
    """Return the intersection of two solids, whose edge is rounded over `blend_mm` as in `smooth_union`."""
    return -smooth_union(-one, -other, blend_mm)


def smoothstep(values: Floats32, low: float, high: float) -> Floats32:
    """Return 0 below `low`, 1 above `high`, and the cubic Hermite polynomial between."""
    weight = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(weight * weight * (3 - 2 * weight))


def ellipse_distance(offsets: Sequence[Floats32], radii: Vector) -> Floats32:
    """Return the first-order signed distance to an ellipse or ellipsoid, k (k - 1) / |gradient of k^2 / 2|.

    Parameters
    ----------
    offsets : sequence of arrays
        Coordinates about the center along each axis.
    radii : sequence of float
        One for each axis.
    """
    square: Floats32 | np.float32 = np.float32(0)
    gradient: Floats32 | np.float32 = np.float32(0)
    for offset, radius in zip(offsets, radii, strict=True):
        part = (offset * np.float32(1 / radius)) ** 2
        square = square + part
        gradient = gradient + part * np.float32(radius**-2)
    k = np.sqrt(square)
    return np.asarray(k * (k - 1) / np.maximum(np.sqrt(gradient), _EPSILON))


def superellipse_distance(
    x: Floats32, y: Floats32, u: Floats32, v: Floats32, squareness: Floats32 | np.float32, min_half_mm: float
) -> Floats32:
    """Return the signed distance to the side of a prism along z, whose cross-section lies between two superellipses.

    Parameters
    ----------
    x, y : arrays
        Coordinates about the axis of the prism, in mm.
    u, v : arrays
        The same, divided by half the extent of the prism along x and y.
    squareness : array or number
        0 for an ellipse (exponent 2), 1 for a rounded rectangle (superellipse of exponent 4).
    min_half_mm : float
        The smaller half extent, which bounds the scale of distances near the axis.
    """
    u2, v2 = u * u, v * v
    reach = np.sqrt(np.maximum((u2 + v2) * (1 - squareness) + np.sqrt(u2 * u2 + v2 * v2) * squareness, _EPSILON))
    return np.asarray((reach - 1) * np.maximum(np.hypot(x, y) / reach, np.float32(min_half_mm)))
