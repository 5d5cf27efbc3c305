"""Organs of the belly."""

from collections.abc import Iterator

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import AIR, FAT, Organ
from cspine.phantom.body.organs.vessels import Contrast
from cspine.phantom.body.plan import BodyPlan
from cspine.phantom.body.trunk import Trunk
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod


def belly(plan: BodyPlan, trunk: Trunk, contrast: Contrast, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield liver, spleen, stomach, kidneys, bowel and bladder.

    Parameters
    ----------
    plan, trunk, contrast
        Body, measures of its trunk and density of blood.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    scale, front = plan.person.scale, plan.layout.front
    z, x, chest, back, width = trunk.cage("T12")
    wide, deep = width - 12.0, back - chest - 18.0

    def at(across: float, behind: float, up: float) -> Floats:
        """Return a point by its fraction of the half width and of the depth from the front."""
        return vector(x + across * wide, chest + 9.0 + behind * deep, z + up * scale)

    liver = rng.uniform(48.0, 64.0) + contrast.organ_hu * 0.6
    yield Organ(
        (
            Part(Ellipsoid(at(-0.5, 0.45, 25.0), (0.46 * wide, 0.42 * deep, 80.0 * scale)), 10.0),
            Part(Ellipsoid(at(0.05, 0.25, 40.0), (0.5 * wide, 0.22 * deep, 36.0 * scale)), 14.0),
        ),
        liver,
    )
    yield Organ(
        (Part(Ellipsoid(at(0.68, 0.72, 30.0), (0.2 * wide, 0.24 * deep, 52.0 * scale))),), 48.0 + contrast.organ_hu
    )
    stomach = at(0.38, 0.35, 28.0)
    yield Organ(
        (Part(Ellipsoid(stomach, (0.26 * wide, 0.24 * deep, 50.0 * scale))),), float(rng.choice([15.0, 35.0, 250.0]))
    )
    gas = stomach + vector(0, -0.12 * deep, 10.0)
    yield Organ((Part(Ellipsoid(gas, (0.2 * wide, 0.1 * deep, 30.0 * scale))),), AIR)
    for side in SIDES:
        kidney = front["L1"] + vector(side * 62.0 * scale, 24.0, -14.0 - 10.0 * (side < 0))
        yield Organ((Part(Ellipsoid(kidney, (36.0 * scale, 34.0 * scale, 64.0 * scale))),), FAT)
        yield Organ(
            (Part(Ellipsoid(kidney, (25.0 * scale, 24.0 * scale, 54.0 * scale))),), 34.0 + 1.6 * contrast.organ_hu
        )
    yield from _bowel(plan, trunk, rng)


def _bowel(plan: BodyPlan, trunk: Trunk, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield loops of bowel with fluid, gas or oral contrast medium."""
    z_high, x, front, _, width = trunk.belly("L2")
    z_low, low_front = float(plan.hips["right"][2]) + 20.0, trunk.belly("L4")[2]
    spine = float(plan.layout.front["L3"][1])
    wall = trunk.fat_mm + 18.0
    wide, top = width - wall - 10.0, z_high + 10.0
    groups: dict[float, list[Part]] = {}
    is_opaque = rng.random() < 0.2
    for _ in range(26):
        y_front = (front + low_front) / 2 + wall
        center = vector(
            x + rng.uniform(-0.9, 0.9) * wide,
            rng.uniform(y_front + 14, max(spine - 22, y_front + 15)),
            rng.uniform(z_low, top),
        )
        along = rng.normal(0, 1, 3) * (1.0, 0.4, 0.8)
        along *= rng.uniform(20, 45) / max(float(np.linalg.norm(along)), 1e-3)
        radius = rng.uniform(9.0, 15.0)
        hu = 300.0 if is_opaque and rng.random() < 0.5 else 32.0
        groups.setdefault(hu, []).append(Part(Rod(center - along, center + along, (radius, radius)), 1.0))
        if rng.random() < 0.3:
            gas = center + vector(0, -0.35 * radius, 0)
            groups.setdefault(AIR, []).append(
                Part(Rod(gas - 0.8 * along, gas + 0.8 * along, (radius * 0.55,) * 2), 1.0)
            )
    for side in SIDES:  # colon
        path = [vector(x + side * wide * 0.92, spine - 20, z) for z in (top, 0.5 * (top + z_low), z_low + 30)]
        groups.setdefault(25.0, []).extend(rods(path, 22.0))
        groups.setdefault(AIR, []).extend(
            Part(Ellipsoid(point + vector(0, -8, 0), (14.0, 9.0, 22.0)), 0.5) for point in path if rng.random() < 0.6
        )
    for hu in sorted(groups, reverse=True):
        yield Organ(tuple(groups[hu]), hu)
    bladder = vector(x, 0.5 * (low_front + spine) + 10.0, z_low - 20.0)
    yield Organ((Part(Ellipsoid(bladder, (40.0, 34.0, 32.0))),), 8.0)
