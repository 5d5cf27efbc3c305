"""Bones with fractures on a lattice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.phantom.anatomy.grid import Grid, Part, Window, sample
from cspine.phantom.anatomy.solids import Cloud, Field, Points, enclose, intersect
from cspine.phantom.fractures.fracture import Fracture

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
    gap : (k, j, i) uint8
        Where it is broken, within the gap or crushed: one more than the place of the crack in their order; 0 elsewhere.
    dense : (k, j, i) float32
        0 to 1: how much denser crushed bone is.
    """

    field: Field
    skin: Field
    gap: npt.NDArray[np.uint8]
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
    old: tuple[Fracture, ...] = ()


NO_FLAWS: Final = Flaws()


def break_bone(
    parts: Sequence[Part], local: Grid, fractures: Sequence[Fracture] = (), flaws: Flaws = NO_FLAWS
) -> Broken:
    """Sample a bone with its fractures.

    Parameters
    ----------
    parts : sequence of Part
        The bone.
    local : Grid
        The lattice, in the vertebra's frame.
    fractures : sequence of Crack
        Its fractures.
    flaws : Flaws
        What is no fracture.
    """
    intact, moving = sample(parts, local), (*flaws.old, *fractures)
    if not moving and not flaws.holes:
        nothing = np.zeros((1, 1, 1), np.float32)
        return Broken(intact, intact, nothing.astype(np.uint8), nothing)
    broken = Broken(intact.copy(), intact, np.zeros(intact.shape, np.uint8), np.zeros_like(intact))
    if moving:
        window = local.window(enclose(fracture.box() for fracture in moving))
        if window is not None:
            _break(broken, window, parts, local.part(window), fractures, flaws.old)
    for hole in flaws.holes:
        window = local.window(hole.solid.box(), hole.blend_mm)
        if window is not None:
            distance = hole.solid.distance(local.part(window).points())
            broken.field[window] = intersect(broken.field[window], -distance, hole.blend_mm)
    return broken


def _break(
    broken: Broken,
    window: Window,
    parts: Sequence[Part],
    local: Grid,
    fractures: Sequence[Fracture],
    old: Sequence[Fracture],
) -> None:
    """Move fragments and open gaps within a window.

    The last fracture is undone first, so that what it moved carries the gaps of those before it.
    """
    moving = (*old, *fractures)
    skin = sample(parts, local, warp=lambda points: _whence(points, moving), warp_mm=sum(c.most_mm for c in moving))
    whole, opened, touched = skin < 0, np.full(skin.shape, -np.inf, np.float32), np.zeros(skin.shape, bool)
    points: Points = local.points()
    gap = broken.gap[window]
    for number in reversed(range(len(moving))):
        fracture, own = moving[number], np.uint8(max(number - len(old) + 1, 0))
        inside, side = fracture.within(points), fracture.side(points)
        near, touched = np.abs(side), touched | inside
        if fracture.crush_mm:
            if number >= len(old):
                np.copyto(gap, own, where=whole & inside & (near < _CRUSHED_MM))
            dense = np.where(inside, np.clip(1 - near / np.float32(2 * _CRUSHED_MM), 0, 1), 0)
            np.maximum(broken.dense[window], dense, out=broken.dense[window])
        else:
            half = fracture.half_gap(points)
            within = inside & (half > 0)
            np.maximum(opened, half - near, out=opened, where=within)
            if number < len(old):
                np.maximum(skin, half - near, out=skin, where=within)  # its edges are compact
            else:
                # A voxel is broken where the surface passes through it, however fine the crack.
                through = np.float32(0.5 * np.abs(fracture.normal @ local.affine[:3, :3]).sum())
                np.copyto(gap, own, where=whole & within & (near < np.maximum(half, through)))
        fragment = inside & (side > 0)
        before = _undo(points, fracture, fragment)
        if not fracture.crush_mm and fracture.gap_mm > fracture.width_mm:  # it has left the other side behind
            left = np.minimum(side, -fracture.side(before))
            np.maximum(opened, left, out=opened, where=fragment)
            if number >= len(old):
                np.copyto(gap, own, where=whole & fragment & (left > 0))
        points = before
    np.copyto(broken.skin[window], skin, where=touched)
    np.copyto(broken.field[window], np.maximum(skin, opened), where=touched)


def _whence(points: Points, fractures: Sequence[Fracture]) -> Points:
    """Return where the bone at these points was before any of the fractures."""
    for fracture in reversed(fractures):
        points = _undo(points, fracture, fracture.within(points) & (fracture.side(points) > 0))
    return points


def _undo(points: Points, fracture: Fracture, beyond: npt.NDArray[np.bool_]) -> Points:
    """Return where the bone at these points was before a fracture, which moved those beyond it."""
    moved, still = fracture.inverse_warp(points).coordinates((0, 0, 0)), points.coordinates((0, 0, 0))
    x, y, z = (np.where(beyond, after, before) for after, before in zip(moved, still, strict=True))
    return Cloud(x, y, z)
