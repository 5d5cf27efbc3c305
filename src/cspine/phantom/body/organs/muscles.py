"""Muscles and glands amid fat, each a rod or an ellipsoid: what the flesh of neck and shoulders looks like in CT."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import FAT, MUSCLE, Organ, neck_half_width_mm
from cspine.phantom.body.outline import in_skull
from cspine.phantom.body.plan import SIDE_SIGNS, BodyPlan, Side
from cspine.phantom.body.trunk import Trunk
from cspine.phantom.geometry.loft import inflated
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

_SKIN_MM: Final = 2.5
_LEAN_HU: Final = 62.0
"""How much denser than fat the space between muscles is in slim people: septa are thinner than a voxel there."""


def flesh(plan: BodyPlan, outline: list[Part], rng: np.random.Generator) -> Iterator[Organ]:
    """Yield the fat within the skin and the muscles and glands in it.

    Parameters
    ----------
    plan : BodyPlan
        The body.
    outline : list of Part
        Its skin.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    lean = float(np.clip(1.0 - 1.6 * plan.person.girth + rng.normal(0, 0.2), 0.0, 1.0))
    tone = MUSCLE - 0.25 * max(plan.person.age_years - 50.0, 0.0) + rng.normal(0, 5.0)
    yield Organ(tuple(inflated(part, -_SKIN_MM) for part in outline), FAT + _LEAN_HU * lean)
    bulk = float(np.clip(rng.normal(1.08, 0.1) + 0.1 * lean, 0.8, 1.3)) * plan.person.scale
    yield Organ(tuple(_neck(plan, bulk)), tone)
    yield Organ(tuple(in_skull(plan, list(_face(plan)))), tone)
    glands = [Part(Ellipsoid(plan.head.at_jaw(side * 25, -48, -42), (9.0, 13.0, 11.0))) for side in SIDES]
    yield Organ(tuple(in_skull(plan, glands)), 45.0)
    parotid = [Part(Ellipsoid(plan.head.at(side * 55, -16, -6), (9.0, 14.0, 20.0))) for side in SIDES]
    yield Organ(tuple(in_skull(plan, parotid)), rng.uniform(-50.0, 25.0))
    nodes = [
        Part(Ellipsoid(plan.layout.anterior_to(str(level), -2.0, side * rng.uniform(34, 44)), rng.uniform(2.5, 6.0, 3)))
        for side in SIDES
        for level in rng.choice(["C2", "C3", "C4", "C5", "C6"], 3)
    ]
    yield Organ(tuple(nodes), 40.0)
    infiltration_hu = rng.uniform(0.0, 0.5) * max(plan.person.age_years - 40.0, 0.0)
    yield Organ(tuple(_back(plan, bulk)), tone - infiltration_hu)
    for side in plan.shoulders:
        yield Organ(tuple(_shoulder(plan, side, bulk)), tone)
        yield Organ(tuple(_limbs(plan, side, bulk)), tone)


def _neck(plan: BodyPlan, bulk: float) -> Iterator[Part]:
    """Yield the muscles from the skull to chest and shoulder blades."""
    frames, front, wide = plan.layout.frames, plan.layout.front, neck_half_width_mm(plan.person) / 62.0
    skull, size = plan.head.frame(plan.frames["C0"]), bulk * wide**0.5

    def at(level: str, x: float, y: float, z: float = 0.0) -> Floats:
        return frames[level].to_lps([x * wide, y, z])

    def on_skull(x: float, y: float, z: float) -> Floats:
        return skull.to_lps(plan.head.at(x, y, z))

    fore, across = vector(0, 1, 0), vector(1, 0, 0)
    for side in SIDES:
        chest = front["T2"] + vector(side * 24.0, -38.0, 0.0)
        strap = [front["C4"] + vector(side * 12, -34, 0), front["T2"] + vector(side * 14, -36, 0)]
        paths = (
            ([on_skull(side * 8, -20, 12), at("C3", side * 9, -14), at("T2", side * 10, -15)], 6.5, 1.0, fore),
            ([on_skull(side * 53, 12, 4), at("C3", side * 46, 2), at("C6", side * 37, -18), chest], 7.5, 2.2, fore),
            ([at("C2", side * 25, 3), at("C5", side * 29, 0), at("T1", side * 43, -6)], 10.5, 1.0, fore),  # scaleni
            ([at("C1", side * 36, 8), at("C4", side * 39, 18), at("T1", side * 52, 34)], 10.5, 1.0, fore),  # levator
            ([on_skull(side * 14, 52, 14), at("C3", side * 15, 33), at("T3", side * 16, 34)], 14.0, 1.0, fore),
            (
                [on_skull(side * 38, 44, 12), at("C3", side * 32, 33), at("T1", side * 21, 46)],
                10.0,
                1.7,
                fore,
            ),  # splenius
            ([on_skull(side * 18, 34, 8), at("C2", side * 15, 26)], 13.5, 1.0, fore),  # below the occiput
            ([on_skull(side * 16, 70, 30), at("C4", side * 18, 46)], 5.5, 2.4, across),  # trapezius
            (strap, 5.0, 1.8, across),
        )
        for path, radius, aspect_ratio, axis in paths:
            yield from rods(path, radius * size, aspect_ratio, axis)
    larynx = [front["C3"] + vector(0, -15, 0), front["C5"] + vector(0, -20, 0), front["T2"] + vector(0, -20, 0)]
    for ends, radii in zip(pairwise(larynx), ((17.0, 19.0), (17.0, 12.0)), strict=True):
        yield Part(Rod(*ends, radii), 3.0)


def _face(plan: BodyPlan) -> Iterator[Part]:
    """Yield the muscles of chewing, tongue and throat, in the frame of the skull."""
    at, jaw = plan.head.at, plan.head.at_jaw
    for side in SIDES:
        yield Part(Rod(at(side * 58, -46, 14), jaw(side * 53, -40, -30), (7.0, 8.0), 2.0, (0, 1, 0)), 2.0)  # masseter
        yield Part(Rod(at(side * 62, -40, 24), at(side * 68, -24, 70), (8.0, 4.0), 3.0, (0, 1, 0)), 2.0)  # temporal
        yield Part(Rod(at(side * 30, -40, 14), jaw(side * 40, -36, -26), (11.0, 8.0), 1.6, (0, 1, 0)), 2.0)
        yield Part(Rod(at(side * 16, -28, 12), jaw(side * 20, -34, -34), (7.0, 9.0), 1.5, (0, 1, 0)), 3.0)  # throat
    yield Part(Ellipsoid(jaw(0, -66, -28), plan.head.radii(23, 30, 19)), 6.0)  # tongue
    yield Part(Rod(jaw(0, -84, -50), jaw(0, -42, -44), (9.0, 12.0), 1.8, (1, 0, 0)), 4.0)
    yield Part(Ellipsoid(at(0, -98, -14), plan.head.radii(26, 9, 20)), 4.0)  # lips


def _back(plan: BodyPlan, bulk: float) -> Iterator[Part]:
    """Yield the muscles along the spine below the neck."""
    frames = plan.layout.frames
    stations = {
        "T2": (18.0, 38.0, 13.0),
        "T5": (22.0, 40.0, 15.0),
        "T10": (26.0, 40.0, 19.0),
        "L3": (33.0, 46.0, 25.0),
        "S1": (24.0, 44.0, 18.0),
    }
    for side in SIDES:
        points = [(frames[level].to_lps([side * x, y, 0]), radius * bulk) for level, (x, y, radius) in stations.items()]
        for (start, thin), (end, thick) in pairwise(points):
            yield Part(Rod(start, end, (thin, thick), 1.25, (1, 0, 0)), 4.0)


def _shoulder(plan: BodyPlan, side: Side, bulk: float) -> Iterator[Part]:
    """Yield the muscles between chest, shoulder blade and upper arm."""
    sign, joint, frames = SIDE_SIGNS[side], plan.shoulders[side], plan.layout.frames
    arm = plan.elbows[side] - joint
    trunk, half = Trunk(plan), plan.chest_half_width_mm

    def at(level: str, x: float, y: float) -> Floats:
        return frames[level].to_lps([sign * x, y, 0])

    yield Part(Ellipsoid(joint + vector(sign * 9, -2, -8), (31.0 * bulk, 35.0 * bulk, 44.0 * bulk)), 6.0)  # deltoid
    top = joint + vector(-sign * 8, 10, 20)
    yield from rods([at("C5", 26, 46), at("C7", 48, 42), top], 7.0 * bulk, 2.0, (0, 1, 0))  # trapezius, upper part
    yield from rods([at("T4", 16, 52), joint + vector(-sign * 40, 40, 0)], 4.5 * bulk, 4.0, (0, 0, 1))  # middle part
    yield Part(
        Rod(at("T1", 62, 30), joint + vector(-sign * 6, 2, 16), (13.0 * bulk, 10.0 * bulk)), 4.0
    )  # above the spine
    for forward, behind in ((34.0, 14.0), (62.0, 26.0)):  # before and behind the shoulder blade
        start = at("T5", 0.58 * half, forward)
        yield Part(Rod(start, joint + vector(-sign * 14, behind - 14, -6), (12.0 * bulk, 12.0 * bulk), 1.7), 4.0)
    z, x, front, _, width = trunk.cage("T6")
    raised = plan.is_raised(side)
    insertion, flat = (vector(-sign * 16, -6, -18), 1.5) if raised else (0.2 * arm + vector(-sign * 14, -16, 0), 3.0)
    for low in (60.0, 15.0):  # pectoral muscle
        breast = vector(x + sign * 0.35 * width, trunk.sternum_y(z + low), z + low)
        yield Part(Rod(breast, joint + insertion, (5.0 * bulk, 8.0 * bulk), flat), 6.0)
    flank = vector(x + sign * (width - 3.0), 0.4 * front + 0.6 * float(frames["T8"].center_mm[1]) + 40.0, z - 40.0)
    yield Part(
        Rod(flank, joint + 0.2 * arm + vector(-sign * 16, 12, 0), (6.0 * bulk, 11.0 * bulk), 2.6), 6.0
    )  # latissimus


def _limbs(plan: BodyPlan, side: Side, bulk: float) -> Iterator[Part]:
    """Yield the muscles of upper arm, forearm, buttock and thigh."""
    joint, elbow, wrist, hip = (places[side] for places in (plan.shoulders, plan.elbows, plan.wrists, plan.hips))
    sign, scale, start = SIDE_SIGNS[side], plan.person.scale, 0.15
    for offset, radius in ((vector(0, -13, 0), 19.0), (vector(0, 14, 0), 20.0)):
        upper, lower = joint + start * (elbow - joint) + offset, elbow + 0.6 * offset
        yield Part(Rod(upper, lower, (radius * bulk, 0.75 * radius * bulk)), 3.0)
    yield Part(Rod(elbow, wrist, (29.0 * bulk, 17.0 * bulk), 1.15, (1, 0, 0)), 4.0)
    knee = hip + vector(sign * 10.0, -10.0, -350.0) * scale
    thigh = min(64.0 * bulk, (67.0 + 26.0 * plan.person.girth) * scale)
    yield Part(Rod(hip + vector(0, -2, -30), knee, (thigh, 0.72 * thigh)), 8.0)
    yield Part(Ellipsoid(hip + vector(sign * 2, 58, 0), (54.0 * bulk, 28.0 * bulk, 62.0 * bulk)), 8.0)  # buttock
    yield Part(Ellipsoid(hip + vector(sign * 44, 4, 32), (19.0 * bulk, 40.0 * bulk, 54.0 * bulk)), 8.0)
