"""Bones with fractures on a lattice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.phantom.fracture import Crack
from cspine.phantom.grid import Grid, Part, Window, sample
from cspine.phantom.solids import Field, intersect

_CRUSHED_MM: Final = 1.2
"""How far from its surface crushed bone is denser."""


@dataclass(frozen=True)
class Broken:
    """A bone on a lattice.

    Attributes
    ----------
    field : (k, j, i) float32
        Signed distance in mm to what is left of it.
    skin : (k, j, i) float32
        The same as if its gaps were closed: fresh fractures have no compact bone along them.
    gap : (k, j, i) bool
        Where it is broken: within the gap, or crushed.
    dense : (k, j, i) float32
        0 to 1: how much denser crushed bone is.
    """

    field: Field
    skin: Field
    gap: npt.NDArray[np.bool_]
    dense: Field


@dataclass(frozen=True)
class Flaws:
    """What of a vertebra is missing, and is no fracture.

    Attributes
    ----------
    holes : tuple of Part
        Canals of vessels, without a shell of their own.
    old : tuple of Crack
        Gaps lined by compact bone.
    """

    holes: tuple[Part, ...] = ()
    old: tuple[Crack, ...] = ()


NO_FLAWS: Final = Flaws()


def break_bone(parts: Sequence[Part], local: Grid, cracks: Sequence[Crack] = (), flaws: Flaws = NO_FLAWS) -> Broken:
    """Sample a bone with its fractures.

    Parameters
    ----------
    parts : sequence of Part
        The bone.
    local : Grid
        The lattice, in the vertebra's frame.
    cracks : sequence of Crack
        Its fractures.
    flaws : Flaws
        What is no fracture.
    """
    intact = sample(parts, local)
    if not cracks and not flaws.old and not flaws.holes:
        nothing = np.zeros((1, 1, 1), np.float32)
        return Broken(intact, intact, nothing > 0, nothing)
    broken = Broken(intact.copy(), intact.copy(), np.zeros(intact.shape, bool), np.zeros_like(intact))
    for crack in flaws.old:
        window = local.window(crack.box())
        if window is not None:
            _open(broken, intact, window, parts, local.part(window), crack)
    if flaws.old:
        np.copyto(broken.skin, broken.field)
        broken.gap[:] = False
    for hole in flaws.holes:
        window = local.window(hole.solid.box(), hole.blend_mm)
        if window is not None:
            distance = hole.solid.distance(local.part(window).points())
            broken.field[window] = intersect(broken.field[window], -distance, hole.blend_mm)
    for crack in cracks:
        window = local.window(crack.box())
        if window is not None:
            _open(broken, intact, window, parts, local.part(window), crack)
    return broken


def _open(broken: Broken, intact: Field, window: Window, parts: Sequence[Part], local: Grid, crack: Crack) -> None:
    """Move a crack's fragment and open its gap, within a window."""
    points = local.points()
    side = crack.side(points)
    moved = sample(parts, local, warp=crack.whence, warp_mm=crack.most_mm)
    beyond, whole = side > 0, intact[window] < 0
    np.copyto(broken.skin[window], moved, where=beyond)
    np.copyto(broken.field[window], moved, where=beyond)
    if crack.crush_mm:
        near = np.abs(side)
        broken.gap[window] |= whole & (near < _CRUSHED_MM)
        np.maximum(
            broken.dense[window], np.clip(1 - near / np.float32(2 * _CRUSHED_MM), 0, 1), out=broken.dense[window]
        )
        return
    half = crack.half_gap(points)
    opened = np.where(half > 0, half - np.abs(side), np.float32(-np.inf))
    np.maximum(broken.field[window], opened, out=broken.field[window])
    narrow = np.float32(0.35 * float(local.spacing_mm.min()))  # a crack finer than the voxels is still marked
    broken.gap[window] |= whole & (half > 0) & (np.abs(side) < np.maximum(half, narrow))
