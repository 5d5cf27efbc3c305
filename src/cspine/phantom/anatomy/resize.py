"""A neck in another size: everything is scaled about the body of C4, and the head by a factor of its own."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import Organ
from cspine.phantom.anatomy.posture import Frame
from cspine.phantom.anatomy.soft_tissue import SoftTissue
from cspine.phantom.anatomy.variants import Variants
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part, bounding_box_of
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.scaled import GradedScale, GradedSolid, scale_parts
from cspine.phantom.geometry.solids import Ellipsoid

if TYPE_CHECKING:
    from cspine.phantom.anatomy.neck import Neck

NeckT = TypeVar("NeckT", bound="Neck")

_HEAD_RANGE_MM: Final = (18.0, 60.0)
"""Height above the atlas over which the size changes from that of the neck to that of the head."""


def head_scale(head: Frame, factor: float, head_factor: float) -> GradedScale:
    """Return the scale of a neck with this frame of the skull; the factor of the head is at least that of the neck."""
    direction = head.axes @ (vector(0.0, -0.3, 0.95) / np.hypot(0.3, 0.95))
    factors = (factor, max(head_factor, factor))
    return GradedScale(head.center_mm, factor * head.center_mm, direction, _HEAD_RANGE_MM, factors)


def resized_neck(neck: NeckT, scale: GradedScale) -> NeckT:
    """Return a neck in another size.

    Person, variants that belong to vertebrae and the spacing of pillars keep the measures from which the vertebrae are
    built; `Neck.size_factor` scales them. All else is in the new size.
    """
    factor = scale.factors[0]
    tissues = tuple(
        replace(
            tissue,
            parts=resized_parts(tissue.parts, scale, tissue.frame),
            frame=_moved(tissue.frame, factor),
            cortex_mm=tissue.cortex_mm * factor,
        )
        for tissue in neck.hard_tissues
    )
    inserts = tuple(
        replace(insert, parts=resized_parts(insert.parts, scale, insert.frame), frame=_moved(insert.frame, factor))
        for insert in neck.inserts
    )
    lesions = {
        level: tuple(
            replace(each, center_mm=np.multiply(each.center_mm, factor), radii_mm=np.multiply(each.radii_mm, factor))
            for each in of_level
        )
        for level, of_level in neck.lesions.items()
    }
    return replace(
        neck,
        frames={level: Frame(factor * frame.center_mm, frame.axes) for level, frame in neck.frames.items()},
        size_factor=neck.size_factor * factor,
        variants=_resized_variants(neck.variants, factor),
        soft_tissue=_resized_soft_tissue(neck.soft_tissue, scale),
        hard_tissues=tissues,
        inserts=inserts,
        lesions=lesions,
        discs=tuple((_scaled_ellipsoid(disc, factor), _moved(frame, factor)) for disc, frame in neck.discs),
        swelling=tuple(_scaled_ellipsoid(hematoma, factor) for hematoma in neck.swelling),
        fillings=tuple(scale.apply(filling) for filling in neck.fillings),
        fractures={
            level: tuple(_scaled_fracture(surface, factor) for surface in surfaces)
            for level, surfaces in neck.fractures.items()
        },
    )


def _resized_variants(variants: Variants, factor: float) -> Variants:
    """Return variants in a new size, but for the parts of vertebrae, which are scaled with them."""
    canals = {level: scale_parts(parts, factor) for level, parts in variants.vascular_canals.items()}
    gaps = {
        level: tuple(_scaled_fracture(gap, factor) for gap in of_level)
        for level, of_level in variants.corticated_gaps.items()
    }
    return replace(variants, vascular_canals=canals, corticated_gaps=gaps)


def _moved(frame: Floats, factor: float) -> Floats:
    """Return a frame at its place after scaling by a factor about the origin."""
    moved = frame.copy()
    moved[:3, 3] *= factor
    return moved


def resized_parts(parts: Iterable[Part], scale: GradedScale, frame: Floats) -> tuple[Part, ...]:
    """Return parts in their new size, in their frame at its new place."""
    local, factor = scale.in_frame(frame, _moved(frame, scale.factors[0])), scale.factors[0]
    resized: list[Part] = []
    for part in parts:
        low, high = bounding_box_of([replace(part, is_cutout=False)]) - local.origin_mm
        highest = np.maximum(low * local.direction, high * local.direction).sum()
        if highest <= local.range_mm[0] or scale.factors[0] == scale.factors[1]:
            resized += scale_parts([part], factor)
        else:
            blend = part.blend_mm * scale.factors[1]
            resized.append(replace(part, solid=GradedSolid(part.solid, local), blend_mm=blend))
    return tuple(resized)


def resized_organ(organ: Organ, scale: GradedScale) -> Organ:
    """Return an organ in LPS in its new size."""
    parts = resized_parts(organ.parts, scale, np.eye(4))
    return replace(organ, parts=parts, edge_mm=organ.edge_mm * scale.factors[0])


def _resized_soft_tissue(tissue: SoftTissue, scale: GradedScale) -> SoftTissue:
    """Return soft tissue in its new size, on a grid that still spans it."""
    everywhere, factor = np.eye(4), scale.factors[0]
    grid = np.diag([scale.factors[1]] * 3 + [1.0]) @ tissue.grid.affine
    return replace(
        tissue,
        body=resized_parts(tissue.body, scale, everywhere),
        organs=tuple(resized_organ(organ, scale) for organ in tissue.organs),
        back_y=tissue.back_y * factor,
        grid=Grid(grid, tissue.grid.shape),
    )


def _scaled_ellipsoid(ellipsoid: Ellipsoid, factor: float) -> Ellipsoid:
    center, radii = np.multiply(ellipsoid.center, factor), np.multiply(ellipsoid.radii, factor)
    return replace(ellipsoid, center=center, radii=radii)


def _scaled_fracture(surface: Fracture, factor: float) -> Fracture:
    return replace(
        surface,
        center_mm=surface.center_mm * factor,
        half_extent_mm=surface.half_extent_mm * factor,
        width_mm=surface.width_mm * factor,
        gap_radius_mm=surface.gap_radius_mm * factor,
        translation_mm=surface.translation_mm * factor,
        height_loss_mm=surface.height_loss_mm * factor,
    )
