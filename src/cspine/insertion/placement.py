"""Places the phantom's fractures in a registered vertebra: scaled to its size, moved to where its bone really is."""

from dataclasses import replace
from typing import Final

import numpy as np

from cspine.core.anatomy import Level
from cspine.core.typing import Bools, Floats
from cspine.insertion.registration import RegisteredVertebra, mean_person
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.settings import PhantomSettings

_SNAP_RADIUS_MM: Final = 9.0
"""Distance from the planned center within which bone of the surface is looked for."""

_MAX_SNAP_MM: Final = 5.0
_SLAB_MM: Final = 1.0
"""Longest way to that bone, and half the thickness of the slab in which it is looked for."""


def place_fractures(
    vertebra: RegisteredVertebra, fracture_type: str | None, settings: PhantomSettings, rng: np.random.Generator
) -> tuple[Fracture, ...]:
    """Draw the surfaces of one fracture in the frame of a vertebra, scaled to its size.

    Displacements, widths of gaps and losses of height stay as they are drawn.

    Parameters
    ----------
    vertebra : RegisteredVertebra
        C1 to C7.
    fracture_type : str, optional
        As of `cspine.phantom.fractures.sampling.draw_fractures`.
    settings : PhantomSettings
        Ranges of widths and displacements.
    rng : numpy Generator
        It is advanced.
    """
    level: Level = vertebra.level  # type: ignore[assignment]  # the caller breaks cervical vertebrae only
    surfaces = draw_fractures(level, mean_person(), settings, rng, fracture_type=fracture_type)
    return tuple(_scaled(surface, vertebra.size) for surface in surfaces)


def _scaled(surface: Fracture, size: Floats) -> Fracture:
    """Return a surface in a vertebra of another size along x, y and z; the fragment's way stays as long as it is."""
    normal = surface.normal / size
    return replace(
        surface,
        center_mm=surface.center_mm * size,
        normal=normal / np.linalg.norm(normal),
        half_extent_mm=surface.half_extent_mm * size,
        gap_radius_mm=surface.gap_radius_mm * float(np.cbrt(size.prod())),
    )


def snap_to_bone(surface: Fracture, grid: Grid, own: Bools) -> Fracture:
    """Return a surface whose center lies in the bone that it cuts, where there is some nearby.

    Parameters
    ----------
    surface : Fracture
        In the frame of the vertebra.
    grid : Grid
        Voxels, in the frame of the vertebra.
    own : (k, j, i) bool
        Bone of the vertebra.
    """
    points = grid.points()
    x, y, z = points.coordinates(surface.center_mm)
    is_near = own & (x * x + y * y + z * z < _SNAP_RADIUS_MM**2) & (np.abs(surface.surface_distance(points)) < _SLAB_MM)
    if not is_near.any():
        return surface
    index = np.argwhere(is_near)
    offsets = index @ grid.affine[:3, :3].T + grid.affine[:3, 3] - surface.center_mm
    # The nearest bone weighs most, so that a thin arch beside a thick body keeps the surface.
    weight = np.exp(-((np.linalg.norm(offsets, axis=1) / 4.0) ** 2))
    shift = (weight[:, None] * offsets).sum(axis=0) / weight.sum()
    shift -= (shift @ surface.normal) * surface.normal
    length = float(np.linalg.norm(shift))
    if length > _MAX_SNAP_MM:
        shift *= _MAX_SNAP_MM / length
    return replace(surface, center_mm=surface.center_mm + shift)
