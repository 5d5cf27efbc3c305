"""Draws implants and gas over vertebrae, and the streaks of metal, on any grid."""

from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from typing import Final

import numpy as np

from cspine.core.typing import Floats, Floats32
from cspine.phantom.anatomy.inserts import Insert
from cspine.phantom.anatomy.organs import Organ, composite_organ
from cspine.phantom.geometry.grid import Grid

_REACH_MM: Final = 60.0
"""Distance from metal up to which there are streaks."""

_STREAK_HU: Final = 190.0
"""Standard deviation of streaks at the surface of a screw, in HU."""

_FADE_MM: Final = 22.0
"""Distance over which streaks decrease to 1/e."""

_PLANES_MM: Final = 2.5
"""Distance above and below metal up to which slices have its streaks."""

_N_RAYS: Final = 36
_LAYER_MM: Final = 3.0
"""Streaks of one piece of metal: the number about it, and the height over which their directions change."""

_N_FULL_PIECES: Final = 4
"""Number of pieces of metal from which on each has weaker streaks, so that their sum grows no more."""

_DARK_HU: Final = 320.0
_MAX_PAIR_MM: Final = 65.0
"""Dark band between two pieces of metal: its depth in HU, and their largest distance."""


def composite_inserts(hu: Floats32, inserts: Iterable[Insert], grid: Grid, edge_mm: float) -> None:
    """Composite inserts over an image, then the streaks of those of metal.

    Parameters
    ----------
    hu : (k, j, i) float32
        HU on the grid; changed in place.
    inserts : iterable of Insert
        In their order.
    grid : Grid
        Points of the image, LPS in mm.
    edge_mm : float
        Length over which surfaces are smoothed against aliasing.
    """
    metal = []
    for insert in inserts:
        organ = Organ(insert.parts, insert.hu, max(edge_mm, 0.5), insert.max_background_hu)
        composite_organ(hu, organ, grid.in_frame(insert.frame))
        if insert.is_metal:
            metal += [_box_in_lps(part.solid.bounding_box(), insert.frame) for part in insert.parts]
    strength = min(1.0, float(np.sqrt(_N_FULL_PIECES / max(len(metal), 1))))
    for box in metal:
        _add_rays(hu, box, grid, strength)
    for one, other in pairwise(metal):
        _darken_between(hu, one, other, grid)


def _box_in_lps(box: Floats, frame: Floats) -> Floats:
    """Return the box along the axes of LPS that contains a box of a frame, (2, 3)."""
    corners = np.array([[box[n][axis] for axis, n in enumerate(choice)] for choice in product((0, 1), repeat=3)])
    moved = corners @ frame[:3, :3].T + frame[:3, 3]
    return np.array([moved.min(axis=0), moved.max(axis=0)])


def _ray_pattern(center: Floats, layers: int) -> Floats32:
    """Return streaks at the limits of layers by angle, (layers + 1, rays); seeded by the position of the metal."""
    seed = [int(value) for value in np.round(center * 100).astype(np.int64).view(np.uint64)]
    return np.random.default_rng(seed).normal(0.0, 1.0, (layers + 1, _N_RAYS)).astype(np.float32)


def _add_rays(hu: Floats32, box: Floats, grid: Grid, strength: float) -> None:
    """Add bright and dark rays in the axial planes about a piece of metal, given its box in LPS."""
    center, half = box.mean(axis=0), (box[1] - box[0]) / 2
    reach = np.array([_REACH_MM, _REACH_MM, half[2] + _PLANES_MM])
    window = grid.window(np.array([center - reach, center + reach]))
    if window is None:
        return
    x, y, z = grid.crop(window).points().coordinates(center)
    radius = np.hypot(x, y)
    layers = int(2 * reach[2] / _LAYER_MM) + 1
    height = np.clip((z + np.float32(reach[2])) / np.float32(_LAYER_MM), 0, layers - 1)
    layer = height.astype(np.intp)
    above = height - layer
    angle = (np.arctan2(y, x) + np.float32(np.pi)) * np.float32(_N_RAYS / (2 * np.pi))
    low = angle.astype(np.intp) % _N_RAYS
    weight, high = angle - np.floor(angle), (low + 1) % _N_RAYS
    pattern = _ray_pattern(center, layers)
    lower, upper = (pattern[row, low] * (1 - weight) + pattern[row, high] * weight for row in (layer, layer + 1))
    ray = lower + (upper - lower) * above
    size_mm = float(np.clip(half[:2].min(), 0.4, 3.0))  # thick metal absorbs more
    fade = np.clip((np.float32(reach[2]) - np.abs(z)) / np.float32(_PLANES_MM), 0, 1)
    outside = np.clip(radius / np.float32(max(size_mm, 1.0)) - np.float32(0.5), 0, 1)
    fade = fade * outside * np.exp(-radius / np.float32(_FADE_MM))
    hu[window] += np.float32(strength * _STREAK_HU * np.sqrt(size_mm / 2)) * fade * ray


def _darken_between(hu: Floats32, one: Floats, other: Floats, grid: Grid) -> None:
    """Add a dark band between two pieces of metal that lie in the same axial planes, given their boxes in LPS."""
    low_z, high_z = max(one[0, 2], other[0, 2]) - 1.0, min(one[1, 2], other[1, 2]) + 1.0
    start, end = one.mean(axis=0), other.mean(axis=0)
    direction = (end - start)[:2]
    length = float(np.hypot(*direction))
    if high_z <= low_z or not 3.0 < length < _MAX_PAIR_MM:
        return
    corners = np.array([np.minimum(start, end) - 12.0, np.maximum(start, end) + 12.0])
    corners[:, 2] = low_z, high_z
    window = grid.window(corners)
    if window is None:
        return
    axes: Sequence[Floats] = [
        np.array([*direction, 0.0]) / length,
        np.array([-direction[1], direction[0], 0.0]) / length,
    ]
    along, across = grid.crop(window).points().coordinates(start, axes)
    beyond = np.maximum(np.maximum(-along, along - np.float32(length)), 0)
    within = np.clip(1 - beyond / np.float32(12.0), 0, 1)
    hu[window] -= np.float32(_DARK_HU) * within * np.exp(-((across / np.float32(3.0)) ** 2))
