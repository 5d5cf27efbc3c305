"""Renders a neck in HU on any grid: bones within their bounding boxes, over soft tissue from its coarse grid."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.anatomy import FRACTURE_STEP, VERTEBRA_NUMBERS
from cspine.core.typing import Bools, Floats, Floats32, Labels
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.inserts import Lesion
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.organs import BLOOD, DISC, Organ, composite_organ
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.fractured_bone import sample_fractured_bone
from cspine.phantom.geometry.distance_fields import partial_volume, smoothstep
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part, bounding_box_of, sample_distance
from cspine.phantom.geometry.solids import Ellipsoid
from cspine.phantom.scanner.inserts import composite_inserts

TRABECULAR_RATIO: Final = {
    "C1": 1.1, "C2": 1.1, "C3": 1.0, "C4": 0.97, "C5": 0.92, "C6": 0.85, "C7": 0.78, "T1": 0.72, "T2": 0.68,
    "T3": 0.66, "T4": 0.65, "T5": 0.63, "T6": 0.62, "T7": 0.61, "T8": 0.59, "T9": 0.58, "T10": 0.57, "T11": 0.55,
    "T12": 0.54, "L1": 0.53, "L2": 0.51, "L3": 0.50, "L4": 0.49, "L5": 0.47, "S1": 0.46,
}  # fmt: skip
"""Density of trabecular bone relative to C3; it decreases caudally."""

_TRABECULAR_GRAIN_MM: Final = (2.8, 0.8, 0.8)
"""Size of trabecular structures in CT along z, y and x: trabeculae are mostly vertical, along the load."""

_COARSE_GRAIN_MM: Final = (5.0, 1.9, 1.9)
"""The same where trabeculae are few and thick."""

_DENSITY_GRAIN_MM: Final = (9.0, 9.0, 9.0)
"""Length over which density and the thickness of the cortex vary."""

_IMPACTION_HU: Final = 220.0
"""Additional density of impacted bone."""

SKULL_LABEL: Final = 255
"""Label of bones of the head where they are labeled; the challenge does not label them."""

_HARD_TISSUE_STEP_MM: Final = 1.2
"""Longest step at which bones other than vertebrae are sampled."""

_MAX_PLANE_STEP_MM: Final = 0.75
"""Largest distance between the planes over which a slice is averaged."""

_MIN_PLANE_STEP_MM: Final = 0.3
"""The same where a narrow fracture gap parallel to the slice might fall between planes."""


@dataclass(frozen=True)
class RenderedNeck:
    """A neck on a grid.

    Attributes
    ----------
    hu : (k, j, i) float32
        Before the scanner: averaged over voxels, without blur or noise.
    labels : (k, j, i) uint8
        As in `cspine.core.anatomy.VERTEBRA_NUMBERS`; 255 the head where requested.
    fracture_mask : (k, j, i) uint8
        Where a vertebra is fractured, its number plus `FRACTURE_STEP` times the index of the type of fracture.
    """

    hu: Floats32
    labels: Labels
    fracture_mask: Labels


def render(neck: Neck, grid: Grid, *, thickness_mm: float = 0.0, label_skull: bool = False) -> RenderedNeck:
    """Render a neck.

    Parameters
    ----------
    neck : Neck
        Vertebrae, head and soft tissue to be rendered.
    grid : Grid
        Points to render, LPS in mm; of any direction and spacing.
    thickness_mm : float
        Thickness of the planes of the grid, over which vertebrae are averaged.
    label_skull : bool
        Whether the bones of the head are labeled too.
    """
    hu = np.array(neck.soft_tissue.resample(grid))
    rendered = RenderedNeck(hu, np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8))
    for tissue in neck.hard_tissues:
        composite_hard_tissue(hu, tissue, grid, rendered.labels if label_skull and tissue.is_skull else None)
    for disc, frame in neck.discs:
        composite_organ(hu, Organ((Part(disc, 0.0),), DISC, 1.0), grid.in_frame(frame))
    for hematoma in neck.swelling:
        composite_organ(hu, Organ((Part(hematoma, 0.0),), BLOOD, 1.0), grid)
    for level in neck.levels:
        composite_vertebra(rendered, neck, level, grid, thickness_mm)
    composite_inserts(hu, neck.inserts, grid, float(_edge_mm(grid)))
    return rendered


def composite_hard_tissue(hu: Floats32, tissue: HardTissue, grid: Grid, labels: Labels | None = None) -> None:
    """Composite a bone other than a vertebra over HU, and label it in `labels` where they are given; both in place."""
    local = grid.in_frame(tissue.frame)
    window = local.window(bounding_box_of(tissue.parts), 1.0)
    if window is None:
        return
    distance = sample_distance(
        tissue.parts, local.crop(window), truncation_mm=tissue.cortex_mm + 2.0, max_step_mm=_HARD_TISSUE_STEP_MM
    )
    edge = _edge_mm(grid)
    near = distance < edge
    depth, region = distance[near], hu[window]
    cortex = 1 - smoothstep(-depth, tissue.cortex_mm * 0.7, tissue.cortex_mm * 1.3)
    value = np.float32(tissue.interior_hu) + np.float32(tissue.cortex_hu - tissue.interior_hu) * cortex
    background = region[near]
    region[near] = background + partial_volume(depth, edge) * (value - background)
    if labels is not None:
        labels[window][distance < 0] = SKULL_LABEL


def composite_vertebra(rendered: RenderedNeck, neck: Neck, level: str, grid: Grid, thickness_mm: float) -> None:
    """Composite a vertebra over what is rendered, in place; for the arguments see `render`."""
    parts, frame = neck.vertebra_parts(level), neck.frames[level].affine
    fractures, defects = neck.fractures.get(level, ()), neck.variants.defects(level)
    displacements_mm = (surface.max_displacement_mm for surface in (*fractures, *defects.corticated_gaps))
    margin = 1.0 + max(displacements_mm, default=0.0)
    window = grid.in_frame(frame).window(bounding_box_of(parts), margin + thickness_mm / 2)
    if window is None:
        return
    planes = _planes(grid, thickness_mm, _plane_step_mm(grid, frame, fractures))
    hu, number, weight = rendered.hu[window], VERTEBRA_NUMBERS[level], np.float32(1 / len(planes))
    bone_hu, bone_fraction = np.zeros_like(hu), np.zeros_like(hu)
    n_inside, surface_index = np.zeros(hu.shape, np.uint8), np.zeros(hu.shape, np.uint8)
    for plane in planes:
        part = plane.crop(window)
        bone = sample_fractured_bone(parts, part.in_frame(frame), fractures, defects)
        edge = _edge_mm(part)
        near = bone.field < edge
        fraction = weight * partial_volume(bone.field[near], edge)
        value = _bone_hu(bone.closed_field, near, part, neck, level)
        if fractures:
            value += np.float32(_IMPACTION_HU) * bone.impaction[near]
            np.copyto(surface_index, bone.surface_index, where=bone.surface_index > 0)
        bone_hu[near] += fraction * value
        bone_fraction[near] += fraction
        n_inside += bone.field < 0
    hu += bone_hu - bone_fraction * hu
    rendered.labels[window][2 * n_inside >= len(planes)] = number
    values = _mask_values(fractures, number)
    np.copyto(rendered.fracture_mask[window], values[surface_index], where=surface_index > 0)


def _planes(grid: Grid, thickness_mm: float, step_mm: float) -> list[Grid]:
    """Return the grids over which slices of a thickness are averaged, shifted along their normal."""
    count = max(int(np.ceil(thickness_mm / step_mm - 1e-6)), 1)
    normal = _normal(grid)
    planes = []
    for number in range(count):
        affine = grid.affine.copy()
        affine[:3, 3] += normal * thickness_mm * ((number + 0.5) / count - 0.5)
        planes.append(Grid(affine, grid.shape))
    return planes


def _plane_step_mm(grid: Grid, frame: Floats, fractures: Iterable[Fracture]) -> float:
    """Return the largest distance between planes for a vertebra: no more than the extent of its gaps across slices."""
    normal = frame[:3, :3].T @ _normal(grid)
    extents = [
        surface.width_mm / max(abs(float(surface.normal @ normal)), 0.1)
        for surface in fractures
        if not surface.height_loss_mm
    ]
    return float(np.clip(min(extents, default=_MAX_PLANE_STEP_MM), _MIN_PLANE_STEP_MM, _MAX_PLANE_STEP_MM))


def _normal(grid: Grid) -> Floats:
    """Return the unit normal of the planes of a grid, (3,)."""
    normal = np.cross(grid.affine[:3, 2], grid.affine[:3, 1])
    return np.asarray(normal / np.linalg.norm(normal))


def _edge_mm(grid: Grid) -> np.float32:
    """Return the length over which surfaces are smoothed against aliasing: the in-plane size of a voxel."""
    return np.float32(max(grid.spacing_mm[1:].mean(), 0.25))


def _mask_values(fractures: Sequence[Fracture], number: int) -> Labels:
    """Return the mask value of each fracture surface of a vertebra after a 0; surfaces of a type have one value."""
    types = list(dict.fromkeys(surface.fracture_type for surface in fractures))
    return np.array(
        [0, *(number + FRACTURE_STEP * types.index(surface.fracture_type) for surface in fractures)], np.uint8
    )


def _bone_hu(closed_field: Floats32, near: Bools, part: Grid, neck: Neck, level: str) -> Floats32:
    """Return HU of selected voxels of a vertebra: cortex, which is thin on the body, about textured trabecular bone.

    Parameters
    ----------
    closed_field : (k, j, i) float32
        Signed distance from the cortex, in mm.
    near : (k, j, i) bool
        Mask of the voxels whose HU are returned; n of them are true.
    part : Grid
        Positions of the voxels of `closed_field`, LPS in mm.
    neck : Neck
        Gives bone properties and texture.
    level : str
        Name of the vertebra, such as C4.

    Returns
    -------
    (n,) float32
    """
    bone, frame = neck.person.bone, neck.frames[level]
    slow, fine = neck.texture.nearest(part, near, (_DENSITY_GRAIN_MM, _TRABECULAR_GRAIN_MM))
    (y,) = part.points().coordinates(frame.center_mm, [frame.axes[:, 1]])
    arch = smoothstep(np.broadcast_to(y, near.shape)[near], 5.0, 10.0)
    cortex_mm = np.float32(bone.endplate_mm) + np.float32(bone.cortex_mm - bone.endplate_mm) * arch
    cortex = 1 - smoothstep(-closed_field[near] - cortex_mm * (1 + np.float32(0.3) * slow), -0.25, 0.25)
    contrast = np.float32(min(1.0, 0.7 / part.spacing_mm.max()))  # coarse voxels average over trabeculae
    relative = 1 + np.float32(0.27) * contrast * fine + np.float32(0.10) * slow
    if bone.coarseness:
        (coarse,) = neck.texture.nearest(part, near, (_COARSE_GRAIN_MM,))
        relative += np.float32(bone.coarseness) * (
            np.float32(0.35) * contrast * fine + np.float32(0.45) * coarse + np.float32(0.12) * slow
        )
    trabecular = np.float32(bone.trabecular_hu * TRABECULAR_RATIO[level]) * relative
    value = np.asarray(trabecular + (np.float32(bone.cortex_hu) - trabecular) * cortex, np.float32)
    lesions = neck.lesions.get(level, ())
    if not lesions:
        return value
    full, texture = np.zeros(near.shape, np.float32), np.zeros(near.shape, np.float32)
    full[near], texture[near] = value, 1 + np.float32(0.1) * fine
    for lesion in lesions:
        _add_lesion(full, texture, part.in_frame(frame.affine), lesion)
    return full[near]


def _add_lesion(hu: Floats32, texture: Floats32, local: Grid, lesion: Lesion) -> None:
    """Blend a lesion into the HU of a vertebra in place; the grid is in the frame of the vertebra."""
    solid = Ellipsoid(lesion.center_mm, lesion.radii_mm, lesion.axes)
    window = local.window(solid.bounding_box(), lesion.edge_mm / 2)
    if window is None:
        return
    region = hu[window]
    weight = partial_volume(solid.signed_distance(local.crop(window).points()), lesion.edge_mm)
    change = weight * (np.float32(lesion.hu) * texture[window] - region)
    region += np.maximum(change, 0) if lesion.only_raises else change
