"""What is attached to a person: tubes, hoses, catheters, electrodes with cables, markers and jewelry."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from cspine.core.typing import Floats, Floats32
from cspine.phantom.anatomy.organs import AIR, Organ
from cspine.phantom.body.plan import SIDE_SIGNS, BodyPlan
from cspine.phantom.body.trunk import Trunk
from cspine.phantom.geometry.parts import Part, distance_at, rods
from cspine.phantom.geometry.points import PointCloud, vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid

_METAL_HU: Final = 6000.0
"""Of metal, averaged over a voxel; scanners clip it."""


def front_of_skin(outline: list[Part], x_mm: float, z_mm: float, *, start_y_mm: float = -350.0) -> Floats:
    """Return the most anterior point of the skin at an x and a z, or a point at y = 60 where there is none, (3,)."""
    y = np.arange(start_y_mm, 60.0, 4.0).astype(np.float32)
    across: Floats32 = np.full_like(y, x_mm)
    inside = distance_at(outline, PointCloud(across, y, np.full_like(y, z_mm)), truncation_mm=50.0) < 0
    return vector(x_mm, float(y[int(np.argmax(inside))]) if inside.any() else 60.0, z_mm)


def endotracheal_tube(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield a tube from the mouth to the trachea, and mostly the hose of a ventilator."""
    skull, at, front = plan.head.frame(plan.frames["C0"]), plan.head.at, plan.layout.anterior_to
    lips = skull.to_lps(at(4, -114, -22))
    path = [
        lips, skull.to_lps(at(2, -56, -14)), front("C2", 13, 1), front("C5", 19), front("C7", 20), front("T2", 22),
        front("T4", 20, 0, 10.0),
    ]  # fmt: skip
    yield Organ(rods(path, 5.2), 120.0, 1.0)
    yield Organ(rods(path, 3.7), AIR, 1.0)
    if rng.random() < 0.7:
        side, radius = float(rng.choice(SIDES)), rng.uniform(9.0, 13.0)
        hose = [lips, lips + vector(0, -35, -6)]
        if rng.random() < 0.5:
            hose += [hose[-1] + vector(side * 60, 10, -60), hose[-1] + vector(side * 150, 60, -200)]
        else:
            hose += [hose[-1] + vector(side * 90, 40, 40), hose[-1] + vector(side * 150, 90, 220)]
        yield Organ(rods(hose, radius), rng.uniform(-100.0, 150.0), 1.0, max_background_hu=AIR)
        yield Organ(rods(hose, radius - 1.8), AIR, 1.0, max_background_hu=200.0)


def gastric_tube(plan: BodyPlan) -> Iterator[Organ]:
    """Yield a thin, radiopaque tube from the nose to the stomach."""
    skull, at, front = plan.head.frame(plan.frames["C0"]), plan.head.at, plan.layout.anterior_to
    path = [
        skull.to_lps(at(8, -118, 4)), skull.to_lps(at(6, -60, 8)), skull.to_lps(at(3, -32, 6)), front("C3", 6, 2),
        front("C6", 9, 3), front("T1", 12, 4), front("T5", 7, 5), front("T10", 14, 10), front("T12", 60, 60),
    ]  # fmt: skip
    yield Organ(rods(path, 1.9), 500.0, 1.0)


def central_line(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield a catheter or a pacemaker lead in a vein of neck or shoulder, down to the heart."""
    front, name = plan.layout.anterior_to, str(rng.choice(list(SIDE_SIGNS)))
    side = {"right": -1.0, "left": 1.0}[name]
    outlet = plan.shoulders["right" if side < 0 else "left"] + vector(-side * 34, -26, -22)
    start = [outlet] if rng.random() < 0.5 else [front("C5", 34, side * 40), front("C6", 8, side * 31)]
    path = [*start, front("T2", 30, side * 24), front("T3", 44, -14), front("T5", 44, -24)]
    if rng.random() < 0.3:
        path += [front("T8", 60, -10), front("T9", 80, 25)]
        port = outlet + vector(-side * 10, -12, -30)
        yield Organ((Part(Ellipsoid(port, (22.0, 6.0, 20.0))),), _METAL_HU, 1.0)
    yield Organ(rods(path, 1.1), rng.uniform(800.0, 3000.0), 1.0)


def electrodes(plan: BodyPlan, outline: list[Part], rng: np.random.Generator) -> Iterator[Organ]:
    """Yield electrodes on the chest, each with a snap of metal and a cable that leaves to one side."""
    trunk, exit_side = Trunk(plan), float(rng.choice(SIDES))
    z, x, _, _, width = trunk.cage("T6")
    pads: list[Part] = []
    snaps: list[Part] = []
    wires: list[Part] = []
    for _ in range(int(rng.integers(3, 7))):
        place = front_of_skin(outline, x + rng.uniform(-0.75, 0.75) * width, z + rng.uniform(-80.0, 130.0))
        place = place - vector(0, 2.0, 0)
        pads.append(Part(Ellipsoid(place, (16.0, 3.0, 16.0)), 0.0))
        snaps.append(Part(Ellipsoid(place - vector(0, 3, 0), (3.0, 2.5, 3.0)), 0.0))
        away = place + vector(exit_side * rng.uniform(40, 140), -8, rng.uniform(-20, 80))
        away = front_of_skin(outline, float(away[0]), float(away[2])) - vector(0, 5, 0)
        wires += rods(
            [place - vector(0, 5, 0), away, vector(exit_side * 260, float(away[1]) + 30, float(away[2]) + 120)], 1.6
        )
    yield Organ(tuple(pads), 0.0, max_background_hu=AIR)
    yield Organ(tuple(wires), rng.uniform(500.0, 2500.0), 1.0, max_background_hu=AIR)
    yield Organ(tuple(snaps), _METAL_HU, 1.0)


def cables(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield loose cables and infusion lines over and beside the body."""
    high, low = plan.layout.front["C1"], plan.layout.front["T10"]
    for _ in range(int(rng.integers(1, 4))):
        side = float(rng.choice(SIDES))
        x = side * plan.chest_half_width_mm * rng.uniform(0.4, 1.6)
        path = [
            vector(x + rng.normal(0, 30), plan.table_y_mm - rng.uniform(5, 260), z + rng.normal(0, 20))
            for z in np.linspace(float(high[2]) + 100, float(low[2]), 6)
        ]
        yield Organ(rods(path, rng.uniform(1.2, 3.5)), rng.uniform(100.0, 2500.0), 1.0, max_background_hu=AIR)


def markers(plan: BodyPlan, outline: list[Part], rng: np.random.Generator) -> Iterator[Organ]:
    """Yield beads of metal on skin or mask, by which radiotherapy positions a person."""
    z = float(plan.layout.front["C2"][2]) + rng.uniform(-60.0, 60.0)
    middle = front_of_skin(outline, float(plan.layout.front["C2"][0]), z) - vector(0, 3, 0)
    side_y = float(plan.layout.canal["C2"][1]) - 10.0
    points = [middle, *(vector(float(middle[0]) + side * rng.uniform(75, 100), side_y, z) for side in SIDES)]
    yield Organ(
        tuple(Part(Ellipsoid(point, (1.4, 1.4, 1.4)), 0.0) for point in points), _METAL_HU, 1.0, max_background_hu=AIR
    )


def jewelry(plan: BodyPlan, outline: list[Part], rng: np.random.Generator) -> Iterator[Organ]:
    """Yield earrings, a hearing aid or a necklace."""
    skull, at = plan.head.frame(plan.frames["C0"]), plan.head.at
    if rng.random() < 0.6:
        rings = [Part(Ellipsoid(skull.to_lps(at(side * 79, -4, 0)), (2.5, 2.5, 4.0)), 0.0) for side in SIDES]
        yield Organ(tuple(rings), _METAL_HU, 1.0)
        return
    low = plan.layout.front["T1"]
    chain = [
        front_of_skin(outline, float(low[0]) + x, float(low[2]) + z) - vector(0, 1.5, 0)
        for x, z in ((-55.0, 25.0), (-30.0, -15.0), (0.0, -45.0), (30.0, -15.0), (55.0, 25.0))
    ]
    yield Organ(rods(chain, 1.2), _METAL_HU, 1.0)
