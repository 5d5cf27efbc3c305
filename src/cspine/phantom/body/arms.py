"""Bones of the forearm and the hand, coarse, in LPS; they come into scans where the hands lie beside neck or belly."""

from collections.abc import Iterator

import numpy as np

from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.body.outline import hand_axis, palm_width, thumb
from cspine.phantom.body.plan import BodyPlan, Side
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.solids import Ellipsoid, Rod


def arm_bones(plan: BodyPlan) -> Iterator[HardTissue]:
    """Yield radius and ulna, carpus, metacarpal bones and phalanges of both sides."""
    cortex_hu = plan.person.bone.cortex_hu
    for side in plan.wrists:
        yield HardTissue(_forearm(plan, side), 2.4, cortex_hu, 60.0)
        yield HardTissue(_hand(plan, side), 1.2, cortex_hu - 250.0, 300.0)


def _forearm(plan: BodyPlan, side: Side) -> tuple[Part, ...]:
    elbow, wrist, scale = plan.elbows[side], plan.wrists[side], plan.person.scale
    across = palm_width(plan, side) * scale
    ulna_end, radius_end = wrist - 16.0 * across, wrist + 10.0 * across
    return (
        Part(Rod(elbow + 4.0 * across, wrist - 17.0 * across, (8.5 * scale, 5.0 * scale)), 3.0),
        Part(Rod(elbow + 16.0 * across, radius_end, (6.5 * scale, 6.5 * scale)), 3.0),
        Part(Rod(radius_end + 0.12 * (elbow - wrist), radius_end, (7.0 * scale, 10.0 * scale), 1.5, across), 4.0),
        Part(Ellipsoid(ulna_end, (7.0 * scale,) * 3), 3.0),
        Part(Ellipsoid(elbow - 6.0 * across, (13.0 * scale,) * 3), 4.0),  # olecranon
    )


def _hand(plan: BodyPlan, side: Side) -> tuple[Part, ...]:
    wrist, (_, tips), scale = plan.wrists[side], hand_axis(plan, side), plan.person.scale
    across, along = palm_width(plan, side) * scale, tips - wrist
    parts = [
        Part(Ellipsoid(wrist + (0.06 + 0.09 * row) * along + x * across, (8.0 * scale,) * 3), 1.0)
        for row in (0, 1)
        for x in (-15.0, -3.0, 9.0)
    ]
    for finger in range(4):
        x = 22.0 - 15.0 * finger
        path = [wrist + at * along + x * (0.7 + 0.5 * at) * across for at in (0.22, 0.5)]
        path += [path[-1] + along * np.float64(step) for step in (0.24, 0.4)]
        parts += rods(path, 4.6 * scale, blend_mm=1.0)
    return (*parts, *rods(thumb(plan, side), 5.0 * scale, blend_mm=1.0))
