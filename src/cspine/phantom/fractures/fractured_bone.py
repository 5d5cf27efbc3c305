"""Fractured bones on grids: distance fields of intact bone, warped by the displacement of fragments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Bools, Floats32, Labels
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.distance_fields import smooth_intersection
from cspine.phantom.geometry.grid import Grid, GridWindow
from cspine.phantom.geometry.parts import Part, sample_distance
from cspine.phantom.geometry.points import PointCloud, PointSet, enclosing_box

_IMPACTED_ZONE_MM: Final = 1.2
"""Half the thickness of the dense band along the surface of an impacted fracture."""


@dataclass(frozen=True)
class FracturedBone:
    """A bone on a grid.

    Attributes
    ----------
    field : (k, j, i) float32
        Signed distance from the surface of the bone with its gaps, in mm.
    closed_field : (k, j, i) float32
        The same with gaps of fractures closed, which gives the depth below cortex: fresh fractures have none.
    surface_index : (k, j, i) uint8
        Where the bone is fractured, in a gap or an impacted band: 1 plus the index of the fracture surface; else 0.
    impaction : (k, j, i) float32
        Density of impacted bone, 0 (normal) to 1.
    """

    field: Floats32
    closed_field: Floats32
    surface_index: Labels
    impaction: Floats32


@dataclass(frozen=True)
class Defects:
    """What a vertebra lacks without being fractured.

    Attributes
    ----------
    vascular_canals : tuple of Part
        Without a cortex of their own.
    corticated_gaps : tuple of Fracture
        Gaps lined by cortical bone, such as old fractures.
    """

    vascular_canals: tuple[Part, ...] = ()
    corticated_gaps: tuple[Fracture, ...] = ()


NO_DEFECTS: Final = Defects()


def sample_fractured_bone(
    parts: Sequence[Part], local: Grid, fractures: Sequence[Fracture] = (), defects: Defects = NO_DEFECTS
) -> FracturedBone:
    """Sample a bone with its fractures on a grid.

    Parameters
    ----------
    parts : sequence of Part
        Parts of the intact bone, in its own frame.
    local : Grid
        Grid in the frame of the vertebra, in mm.
    fractures : sequence of Fracture
        Fracture surfaces of the bone, in their order of displacement.
    defects : Defects
        Canals and gaps that are no fractures.
    """
    intact, surfaces = sample_distance(parts, local), (*defects.corticated_gaps, *fractures)
    if not surfaces and not defects.vascular_canals:
        nothing = np.zeros((1, 1, 1), np.float32)
        return FracturedBone(intact, intact, nothing.astype(np.uint8), nothing)
    bone = FracturedBone(intact.copy(), intact, np.zeros(intact.shape, np.uint8), np.zeros_like(intact))
    if surfaces:
        window = local.window(enclosing_box(surface.bounding_box() for surface in surfaces))
        if window is not None:
            _displace_fragments(bone, window, parts, local.crop(window), fractures, defects.corticated_gaps)
    for canal in defects.vascular_canals:
        window = local.window(canal.solid.bounding_box(), canal.blend_mm)
        if window is not None:
            distance = canal.solid.signed_distance(local.crop(window).points())
            bone.field[window] = smooth_intersection(bone.field[window], -distance, canal.blend_mm)
    return bone


def _displace_fragments(
    bone: FracturedBone,
    window: GridWindow,
    parts: Sequence[Part],
    local: Grid,
    fractures: Sequence[Fracture],
    corticated: Sequence[Fracture],
) -> None:
    """Displace fragments and open gaps within a window of the grid, in place.

    The displacements are inverted from the last fracture to the first, so that a fragment carries the gaps of the
    fractures before the one that displaced it.
    """
    surfaces = (*corticated, *fractures)
    closed = sample_distance(
        parts,
        local,
        warp=lambda points: _undo_displacements(points, surfaces),
        max_warp_mm=sum(surface.max_displacement_mm for surface in surfaces),
    )
    in_bone, affected = closed < 0, np.zeros(closed.shape, bool)
    gap_depth = np.full(closed.shape, -np.inf, np.float32)
    points: PointSet = local.points()
    marked = bone.surface_index[window]
    for index in reversed(range(len(surfaces))):
        surface, is_fresh = surfaces[index], index >= len(corticated)
        value = np.uint8(max(index - len(corticated) + 1, 0))
        inside, side = surface.contains(points), surface.surface_distance(points)
        distance, affected = np.abs(side), affected | inside
        if surface.height_loss_mm:
            if is_fresh:
                np.copyto(marked, value, where=in_bone & inside & (distance < _IMPACTED_ZONE_MM))
                density = np.where(inside, np.clip(1 - distance / np.float32(2 * _IMPACTED_ZONE_MM), 0, 1), 0)
                np.maximum(bone.impaction[window], density, out=bone.impaction[window])
        else:
            half = surface.half_gap_mm(points)
            within = inside & (half > 0)
            np.maximum(gap_depth, half - distance, out=gap_depth, where=within)
            if is_fresh:
                # A voxel is marked where the surface passes through it, however narrow the gap.
                half_voxel = np.float32(0.5 * np.abs(surface.normal @ local.affine[:3, :3]).sum())
                np.copyto(marked, value, where=in_bone & within & (distance < np.maximum(half, half_voxel)))
            else:
                np.maximum(closed, half - distance, out=closed, where=within)  # cortex lines the gap
        fragment = inside & (side > 0)
        before = _undo_displacement(points, surface, fragment)
        if not surface.height_loss_mm and surface.gap_mm > surface.width_mm:  # the space that the fragment has left
            vacated = np.minimum(side, -surface.surface_distance(before))
            np.maximum(gap_depth, vacated, out=gap_depth, where=fragment)
            if is_fresh:
                np.copyto(marked, value, where=in_bone & fragment & (vacated > 0))
            else:
                np.maximum(closed, vacated, out=closed, where=fragment)
        points = before
    np.copyto(bone.closed_field[window], closed, where=affected)
    np.copyto(bone.field[window], np.maximum(closed, gap_depth), where=affected)


def _undo_displacements(points: PointSet, surfaces: Sequence[Fracture]) -> PointSet:
    """Return where the bone at given points was before all displacements."""
    for surface in reversed(surfaces):
        points = _undo_displacement(points, surface, surface.contains(points) & (surface.surface_distance(points) > 0))
    return points


def _undo_displacement(points: PointSet, surface: Fracture, fragment: Bools) -> PointSet:
    """Return where the bone at given points was before one displacement, which applies to the fragment only."""
    displaced, fixed = surface.inverse_warp(points).coordinates((0, 0, 0)), points.coordinates((0, 0, 0))
    x, y, z = (np.where(fragment, before, same) for before, same in zip(displaced, fixed, strict=True))
    return PointCloud(x, y, z)
