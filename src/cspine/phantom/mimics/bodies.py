"""Mimics of vertebral bodies and discs: veins, pits and nodes of endplates, gas, uncovertebral joints."""

from collections.abc import Iterator

import numpy as np

from cspine.phantom.anatomy.inserts import Insert, Lesion, sclerosis
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.disorders.base import body_width, disc_frame
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod
from cspine.phantom.mimics.change import MimicChange, cyst


def some_levels(rng: np.random.Generator, among: tuple[str, ...] = SUBAXIAL) -> list[str]:
    """Draw some levels, one at least."""
    fraction = rng.uniform(0.2, 0.8)
    return [level for level in among if rng.random() < fraction] or [str(rng.choice(among))]


def basivertebral_foramen(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw funnels in the posterior wall of bodies, with channels that branch to the front."""
    for level in some_levels(rng):
        back = landmarks_of(neck.person, level).body_back_y
        wall = vector(rng.normal(0, 0.8), back + 0.5, rng.normal(0, 0.9))
        radii = (rng.uniform(1.2, 4.0), rng.uniform(1.5, 4.5), rng.uniform(0.8, 2.2))
        middle = vector(rng.normal(0, 0.7), rng.uniform(-1.5, 2.0), wall[2] + rng.normal(0, 0.7))
        width = rng.uniform(0.5, 1.1)
        canals = [
            Part(Ellipsoid(wall, radii), 0.5, is_cutout=True),
            Part(Rod(wall, middle, (width, 0.7 * width), rng.uniform(0.8, 2.0), (1, 0, 0)), 0.3, is_cutout=True),
        ]
        for side in SIDES:
            if rng.random() < 0.65:
                end = middle + vector(side * rng.uniform(2.0, 7.0), -rng.uniform(2.0, 6.0), rng.normal(0, 1.0))
                canals.append(Part(Rod(middle, end, (0.7 * width, 0.3)), 0.2, is_cutout=True))
        yield MimicChange(
            name="basivertebral foramen", level=level, points_mm=(wall, middle), reach_mm=4.0, canals=tuple(canals)
        )


def endplate_pits(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw small pits of an endplate."""
    for level in some_levels(rng):
        measures, canals, points = neck.person.measures[level], [], []
        half, back = measures["body width"] / 2, landmarks_of(neck.person, level).body_back_y
        up = float(rng.choice(SIDES))
        for _ in range(int(rng.integers(2, 8))):
            place = vector(
                rng.uniform(-0.6, 0.6) * half, rng.uniform(-0.8, 0.8) * back, up * measures["body height"] / 2
            )
            if up < 0:  # the lower endplate is concave
                place[2] += 1.5
            radii = (rng.uniform(0.4, 1.3), rng.uniform(0.4, 1.3), rng.uniform(0.6, 1.8))
            canals.append(Part(Ellipsoid(place, radii), 0.2, is_cutout=True))
            points.append(place)
        yield MimicChange(name="endplate pit", level=level, points_mm=tuple(points), canals=tuple(canals))


def schmorl_node(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw Schmorl's nodes: disc in a hollow of an endplate with a sclerotic rim."""
    for level in some_levels(rng)[:2]:
        measures, up = neck.person.measures[level], float(rng.choice(SIDES))
        half, back = measures["body width"] / 2, landmarks_of(neck.person, level).body_back_y
        place = vector(rng.uniform(-0.5, 0.5) * half, rng.uniform(-0.6, 0.7) * back, up * measures["body height"] / 2)
        if up < 0:
            place[2] += 1.2
        radii = np.array([rng.uniform(1.2, 3.8), rng.uniform(1.2, 3.8), rng.uniform(1.0, 3.2)])
        rim = sclerosis(place, radii + rng.uniform(0.7, 1.6), float(rng.uniform(500.0, 1000.0)))
        node = Part(Ellipsoid(place, radii), 0.3, is_cutout=True)
        yield MimicChange(
            name="Schmorl node", level=level, points_mm=(place,), reach_mm=4.0, canals=(node,), lesions=(rim,)
        )


def vacuum_disc(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw slits of gas in discs."""
    for level in some_levels(rng)[:3]:
        measures = neck.person.measures[level]
        half, back = body_width(neck.person, level) / 2, landmarks_of(neck.person, level).body_back_y
        frame = disc_frame(neck.frames, neck.person, level)
        radii = (rng.uniform(0.2, 0.7) * half, rng.uniform(0.2, 0.7) * back, rng.uniform(0.35, 1.0))
        place = vector(rng.normal(0, 2.0), rng.normal(0, 2.0), rng.normal(0, 0.5))
        gas = Insert(
            (Part(Ellipsoid(place, radii), 0.0),), float(rng.uniform(-900, -250)), frame, max_background_hu=250.0
        )
        below = place - vector(0.0, 0.0, measures["body height"] / 2 + 2.0)
        yield MimicChange(name="vacuum disc", level=level, points_mm=(below,), inserts=(gas,))


def uncovertebral_arthrosis(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw spurs, dense bone and cysts of uncovertebral joints."""
    for level in some_levels(rng):
        measures = neck.person.measures[level]
        half, height = measures["body width"] / 2, measures["body height"] / 2
        parts, points = [], []
        lesions: list[Lesion] = []
        for side in SIDES if rng.random() < 0.6 else (float(rng.choice(SIDES)),):
            tip = vector(side * half * rng.uniform(0.8, 1.02), rng.uniform(-2.0, 5.0), height + rng.uniform(1.0, 3.5))
            size = rng.uniform(0.9, 2.4)
            parts.append(Part(Ellipsoid(tip, (size, 1.5 * size, 0.9 * size)), 1.3))
            base = vector(side * half * 0.8, tip[1], height - rng.uniform(0.0, 1.5))
            radii = (rng.uniform(1.2, 3.0), rng.uniform(2.0, 5.0), rng.uniform(0.9, 2.2))
            lesions.append(sclerosis(base, radii, float(rng.uniform(500.0, 1100.0))))
            for _ in range(int(rng.integers(0, 3))):
                place = base - vector(side * rng.uniform(0.0, 2.0), rng.normal(0, 1.5), rng.uniform(0.5, 2.5))
                lesions += list(cyst(place, float(rng.uniform(0.5, 1.5)), rng))
            points += [tip, base]
        yield MimicChange(
            name="uncovertebral arthrosis", level=level, points_mm=tuple(points), reach_mm=4.0, parts=tuple(parts),
            lesions=tuple(lesions),
        )  # fmt: skip
