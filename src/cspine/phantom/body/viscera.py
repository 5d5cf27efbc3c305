"""What lies within a body: walls, lungs, heart and the organs of the belly, after which head and neck follow."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.phantom.anatomy.organs import FAT, MUSCLE, Organ
from cspine.phantom.body.organs.belly import belly
from cspine.phantom.body.organs.head_and_neck import canal, head_and_neck
from cspine.phantom.body.organs.muscles import flesh
from cspine.phantom.body.organs.vessels import Contrast, draw_contrast, vessels
from cspine.phantom.body.outline import body_outline
from cspine.phantom.body.plan import BodyPlan
from cspine.phantom.body.trunk import Trunk
from cspine.phantom.geometry.loft import loft
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

_CAVITY_FAT_HU: Final = -100.0


def viscera(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield all soft tissue within a body, in LPS, in the order in which it is composited over muscle and fat.

    Parameters
    ----------
    plan : BodyPlan
        The body.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    trunk, contrast = Trunk(plan), draw_contrast(rng)
    yield from flesh(plan, body_outline(plan), rng)
    yield from _walls(plan, trunk)
    yield from _lungs(plan, trunk, rng)
    yield from _mediastinum(plan, trunk, contrast)
    yield from belly(plan, trunk, contrast, rng)
    yield from head_and_neck(plan, contrast, rng)
    yield from vessels(plan, contrast, rng)
    yield from canal(plan)


def _walls(plan: BodyPlan, trunk: Trunk) -> Iterator[Organ]:
    """Yield the walls of chest and belly, and the fat about the organs within."""
    cage = [trunk.cage(level) for level in ("T2", "T3", "T4", "T6", "T8", "T10", "T12")]
    chest = [(z, x, front - 1.0, back + 2.0, width + 3.0) for z, x, front, back, width in cage]
    yield Organ((Part(loft(chest, 0.35), 0.0),), MUSCLE - 25.0)
    inside = [(z, x, front + 9.0, back - 8.0, width - 8.0) for z, x, front, back, width in cage]
    yield Organ((Part(loft(inside, 0.35), 0.0),), _CAVITY_FAT_HU)
    yield Organ((Part(trunk.wall, 0.0),), MUSCLE)
    yield Organ((Part(trunk.cavity, 0.0),), _CAVITY_FAT_HU)
    spine = plan.layout.front
    for side in SIDES:
        path = [spine[level] + vector(side * x, 14.0, 0) for level, x in (("L1", 28), ("L3", 38), ("S1", 52))]
        radii = pairwise((12.0, 19.0, 20.0))
        psoas = [Part(Rod(*ends, radius), 4.0) for ends, radius in zip(pairwise(path), radii, strict=True)]
        yield Organ(tuple(psoas), MUSCLE)


def _lungs(plan: BodyPlan, trunk: Trunk, rng: np.random.Generator) -> Iterator[Organ]:
    hu, depth_of_breath = rng.uniform(-890.0, -760.0), rng.uniform(-25.0, 12.0)
    for side in SIDES:
        stations = []
        for level in ("T2", "T3", "T4", "T6", "T8", "T10"):
            z, x, front, back, width = trunk.cage(level)
            inner = {"T2": 14.0, "T3": 14.0, "T4": 17.0}.get(level, 20.0) * plan.person.scale
            half = max((width - 9.0 - inner) / 2, 6.0)
            stations.append((z, x + side * (inner + half), front + 12.0, back - 9.0, half))
        z, x, front, back, half = stations[-1]
        stations.append((z - 70.0, x, 0.5 * (front + back) + 15.0, back, half))  # behind the diaphragm
        z, x, front, back, half = stations[0]
        middle = 0.5 * (front + back)
        stations.append((z + 14.0, x, middle - 14.0, middle + 14.0, max(0.6 * half, 10.0)))
        stations.append((z + 24.0, x, middle - 4.0, middle + 4.0, 4.0))  # apex
        yield Organ((Part(loft(stations, 0.35), 0.0),), hu)
        yield Organ(tuple(_bronchovascular_tree(plan, side, rng)), 20.0, max_background_hu=hu + 60.0)
        z, x, front, back, width = trunk.cage("T10")
        dome = vector(x + side * width * 0.5, 0.5 * (front + back) - 8.0, z - 32.0 + depth_of_breath + 6.0 * (side < 0))
        half_depth = 0.5 * (back - front)
        yield Organ((Part(Ellipsoid(dome, (0.46 * width, 0.9 * half_depth, 54.0))),), 50.0)


def _bronchovascular_tree(plan: BodyPlan, side: float, rng: np.random.Generator) -> Iterator[Part]:
    """Yield vessels from the hilum of a lung outward, which tell it from air."""
    hilum = plan.layout.anterior_to("T6", 12.0, side * 30.0)
    half = plan.chest_half_width_mm
    yield Part(Ellipsoid(hilum, (13.0, 13.0, 20.0)), 3.0)
    for turn in np.linspace(0, 2 * np.pi, 9)[:-1] + rng.uniform(0, 0.7):
        way = vector(side * half * rng.uniform(0.2, 0.6), 50.0 * np.cos(turn), 75.0 * np.sin(turn) - 10.0)
        fork = hilum + way * 0.5 + rng.normal(0, 4.0, 3)
        yield Part(Rod(hilum, fork, (5.0, 3.2)), 2.0)
        for _ in range(2):
            yield Part(Rod(fork, hilum + way + rng.normal(0, 14.0, 3), (3.0, 1.2)), 1.0)


def _mediastinum(plan: BodyPlan, trunk: Trunk, contrast: Contrast) -> Iterator[Organ]:
    """Yield the tissue about the spine, the fat in front of it, and the heart."""
    front, scale = plan.layout.front, plan.person.scale
    spine = [front[level] + vector(0, 10.0, 0) for level in ("T1", "T4", "T7", "T10", "T12")]
    yield Organ(rods(spine, 17.0 * scale, 1.35, (1, 0, 0), blend_mm=4.0), MUSCLE)
    z, x, chest, _, _ = trunk.cage("T4")
    anterior = [vector(x, chest + 26.0, z), vector(x, trunk.cage("T8")[2] + 22.0, trunk.cage("T8")[0])]
    yield Organ(rods(anterior, 15.0 * scale, 1.3, (1, 0, 0)), -70.0)
    z, x, chest, _, _ = trunk.cage("T8")
    middle = float(front["T8"][1])
    center = vector(x + 18.0, 0.45 * chest + 0.55 * middle + 4.0, z + 6.0)
    half_depth = 0.5 * (middle - chest) - 8.0
    size = (62.0 * scale, min(half_depth, 52.0 * scale), 52.0 * scale)
    yield Organ((Part(Ellipsoid(center, tuple(r + 5.0 for r in size))),), FAT)
    yield Organ((Part(Ellipsoid(center, size)),), 52.0)
    for offset in (vector(18, -6, -6), vector(-24, -4, 0), vector(0, 18, 18)):
        yield Organ(
            (Part(Ellipsoid(center + offset * scale, (24.0 * scale, 17.0 * scale, 26.0 * scale))),), contrast.heart_hu
        )
