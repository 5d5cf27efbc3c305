"""Mimics within bone: dark spots, bone islands, canals of vessels, coarse trabeculae."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.inserts import Lesion
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Rod
from cspine.phantom.mimics.axis import dens_point
from cspine.phantom.mimics.bodies import some_levels
from cspine.phantom.mimics.change import MimicChange

_LEVELS = ("C1", "C2", *SUBAXIAL)


def _place(neck: Neck, level: str, rng: np.random.Generator) -> Floats:
    """Draw a point within a vertebra: its body or dens, a lateral mass or pillar, or a lamina."""
    side = float(rng.choice(SIDES))
    if level == "C1":
        return vector(side * rng.uniform(12.0, 21.0), rng.uniform(-5.0, 7.0), rng.uniform(-3.0, 3.0))
    if level == "C2":
        if rng.random() < 0.5:
            return dens_point(neck, rng.uniform(-9.0, 10.0)) + vector(
                rng.uniform(-3.0, 3.0), rng.uniform(-3.0, 3.0), 0.0
            )
        return vector(side * rng.uniform(8.0, 17.0), rng.uniform(-2.0, 8.0), rng.uniform(-2.0, 6.0))
    at, measures, where = landmarks_of(neck.person, level), neck.person.measures[level], rng.random()
    if where < 0.5:
        half = np.array([measures["body width"] / 2, at.body_back_y, measures["body height"] / 2])
        return np.asarray(rng.uniform(-0.7, 0.7, 3) * half)
    if where < 0.8:
        return np.asarray(at.pillar * (side, 1.0, 1.0) + rng.uniform(-4.0, 4.0, 3))
    start = at.pillar + vector(-2.5, 3.5, -2.0)
    return np.asarray((start + rng.uniform(0.2, 0.9) * (at.lamina - start)) * (side, 1.0, 1.0))


def dark_spots(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw dark spots: pockets of fatty marrow between trabeculae, round or flat."""
    for level in some_levels(rng, _LEVELS):
        lesions, points = [], []
        for _ in range(int(rng.integers(1, 6))):
            size, flat = rng.uniform(0.6, 2.0), rng.uniform(0.3, 1.0)
            radii = rng.permutation([size, size * rng.uniform(0.7, 1.6), size * flat])
            points.append(_place(neck, level, rng))
            hu = float(rng.uniform(-60.0, 130.0))
            lesions.append(Lesion(points[-1], radii, hu, edge_mm=float(rng.uniform(0.4, 1.5))))
        yield MimicChange(name="dark spot", level=level, points_mm=tuple(points), lesions=tuple(lesions))


def bone_island(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw dense spots."""
    for level in some_levels(rng, _LEVELS)[:2]:
        place, radii = _place(neck, level, rng), rng.uniform(0.9, 3.0) * rng.uniform(0.6, 1.3, 3)
        island = Lesion(place, radii, float(rng.uniform(800.0, 1300.0)), edge_mm=0.7, only_raises=True)
        yield MimicChange(name="bone island", level=level, points_mm=(place,), lesions=(island,))


def nutrient_canals(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw canals of vessels of pillars, laminae and spinous processes."""
    for level in some_levels(rng, ("C2", *SUBAXIAL)):
        canals, points = [], []
        for _ in range(int(rng.integers(1, 4))):
            middle, direction = _place(neck, level, rng), rng.normal(0.0, 1.0, 3)
            direction *= rng.uniform(2.0, 5.0) / np.linalg.norm(direction)
            rod = Rod(middle - direction, middle + direction, (rng.uniform(0.3, 0.8), 0.25))
            canals.append(Part(rod, 0.2, is_cutout=True))
            points.append(middle)
        yield MimicChange(
            name="nutrient canal", level=level, points_mm=tuple(points), reach_mm=4.0, canals=tuple(canals)
        )


def coarse_trabeculae(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw osteopenia of the whole neck: few thick trabeculae between pockets of marrow, a thin cortex."""
    bone, severity = neck.person.bone, float(rng.uniform(0.25, 1.0))
    thinned = replace(
        bone,
        trabecular_hu=bone.trabecular_hu * float(rng.uniform(0.45, 0.9)),
        cortex_mm=bone.cortex_mm * float(rng.uniform(0.7, 1.0)),
        coarseness=severity,
    )
    for level in _LEVELS:
        yield MimicChange(name="coarse trabeculae", level=level, bone=thinned)
