"""Mimics of the atlas: grooves of arteries, canals and pits of the lateral masses."""

from collections.abc import Iterator

import numpy as np

from cspine.phantom.anatomy.atlas import LATERAL_MASS_X_MM, canal_front_y
from cspine.phantom.anatomy.inserts import Lesion
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod
from cspine.phantom.mimics.change import MimicChange, cyst


def atlas_groove(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw grooves of the vertebral arteries on the posterior arch, some of them bridged (ponticulus posticus)."""
    measures = neck.person.measures["C1"]
    front = canal_front_y(neck.person.measures["C2"]["dens depth"])
    middle_y, height = front + measures["canal depth"] / 2, 0.4 * measures["posterior arch height"]
    parts, points = [], []
    for side in SIDES:
        angle = np.radians(rng.uniform(22.0, 48.0))
        x, y = (measures["canal width"] / 2 + 2.7) * np.cos(angle), (measures["canal depth"] / 2 + 2.7) * np.sin(angle)
        depth, top = rng.uniform(0.15, 0.5) * 2 * height, rng.uniform(2.4, 3.6)
        place = vector(side * x, middle_y + y, height - depth + top)
        parts.append(Part(Ellipsoid(place, (rng.uniform(3.0, 5.0), rng.uniform(3.5, 5.5), top)), 1.0, is_cutout=True))
        points.append(vector(side * x, middle_y + y, height - depth))
        if rng.random() < 0.2:
            start, end = place + vector(side * 1.0, -5.0, 2.0), place + vector(-side * 1.0, 4.5, -0.5)
            parts.append(Part(Rod(start, end, (rng.uniform(0.8, 1.2), 1.2)), 1.0))
    yield MimicChange(name="atlas groove", level="C1", points_mm=tuple(points), reach_mm=4.0, parts=tuple(parts))


def lateral_mass_canal(_: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw canals of lateral masses, from their inner side beside the tubercle or from the front, and cysts."""
    canals, points = [], []
    lesions: list[Lesion] = []
    for side in SIDES:
        for _number in range(int(rng.integers(0, 3))):
            inner = rng.random() < 0.6
            start = vector(8.0, rng.uniform(-4.0, 6.0), rng.normal(0, 2.0))
            if not inner:
                start = vector(rng.uniform(13.0, 20.0), rng.choice([-11.5, 12.5]), rng.normal(0, 2.0))
            end = vector(LATERAL_MASS_X_MM + rng.normal(0, 2.0), rng.uniform(-3.0, 4.0), start[2] + rng.normal(0, 1.0))
            mirror = vector(side, 1.0, 1.0)
            canals.append(Part(Rod(mirror * start, mirror * end, (rng.uniform(0.5, 1.3), 0.3)), 0.3, is_cutout=True))
            points.append(mirror * 0.5 * (start + end))
        if rng.random() < 0.4:
            points.append(
                vector(side * (LATERAL_MASS_X_MM + rng.normal(0, 3.0)), rng.normal(0, 3.0), rng.normal(0, 3.0))
            )
            lesions += list(cyst(points[-1], float(rng.uniform(0.7, 2.2)), rng))
    if points:
        yield MimicChange(
            name="lateral mass canal", level="C1", points_mm=tuple(points), reach_mm=4.0, canals=tuple(canals),
            lesions=tuple(lesions),
        )  # fmt: skip
