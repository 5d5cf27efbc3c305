"""The surface of a whole body: head, neck, trunk and arms, from slim to heavy."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import neck_half_width_mm
from cspine.phantom.body.full_head import cranial_cavity
from cspine.phantom.body.plan import SIDE_SIGNS, BodyPlan, Side
from cspine.phantom.body.trunk import Trunk
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

_SCALP_MM: Final = 13.0
"""Bone and scalp over the brain."""

_HAND_MM: Final = 150.0
"""Length of the hand from the wrist, with slightly bent fingers."""


def body_outline(plan: BodyPlan) -> list[Part]:
    """Return the parts of a body whose surface is the skin, in LPS."""
    parts = outline_without_limbs(plan)
    for side in plan.shoulders:
        parts += _arm(plan, side)
        hip = plan.hips[side]
        knee = hip + vector(SIDE_SIGNS[side] * 10.0, -10.0, -350.0) * plan.person.scale
        radius = (74.0 + 26.0 * plan.person.girth) * plan.person.scale
        parts.append(Part(Rod(hip, knee, (radius, 0.75 * radius)), 25.0))
    return parts


def outline_without_limbs(plan: BodyPlan) -> list[Part]:
    """Return the parts whose surface is the skin of head, neck, shoulders and trunk, in LPS."""
    shoulders = [part for side in plan.shoulders for part in _shoulder(plan, side)]
    return [Part(Trunk(plan).skin, 20.0), *_breasts(plan), *_neck(plan), *_head(plan), *shoulders]


def in_skull(plan: BodyPlan, parts: list[Part]) -> Iterator[Part]:
    """Yield ellipsoids and rods of the head, given in the frame of the skull, in LPS."""
    frame = plan.head.frame(plan.frames["C0"])
    for part in parts:
        solid = part.solid
        if isinstance(solid, Ellipsoid):
            axes = frame.axes if solid.axes is None else frame.axes @ solid.axes
            moved: Ellipsoid | Rod = Ellipsoid(frame.to_lps(solid.center), solid.radii, axes)
        elif isinstance(solid, Rod):
            ends = frame.to_lps(solid.start), frame.to_lps(solid.end)
            moved = Rod(*ends, solid.radius, solid.aspect_ratio, frame.axes @ solid.major_axis)
        else:
            raise TypeError(f"{type(solid).__name__} cannot be moved; describe it as an ellipsoid or a rod.")
        yield Part(moved, part.blend_mm, part.is_cutout)


def _head(plan: BodyPlan) -> Iterator[Part]:
    shape, full = plan.head, 3.0 + 6.0 * plan.person.girth
    at, jaw = shape.at, shape.at_jaw
    yield from in_skull(plan, [Part(part.solid, 18.0) for part in cranial_cavity(shape, -_SCALP_MM)])
    parts = [
        Part(Ellipsoid(at(0, -62, 28), shape.radii(64, 38, 40)), 14.0),  # middle of the face
        Part(Ellipsoid(at(0, -80, 0), shape.radii(40, 26, 30)), 14.0),  # lips
        Part(Rod(at(0, -92, 44), at(0, -108, 20), (10.0, 14.0)), 8.0),  # nose
        Part(Ellipsoid(jaw(0, -92, -50), shape.radii(26, 17, 22)), 16.0),  # chin
        Part(Rod(jaw(0, -70, -40), at(0, -26, -22), (30.0 + full, 44.0), 1.1, (1, 0, 0)), 18.0),  # floor of the mouth
    ]
    for side in SIDES:
        parts += [
            Part(Rod(jaw(side * 44, -34, -30), jaw(side * 28, -68, -40), (14.0 + full, 15.0 + full), 1.6), 16.0),
            Part(
                Rod(at(side * 52, -14, 20), jaw(side * 44, -30, -30), (16.0 + full, 14.0 + full), 1.6, (0, 1, 0)), 18.0
            ),
            Part(Rod(at(side * 78, 2, 38), at(side * 76, -4, 4), (2.5, 2.5), 6.0, (0, 1, 0)), 2.0),  # ear
        ]
    yield from in_skull(plan, parts)


def _neck(plan: BodyPlan) -> Iterator[Part]:
    wide, front, canal = neck_half_width_mm(plan.person), plan.layout.front, plan.layout.canal
    low, middle, high = (front[level] + vector(0, 2.0, 0) for level in ("T1", "C5", "C2"))
    yield Part(Rod(low + vector(0, 6, -25), middle, (wide * 1.2, wide), 1.06, (0, 1, 0)), 10.0)
    yield Part(Rod(middle, high + vector(0, -4, 12), (wide, wide * 0.98), 1.06, (0, 1, 0)), 15.0)
    nape = (
        (canal["C7"] + vector(0, 14, -10), 0.8 * wide),
        (canal["C4"] + vector(0, 10, 0), 0.66 * wide),
        (plan.head.frame(plan.frames["C0"]).to_lps(plan.head.at(0, 36, 14)), 50.0 * plan.head.width),
    )
    for (start, thick), (end, thin) in pairwise(nape):
        yield Part(Rod(start, end, (thick, thin), 1.1, (1, 0, 0)), 20.0)


def _shoulder(plan: BodyPlan, side: Side) -> Iterator[Part]:
    """Yield trapezius, deltoid and pectoral muscles of a side."""
    scale, girth, sign = plan.person.scale, plan.person.girth, SIDE_SIGNS[side]
    joint, canal = plan.shoulders[side], plan.layout.canal
    thick = (0.9 + 0.3 * girth) * scale
    neck = canal["C7"] + vector(sign * 30.0, 5.0, -6.0)
    yield Part(Rod(neck, joint + vector(-sign * 10, 4, 10), (34.0 * thick, 28.0 * thick), 1.2, (0, 1, 0)), 25.0)
    yield Part(Ellipsoid(joint + vector(sign * 6, 0, -6), (44.0 * thick, 46.0 * thick, 54.0 * thick)), 20.0)
    for level, forward in (("T4", 50.0), ("T5", -10.0)):
        start = canal[level] + vector(sign * plan.chest_half_width_mm * 0.62, -forward, 0.0)
        yield Part(Rod(start, joint + vector(-sign * 12, 0, -10), (42.0 * thick, 36.0 * thick)), 25.0)


def _arm(plan: BodyPlan, side: Side) -> Iterator[Part]:
    joint, elbow, wrist = plan.shoulders[side], plan.elbows[side], plan.wrists[side]
    thick = (0.85 + 0.4 * plan.person.girth) * plan.person.scale
    yield Part(Rod(joint, elbow, (46.0 * thick, 36.0 * thick), 1.08, (0, 1, 0)), 15.0)
    yield Part(Rod(elbow, wrist, (37.0 * thick, 23.0 * thick), 1.2, (1, 0, 0)), 12.0)
    palm, tips = hand_axis(plan, side)
    scale = plan.person.scale
    yield Part(Rod(wrist, palm, (15.0 * scale, 13.0 * scale), 2.6, palm_width(plan, side)), 10.0)
    yield Part(Rod(palm, tips, (10.0 * scale, 7.0 * scale), 4.0, palm_width(plan, side)), 8.0)
    yield from rods(thumb(plan, side), 11.0 * scale, blend_mm=6.0)


def hand_axis(plan: BodyPlan, side: Side) -> tuple[Floats, Floats]:
    """Return the middle of the palm and the tips of the fingers, (3,) each."""
    along = plan.wrists[side] - plan.elbows[side]
    along = along / np.linalg.norm(along) * _HAND_MM * plan.person.scale
    return plan.wrists[side] + 0.4 * along, plan.wrists[side] + along


def thumb(plan: BodyPlan, side: Side) -> list[Floats]:
    """Return the axis of the thumb from the wrist to its tip, as points, each (3,)."""
    wrist, (_, tips), across = plan.wrists[side], hand_axis(plan, side), palm_width(plan, side) * plan.person.scale
    along = tips - wrist
    return [wrist + forth * along + out * across for forth, out in ((0.12, 22.0), (0.36, 42.0), (0.6, 48.0))]


def palm_width(plan: BodyPlan, side: Side) -> Floats:
    """Return the direction across the palm: fore and aft beside the body, else along the body."""
    along = plan.wrists[side] - plan.elbows[side]
    return vector(0, 1, 0) if abs(along[2]) > abs(along[0]) else vector(0, 0, 1)


def _breasts(plan: BodyPlan) -> Iterator[Part]:
    trunk, person = Trunk(plan), plan.person
    size = (0.55 + 0.7 * person.girth) * person.scale if person.is_female else 0.6 * person.girth * person.scale
    if size < 0.3:
        return
    z, x, front, _, width = trunk.cage("T6")
    for side in SIDES:
        center = vector(x + side * width * 0.55, front + 6.0, z - 10.0)
        yield Part(Ellipsoid(center, (58.0 * size, 34.0 * size, 58.0 * size)), 20.0)
