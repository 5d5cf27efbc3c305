"""Contents of head, neck and spinal canal."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from cspine.phantom.anatomy.organs import AIR, BRAIN, CORD, CSF, FAT, GLAND, Organ
from cspine.phantom.body.full_head import cranial_cavity
from cspine.phantom.body.organs.vessels import Contrast
from cspine.phantom.body.outline import in_skull
from cspine.phantom.body.plan import BodyPlan
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

_THYROID_HU: Final = 60.0
_OPEN_LIPS_DEG: Final = 10.0
"""Angle of the jaw from which on air reaches from the mouth to the outside."""


def head_and_neck(plan: BodyPlan, contrast: Contrast, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield brain, eyes, airway, esophagus and thyroid gland.

    Parameters
    ----------
    plan, contrast
        Body and density of blood.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    at, radii = plan.head.at, plan.head.radii
    yield Organ(tuple(in_skull(plan, cranial_cavity(plan.head, -2.0))), BRAIN + 0.1 * contrast.organ_hu)
    atrophy = rng.uniform(0.6, 1.7)
    ventricles = [
        Part(Rod(at(side * 8, -28, 92), at(side * 14, 34, 88), (5.0 * atrophy, 5.0 * atrophy)), 1.0) for side in SIDES
    ]
    ventricles += [
        Part(Ellipsoid(at(0, 12, 42), radii(6, 4, 8)), 1.0),  # fourth ventricle
        Part(Ellipsoid(at(0, -26, 54), radii(12, 9, 6)), 1.0),  # cisterns above the sella
        Part(Ellipsoid(at(0, 22, 20), radii(14, 7, 7)), 1.0),  # great cistern
    ]
    yield Organ(tuple(in_skull(plan, ventricles)), CSF)
    for side in SIDES:
        orbit = Part(Ellipsoid(at(side * 32, -68, 38), radii(17, 27, 16)), 0.0)
        eye = Part(Ellipsoid(at(side * 33, -82, 38), radii(12, 12, 12)), 0.0)
        yield Organ(tuple(in_skull(plan, [orbit])), FAT)
        yield Organ(tuple(in_skull(plan, [eye])), 12.0)
    yield from _airway(plan, rng)
    for side in SIDES:
        lobe = plan.layout.anterior_to("C7", 16.0, side * 19.0)
        hu = rng.uniform(_THYROID_HU, GLAND + 10.0) + contrast.organ_hu
        yield Organ((Part(Ellipsoid(lobe, (7.0, 9.0, 19.0 * plan.person.scale))),), hu)


def _airway(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    at, jaw, front = plan.head.at, plan.head.at_jaw, plan.layout.anterior_to
    skull, scale = plan.head.frame(plan.frames["C0"]), plan.person.scale
    gap, wide, caliber = 5.0 + 2.0 * rng.random(), rng.uniform(0.8, 1.25), rng.uniform(0.85, 1.15) * scale
    throat, base, larynx, ring = (
        front("C3", gap + 7),
        front("C4", gap + 8),
        front("C5", gap + 14),
        front("C6", gap + 15),
    )
    trachea, middle, carina = front("C7", gap + 15), front("T2", gap + 17), front("T5", 14.0, 0, 8.0)
    esophagus = [
        larynx + vector(0, 6, 0),
        trachea + vector(2, 12, 0),
        front("T3", 8, 4),
        front("T6", 6, 4),
        front("T10", 14, 10),
    ]
    yield Organ(rods(esophagus, 5.5 * scale, 1.5, (1, 0, 0)), 40.0)
    if rng.random() < 0.3:
        yield Organ((Part(Rod(esophagus[2], esophagus[3], (2.0, 3.0)), 0.0),), AIR)
    nose, palate = skull.to_lps(at(0, -34, 12)), skull.to_lps(at(0, -34, -8))
    air = [
        Part(Rod(nose, palate, (7.5, 6.0), 1.7, (1, 0, 0))),
        Part(Rod(palate, throat, (5.0, 6.0 * wide), 1.9, (1, 0, 0))),
        Part(Rod(throat, base, (6.0 * wide, 6.5), 1.8, (1, 0, 0))),
        Part(Rod(base, larynx, (6.0, 4.0), 1.1, (0, 1, 0))),
        Part(Rod(larynx, ring, (3.0, 7.0), 1.2, (0, 1, 0))),
        Part(Rod(ring, trachea, (8.0 * caliber, 8.5 * caliber), 1.05, (1, 0, 0))),
        Part(Rod(trachea, middle, (8.5 * caliber, 9.0 * caliber), 1.05, (1, 0, 0))),
        Part(Rod(middle, carina, (9.0 * caliber, 9.0 * caliber), 1.1, (1, 0, 0))),
        Part(Rod(carina, carina + vector(-32, 6, -30) * scale, (8.0 * caliber, 6.0 * caliber)), 2.0),
        Part(Rod(carina, carina + vector(42, 8, -32) * scale, (7.0 * caliber, 5.5 * caliber)), 2.0),
    ]
    yield Organ(tuple(air), AIR, 1.0)
    nasal = [Part(Rod(at(side * 5, -38, 17), at(side * 6, -94, 15), (4.0, 3.4), 3.6), 0.5) for side in SIDES]
    if plan.head.jaw_opening_deg > 3.0 or rng.random() < 0.5:
        reach = -118.0 if plan.head.jaw_opening_deg > _OPEN_LIPS_DEG else -84.0
        thick = 1.2 + 0.45 * plan.head.jaw_opening_deg
        low = 0.5 * (at(0, reach, -20) + jaw(0, reach, -24))
        nasal.append(
            Part(Rod(at(0, -46, -9), low, (1.5 + 0.3 * thick, thick), 2.0 if thick > 6 else 6.0, (1, 0, 0)), 1.0)
        )
    yield Organ(tuple(in_skull(plan, nasal)), AIR, 1.0)


def canal(plan: BodyPlan) -> Iterator[Organ]:
    """Yield the spinal canal with its cord down to L2, and the thecal sac down to the sacrum."""
    levels = plan.levels
    sac = [plan.head.frame(plan.frames["C0"]).to_lps([0.0, 6.0, 40.0]), *(plan.layout.canal[level] for level in levels)]
    n_cord = 1 + next((n for n, level in enumerate(levels) if level == "L2"), len(levels))
    yield Organ(rods(sac, 5.8, 1.5, (1, 0, 0)), CSF)
    yield Organ(rods(sac[:n_cord], 3.7, 1.5, (1, 0, 0)), CORD)
