"""Bones of the shoulder girdle, the upper arm, the pelvis and the hips, coarse, in LPS."""

from collections.abc import Iterator

import numpy as np

from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.body.plan import SIDE_SIGNS, BodyPlan, Side
from cspine.phantom.body.skeleton.rib_cage import CagePlan
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import Ellipsoid, Rod

_MARROW_HU = 40.0


def shoulder_girdle(plan: BodyPlan, cage: CagePlan) -> Iterator[HardTissue]:
    """Yield clavicles, scapulae and humeri."""
    for side, sign in SIDE_SIGNS.items():
        yield HardTissue(_clavicle(plan, cage, side, sign), 1.8, plan.person.bone.cortex_hu, 250.0)
        yield HardTissue(_scapula(plan, side, sign), 1.2, plan.person.bone.cortex_hu - 150.0, 220.0)
        yield HardTissue(_humerus(plan, side, sign), 3.6, plan.person.bone.cortex_hu, _MARROW_HU)
        head = Part(Ellipsoid(plan.shoulders[side], (23.0, 23.0, 23.0)), 2.0)
        yield HardTissue((head,), 1.2, plan.person.bone.cortex_hu - 200.0, 0.5 * plan.person.bone.trabecular_hu)


def _clavicle(plan: BodyPlan, cage: CagePlan, side: Side, sign: float) -> tuple[Part, ...]:
    """Return an S-shaped rod from the manubrium to the acromion."""
    medial = cage.notch + vector(sign * 24.0, 6.0, 3.0)
    lateral = plan.shoulders[side] + vector(-sign * 12.0, 2.0, 26.0)
    way = lateral - medial
    path = [
        medial,
        medial + 0.33 * way + vector(0, -8.0, 4.0),
        medial + 0.7 * way + vector(0, 8.0, 3.0),
        lateral,
    ]
    radii = ((7.5, 5.2), (5.2, 5.2), (5.2, 5.6))
    return tuple(Part(Rod(path[n], path[n + 1], radius, 1.25, (0, 1, 0)), 2.0) for n, radius in enumerate(radii))


def _scapula(plan: BodyPlan, side: Side, sign: float) -> tuple[Part, ...]:
    """Return blade, spine, acromion, glenoid and coracoid of a scapula; it turns outward with a raised arm."""
    shoulder, frames, raised = plan.shoulders[side], plan.frames, plan.is_raised(side)
    glenoid = shoulder + vector(-sign * 27.0, 6.0, -2.0)
    out = 30.0 if raised else 0.0
    half = plan.chest_half_width_mm
    upper = frames["T2"].center_mm * (0.5, 1, 1) + vector(sign * 0.50 * half, 46.0, 4.0)
    corner = frames["T7"].center_mm * (0.5, 1, 1) + vector(sign * (0.60 * half + out), 52.0 - out, 8.0 + 0.6 * out)
    neck, root = glenoid + vector(-sign * 10.0, 5.0, 0.0), upper + 0.25 * (corner - upper)
    acromion = shoulder + vector(sign * 8.0, 12.0, 32.0)
    across = glenoid - 0.5 * (upper + corner)
    across = across / np.linalg.norm(across)
    blade_top, blade_low = 0.5 * (upper + neck), 0.45 * (root + corner) + 0.1 * neck
    return (
        Part(Rod(blade_top + vector(0, 1.0, 2.0), blade_low, (2.2, 2.0), 13.0, across), 2.0),
        Part(Rod(blade_low, corner, (2.0, 2.4), 6.0, across), 3.0),
        Part(Rod(upper, corner, (3.2, 3.8), 1.2), 3.0),
        Part(Rod(neck, corner, (4.6, 4.2), 1.2), 3.0),
        Part(Rod(upper, neck, (2.4, 4.0), 1.2), 3.0),
        Part(Rod(root, acromion - vector(sign * 8.0, -8.0, 6.0), (2.6, 4.4), 2.4, (0, 1, 0)), 3.0),
        Part(
            Rod(acromion - vector(sign * 8.0, -8.0, 6.0), acromion - vector(0, 22.0, 2.0), (4.5, 4.5), 1.8, (1, 0, 0)),
            3.0,
        ),
        Part(Rod(neck, glenoid, (8.0, 6.0), 2.0, (0, 0, 1)), 4.0),
        Part(Rod(neck + vector(0, -4.0, 14.0), shoulder + vector(-sign * 18.0, -28.0, 12.0), (6.0, 4.6)), 3.0),
    )


def _humerus(plan: BodyPlan, side: Side, sign: float) -> tuple[Part, ...]:
    """Return the shaft of a humerus with its condyles."""
    shoulder, elbow = plan.shoulders[side], plan.elbows[side]
    way = elbow - shoulder
    across = np.cross(way / np.linalg.norm(way), [0.0, 1.0, 0.0])
    neck, low = shoulder + 0.14 * way + vector(sign * 4.0, 0, 0), shoulder + 0.84 * way
    return (
        Part(Rod(shoulder + vector(sign * 6.0, 0, 0), neck, (18.0, 11.5)), 3.0),
        Part(Rod(neck, low, (11.0, 9.5)), 4.0),
        Part(Rod(low, elbow, (9.0, 8.5), 2.7, across), 4.0),
    )


def pelvis(plan: BodyPlan) -> Iterator[HardTissue]:
    """Yield the hip bones and the proximal femora."""
    sacrum, bone = plan.frames["S1"].center_mm, plan.person.bone
    for side, sign in SIDE_SIGNS.items():
        hip, scale = plan.hips[side], plan.person.scale
        joint = sacrum + vector(sign * 54.0 * scale, 22.0, -14.0)
        behind = sacrum + vector(sign * 46.0 * scale, 52.0, 6.0)
        top = sacrum + vector(sign * 122.0 * scale, -14.0, 44.0)
        front = sacrum + vector(sign * 124.0 * scale, -72.0, -14.0)
        low = hip + vector(sign * 4.0, -18.0, 32.0)
        middle = (joint + top + front + low) / 4 + vector(sign * 10.0, 0, 0)
        across, along = top - low, front - joint
        across = across / np.linalg.norm(across)
        along = along - (along @ across) * across
        along = along / np.linalg.norm(along)
        axes = np.column_stack([along, across, np.cross(along, across)])
        wing = (
            Part(Ellipsoid(middle - vector(sign * 4.0, 0, 0), (62.0 * scale, 58.0 * scale, 3.6), axes), 3.0),
            Part(Rod(joint, middle, (7.0, 3.0), 3.5, (0, 0.3, 1))),
            Part(Rod(middle, top - vector(sign * 2, 0, 8.0), (2.8, 3.0), 12.0, (0, 1, 0)), 5.0),
            Part(Rod(low, middle, (7.0, 3.0), 4.0, (0, 1, 0)), 5.0),
            Part(Rod(middle, front, (3.0, 4.0), 6.0, (0, 0, 1)), 5.0),
            *rods([behind, 0.5 * (behind + top) + vector(sign * 8.0, 6.0, 14.0), top, front], 5.5, 1.3, blend_mm=4.0),
            Part(Rod(behind, joint, (6.0, 9.0), 1.5)),
            Part(Rod(joint, low, (9.0, 9.0), 1.6, (0, 1, 0)), 5.0),
        )
        pubis = vector(sign * 14.0, float(hip[1]) - 56.0, float(hip[2]) - 24.0)
        seat = hip + vector(-sign * 26.0, 34.0, -62.0)
        ring = (
            Part(Rod(low, hip + vector(sign * 6.0, 6.0, 0.0), (16.0, 30.0)), 5.0),
            Part(Rod(hip + vector(-sign * 20.0, -24.0, 4.0), pubis, (9.0, 8.0), 1.2), 5.0),
            Part(Rod(pubis, seat + vector(0, -14.0, 6.0), (7.0, 6.5), 1.3), 5.0),
            Part(Rod(hip + vector(-sign * 4.0, 22.0, -14.0), seat, (13.0, 13.0), 1.2), 5.0),
            Part(Ellipsoid(hip, (26.0, 26.0, 26.0)), 0.5, is_cutout=True),
        )
        yield HardTissue((*wing, *ring), 1.6, bone.cortex_hu - 200.0, 0.45 * bone.trabecular_hu)
        neck, shaft = hip + vector(sign * 42.0, 8.0, -22.0), hip + vector(sign * 46.0, 4.0, -60.0)
        yield HardTissue(
            (Part(Ellipsoid(hip, (23.0, 23.0, 23.0))), Part(Rod(hip, neck, (13.0, 16.0)), 4.0)),
            1.2,
            bone.cortex_hu - 150.0,
            0.6 * bone.trabecular_hu,
        )
        yield HardTissue(
            (
                Part(Rod(neck, shaft, (17.0, 16.0)), 4.0),
                Part(Rod(shaft, hip + vector(sign * 30.0, 0.0, -400.0), (15.0, 13.5)), 4.0),
            ),
            5.0,
            bone.cortex_hu,
            _MARROW_HU,
        )
