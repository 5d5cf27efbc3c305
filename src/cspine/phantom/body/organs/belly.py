"""Organs of the belly."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import AIR, FAT, Organ
from cspine.phantom.body.organs.vessels import Contrast
from cspine.phantom.body.plan import BodyPlan
from cspine.phantom.body.trunk import Trunk
from cspine.phantom.geometry.loft import Loft
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

_N_LOOPS: Final = 26
"""Loops of small bowel."""

_P_ORAL_CONTRAST: Final = 0.2
"""Probability of contrast medium in the bowel."""


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
            Part(Ellipsoid(at(-0.48, 0.46, 28.0), (0.46 * wide, 0.38 * deep, 62.0 * scale)), 10.0),
            Part(Ellipsoid(at(0.05, 0.25, 40.0), (0.5 * wide, 0.22 * deep, 36.0 * scale)), 14.0),
        ),
        liver,
    )
    yield Organ(
        (Part(Ellipsoid(at(0.68, 0.72, 30.0), (0.2 * wide, 0.24 * deep, 52.0 * scale))),), 48.0 + contrast.organ_hu
    )
    stomach = at(0.38, 0.38, 32.0)
    yield Organ(
        (Part(Ellipsoid(stomach, (0.24 * wide, 0.22 * deep, 46.0 * scale))),), float(rng.choice([15.0, 35.0, 250.0]))
    )
    gas = stomach + vector(0, -0.12 * deep, 10.0)
    yield Organ((Part(Ellipsoid(gas, (0.2 * wide, 0.1 * deep, 30.0 * scale))),), AIR)
    for side in SIDES:
        kidney = front["L1"] + vector(side * 62.0 * scale, 24.0, -14.0 - 10.0 * (side < 0))
        yield Organ((Part(Ellipsoid(kidney, (36.0 * scale, 34.0 * scale, 64.0 * scale))),), FAT)
        yield Organ(
            (Part(Ellipsoid(kidney, (25.0 * scale, 24.0 * scale, 54.0 * scale))),), 34.0 + 1.6 * contrast.organ_hu
        )
    yield from _bowel(trunk, rng)


def _bowel(trunk: Trunk, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield loops of bowel with fluid, gas or oral contrast medium, colon and bladder, within their cavity."""
    cavity, groups = trunk.cavity, dict[float, list[Part]]()
    top, bottom = trunk.belly("L2")[0] + 10.0, trunk.hips[0]
    is_opaque = rng.random() < _P_ORAL_CONTRAST
    for _ in range(_N_LOOPS):
        radius, z = rng.uniform(9.0, 15.0), rng.uniform(bottom + 10.0, top)
        center = _in_cavity(cavity, rng.uniform(-0.85, 0.85), rng.uniform(-0.8, 0.6), z, radius)
        along = rng.normal(0, 1, 3) * (1.0, 0.4, 0.8)
        other = center + along * rng.uniform(30, 80) / max(float(np.linalg.norm(along)), 1e-3)
        across, behind = ((other[:2] - _section(cavity, z)[0]) / _section(cavity, z)[1]).tolist()
        other = _in_cavity(cavity, across, behind, float(np.clip(other[2], bottom, top)), radius)
        hu = 300.0 if is_opaque and rng.random() < 0.5 else 32.0
        groups.setdefault(hu, []).append(Part(Rod(center, other, (radius, radius)), 1.0))
        if rng.random() < 0.3:
            up = vector(0, -0.35 * radius, 0)
            groups.setdefault(AIR, []).append(Part(Rod(center + up, other + up, (radius * 0.55,) * 2), 1.0))
    for side in SIDES:  # colon
        path = [_in_cavity(cavity, side, 0.5, z, 18.0) for z in (top, 0.5 * (top + bottom), bottom + 40.0)]
        groups.setdefault(25.0, []).extend(rods(path, 18.0))
        groups.setdefault(AIR, []).extend(
            Part(Ellipsoid(point + vector(0, -6, 0), (12.0, 8.0, 20.0)), 0.5) for point in path if rng.random() < 0.6
        )
    for hu in sorted(groups, reverse=True):
        yield Organ(tuple(groups[hu]), hu)
    bladder, size = _in_cavity(cavity, 0.0, -0.3, bottom, 0.0), _section(cavity, bottom)[1]
    yield Organ((Part(Ellipsoid(bladder, (min(40.0, 0.5 * size[0]), min(34.0, 0.6 * size[1]), 30.0))),), 8.0)


def _section(cavity: Loft, z_mm: float) -> tuple[Floats, Floats]:
    """Return center and half extents, x and y, of the cavity at a height, (2,) each."""
    columns = (*cavity.center_mm.T, cavity.half_width_mm, cavity.depth_mm[:, 0])
    x, y, half_width, depth = (float(np.interp(z_mm, cavity.z_mm, column)) for column in columns)
    return np.array([x, y]), np.array([half_width, depth])


def _in_cavity(cavity: Loft, across: float, behind: float, z_mm: float, radius: float) -> Floats:
    """Return a point of the cavity by its fractions of half width and depth, `radius` away from the wall, (3,)."""
    center, half = _section(cavity, z_mm)
    inner = np.maximum(half - radius - 2.0, 1.0)
    offset = np.array([across, behind]) * half / inner
    return np.append(center + inner * offset / max(float(np.hypot(*offset)), 1.0), z_mm)
