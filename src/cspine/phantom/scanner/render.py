"""A neck to Hounsfield units on any lattice: every bone in its own window, soft tissue laid out coarsely beneath."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS
from cspine.phantom.anatomy.grid import Grid, Part, around, sample
from cspine.phantom.anatomy.head import Hard
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.solids import Field, cover, smoothstep
from cspine.phantom.anatomy.tissue import BLOOD, DISC, Organ, paint
from cspine.phantom.fractures.breaking import break_bone
from cspine.phantom.fractures.fracture import Fracture

TRABECULAR: Final = {
    "C1": 1.1, "C2": 1.1, "C3": 1.0, "C4": 0.97, "C5": 0.92, "C6": 0.85, "C7": 0.78, "T1": 0.72, "T2": 0.68,
}  # fmt: skip
"""Spongy bone's density against C3's; it falls to the feet."""

_GRAIN_MM: Final = (2.8, 0.8, 0.8)
"""Of trabecular bone as CT shows it, along z, y and x: bars mostly stand upright, as the load does."""

_DRIFT_MM: Final = (9.0, 9.0, 9.0)
"""Over which density and the shell's thickness change."""

_CRUSHED_HU: Final = 220.0
"""By how much bone driven into bone is denser."""

SKULL: Final = 255
"""How bones of the head are labelled where that is asked for; the challenge does not label them."""

_HARD_FINE_MM: Final = 1.2
"""Bones that are no vertebrae are sampled this coarsely."""

_STEP_MM: Final = 0.75
"""Slices are averaged over planes at most this far apart."""

_LEAST_STEP_MM: Final = 0.3
"""And where a fine crack along them might fall between planes, this far."""


@dataclass(frozen=True)
class Rendered:
    """A neck on a lattice.

    Attributes
    ----------
    hu : (k, j, i) float32
        Without scanner: no blur but that of the voxels, no noise.
    labels : (k, j, i) uint8
        1-7 C1-C7, 8 T1, 9 T2, 255 the head where asked for.
    fracture_mask : (k, j, i) uint8
        The vertebra's number where it is broken, with `FRACTURE_STEP` for each kind of fracture that comes before.
    """

    hu: Field
    labels: npt.NDArray[np.uint8]
    fracture_mask: npt.NDArray[np.uint8]


def render(neck: Neck, grid: Grid, *, thickness_mm: float = 0.0, label_skull: bool = False) -> Rendered:
    """Render a neck.

    Parameters
    ----------
    neck : Neck
        What to render.
    grid : Grid
        In LPS, of any direction and spacing.
    thickness_mm : float
        Of its planes, over which they average.
    label_skull : bool
        Whether the bones of the head are labelled too.
    """
    hu = np.array(neck.soft.on(grid))
    rendered = Rendered(hu, np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8))
    for hard in neck.hard:
        _paint_hard(hu, hard, grid, rendered.labels if label_skull and hard.of_skull else None)
    for disc, frame in neck.discs:
        paint(hu, Organ((Part(disc, 0.0),), DISC, 1.0), grid.seen_from(frame))
    for blood in neck.swelling:
        paint(hu, Organ((Part(blood, 0.0),), BLOOD, 1.0), grid)
    for level in neck.levels:
        _paint_vertebra(rendered, neck, level, grid, thickness_mm)
    return rendered


def _planes(grid: Grid, thickness_mm: float, step_mm: float) -> list[Grid]:
    """Return the lattices over which slices of a thickness are averaged, along their normal."""
    count = max(int(np.ceil(thickness_mm / step_mm - 1e-6)), 1)
    along = _normal(grid)
    lattices = []
    for number in range(count):
        affine = grid.affine.copy()
        affine[:3, 3] += along * thickness_mm * ((number + 0.5) / count - 0.5)
        lattices.append(Grid(affine, grid.shape))
    return lattices


def _step_mm(grid: Grid, frame: npt.NDArray[np.float64], fractures: Iterable[Fracture]) -> float:
    """Return how far apart a vertebra's planes may lie: no farther than its gaps are high."""
    along = frame[:3, :3].T @ _normal(grid)
    heights = [
        fracture.width_mm / max(abs(float(fracture.normal @ along)), 0.1)
        for fracture in fractures
        if not fracture.crush_mm
    ]
    return float(np.clip(min(heights, default=_STEP_MM), _LEAST_STEP_MM, _STEP_MM))


def _normal(grid: Grid) -> npt.NDArray[np.float64]:
    """Return the unit normal of a lattice's planes."""
    along = np.cross(grid.affine[:3, 2], grid.affine[:3, 1])
    return np.asarray(along / np.linalg.norm(along))


def _edge_mm(grid: Grid) -> np.float32:
    """Return over what length a surface is smoothed so that it does not alias: a voxel within the slice."""
    return np.float32(max(grid.spacing_mm[1:].mean(), 0.25))


def _paint_hard(hu: Field, hard: Hard, grid: Grid, labels: npt.NDArray[np.uint8] | None) -> None:
    local = grid.seen_from(hard.frame)
    window = local.window(around(hard.parts), 1.0)
    if window is None:
        return
    field = sample(hard.parts, local.part(window), reach_mm=hard.cortex_mm + 2.0, fine_mm=_HARD_FINE_MM)
    edge = _edge_mm(grid)
    near = field < edge
    depth, here = field[near], hu[window]
    shell = 1 - smoothstep(-depth, hard.cortex_mm * 0.7, hard.cortex_mm * 1.3)
    value = np.float32(hard.inside_hu) + np.float32(hard.cortex_hu - hard.inside_hu) * shell
    before = here[near]
    here[near] = before + cover(depth, edge) * (value - before)
    if labels is not None:
        labels[window][field < 0] = SKULL


def _paint_vertebra(rendered: Rendered, neck: Neck, level: str, grid: Grid, thickness_mm: float) -> None:
    parts, frame = neck.bone(level), neck.frames[level].affine
    fractures = neck.fractures.get(level, ())
    margin = 1.0 + max((fracture.most_mm for fracture in (*fractures, *neck.variants.old.get(level, ()))), default=0.0)
    window = grid.seen_from(frame).window(around(parts), margin + thickness_mm / 2)
    if window is None:
        return
    planes = _planes(grid, thickness_mm, _step_mm(grid, frame, fractures))
    hu, number, share = rendered.hu[window], SEGMENT_NUMBERS[level], np.float32(1 / len(planes))
    painted, covered = np.zeros_like(hu), np.zeros_like(hu)
    inside, gap = np.zeros(hu.shape, np.uint8), np.zeros(hu.shape, np.uint8)
    for lattice in planes:
        part = lattice.part(window)
        broken = break_bone(parts, part.seen_from(frame), fractures, neck.variants.of(level))
        edge = _edge_mm(part)
        near = broken.field < edge
        covering = share * cover(broken.field[near], edge)
        value = _bone_hu(broken.skin, near, part, neck, level)
        if fractures:
            value += np.float32(_CRUSHED_HU) * broken.dense[near]
            np.copyto(gap, broken.gap, where=broken.gap > 0)
        painted[near] += covering * value
        covered[near] += covering
        inside += broken.field < 0
    hu += painted - covered * hu
    rendered.labels[window][2 * inside >= len(planes)] = number
    np.copyto(rendered.fracture_mask[window], _values(fractures, number)[gap], where=gap > 0)


def _values(fractures: Sequence[Fracture], number: int) -> npt.NDArray[np.uint8]:
    """Return what voxels of each crack of a vertebra are marked by; those of one kind are one fracture."""
    kinds = list(dict.fromkeys(fracture.kind for fracture in fractures))
    return np.array([0, *(number + FRACTURE_STEP * kinds.index(fracture.kind) for fracture in fractures)], np.uint8)


def _bone_hu(skin: Field, near: npt.NDArray[np.bool_], part: Grid, neck: Neck, level: str) -> Field:
    """Return HU of those voxels that bone touches: a shell, thin on bodies, about textured spongy bone."""
    bone, frame = neck.person.bone, neck.frames[level]
    slow, fine = neck.texture.at(part, near, (_DRIFT_MM, _GRAIN_MM))
    (behind,) = part.points().coordinates(frame.centre_mm, [frame.axes[:, 1]])
    arch = smoothstep(np.broadcast_to(behind, near.shape)[near], 5.0, 10.0)
    shell = np.float32(bone.endplate_mm) + np.float32(bone.cortex_mm - bone.endplate_mm) * arch
    compact = 1 - smoothstep(-skin[near] - shell * (1 + np.float32(0.3) * slow), -0.25, 0.25)
    coordinates = np.float32(min(1.0, 0.7 / part.spacing_mm.max()))  # coarse voxels average the grain away
    spongy = np.float32(bone.trabecular_hu * TRABECULAR[level]) * (
        1 + np.float32(0.27) * coordinates * fine + np.float32(0.10) * slow
    )
    return np.asarray(spongy + (np.float32(bone.cortex_hu) - spongy) * compact, np.float32)
