"""Mimics of arches and processes: thin laminae, worn and narrow facet joints, foramina, spurs, ossified ligaments."""

from collections.abc import Iterator

import numpy as np

from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.inserts import Insert, Lesion, sclerosis
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.disorders.base import BELOW
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Column, Ellipsoid, Pillar, Rod
from cspine.phantom.mimics.bodies import some_levels
from cspine.phantom.mimics.change import MimicChange, cyst


def thin_laminae(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw thin sloping laminae whose upper edge tapers, at most levels."""
    common = rng.uniform(0.3, 1.0)
    for level in ("C2", *SUBAXIAL):
        if rng.random() < 0.2:
            continue
        thin = float(np.clip(common + rng.normal(0, 0.2), 0.15, 1.0))
        points = [vector(side * 8.0, 17.0, -3.0) for side in SIDES]
        if level != "C2":
            at = landmarks_of(neck.person, level)
            lamina = 0.5 * (at.pillar + vector(-2.5, 3.5, 0.0) + at.lamina)
            points = [lamina * vector(side, 1.0, 1.0) for side in SIDES]
        yield MimicChange(
            name="thin lamina", level=level, points_mm=tuple(points),
            traits={"thin lamina": thin, "lamina notch": float(rng.random())},
        )  # fmt: skip


def _pillar(neck: Neck, level: str, side: float, gap_mm: float) -> Part:
    """Return an articular pillar that leaves half of a narrow joint above and below it."""
    angle = neck.person.measures[level]["facet angle"] + 2.0
    height = neck.pillar_spacing_mm[level] - gap_mm / np.cos(np.radians(angle))
    center = landmarks_of(neck.person, level).pillar * vector(side, 1.0, 1.0)
    return Part(Pillar(center, (5.6, 5.0), float(height), angle, 0.8), 1.0)


def narrow_facet_joint(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw pillars that fill their joints but for a slit."""
    for level in some_levels(rng):
        gap, half = rng.uniform(0.4, 1.3), neck.pillar_spacing_mm[level] / 2
        pillar = landmarks_of(neck.person, level).pillar
        ends = [pillar * vector(side, 1.0, 1.0) + vector(0.0, 0.0, up * half) for side in SIDES for up in SIDES]
        parts = tuple(_pillar(neck, level, side, gap) for side in SIDES)
        yield MimicChange(name="narrow facet joint", level=level, points_mm=tuple(ends), parts=parts)


def facet_arthrosis(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw lumps, dense bone, cysts and gas of facet joints, mostly of one side."""
    sides = SIDES if rng.random() < 0.4 else (float(rng.choice(SIDES)),)
    for level in some_levels(rng):
        slope = np.radians(neck.person.measures[level]["facet angle"] + 2.0)
        normal, along = vector(0.0, np.sin(slope), np.cos(slope)), vector(0.0, np.cos(slope), -np.sin(slope))
        axes = np.column_stack([vector(1.0, 0.0, 0.0), along, normal])
        half = neck.pillar_spacing_mm[level] / 2 * np.cos(slope)
        parts, points = [], []
        lesions: list[Lesion] = []
        inserts: list[Insert] = []
        for side in sides:
            pillar = landmarks_of(neck.person, level).pillar * vector(side, 1.0, 1.0)
            if rng.random() < 0.7:
                parts.append(_pillar(neck, level, side, rng.uniform(0.3, 1.2)))
            size = rng.uniform(0.5, 3.0)
            lump = pillar + vector(side * rng.uniform(0.0, 3.0), rng.uniform(-2.0, 4.0), rng.uniform(-5.0, 5.0))
            parts.append(Part(Ellipsoid(lump, (4.0 + size, 3.8 + size, 3.0 + size)), 2.0))
            for up in SIDES:
                face = pillar + up * (half - rng.uniform(1.0, 2.2)) * normal
                radii = (rng.uniform(2.5, 6.0), rng.uniform(3.0, 6.5), rng.uniform(0.8, 2.2))
                lesions.append(sclerosis(face, radii, float(rng.uniform(600.0, 1200.0)), axes=axes))
                points.append(face)
                for _ in range(int(rng.integers(0, 3))):
                    place = face + rng.uniform(-4, 4) * axes[:, 0] + rng.uniform(-4, 4) * along - up * normal
                    lesions += list(cyst(place, float(rng.uniform(0.5, 1.5)), rng))
            if rng.random() < 0.25:
                gas = Ellipsoid(pillar - half * normal, (3.5, 4.0, 0.5), axes)
                frame = neck.frames[level].affine
                inserts.append(
                    Insert((Part(gas, 0.0),), float(rng.uniform(-800, -200)), frame, max_background_hu=300.0)
                )
        yield MimicChange(
            name="facet arthrosis", level=level, points_mm=tuple(points), reach_mm=5.0, parts=tuple(parts),
            lesions=tuple(lesions), inserts=tuple(inserts),
        )  # fmt: skip


def transverse_foramina(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw foramina that are irregular, double, or open to the front or the side."""
    for level in some_levels(rng, ("C1", "C2", *SUBAXIAL)):
        x, y = {"C1": (26.2, 3.6), "C2": (21.4, 3.4)}.get(level, (0.0, 1.2))
        if level in SUBAXIAL:
            x = neck.person.measures[level]["body width"] / 2 + 3.4
        for side in SIDES:
            if rng.random() < 0.35:
                continue
            kind = ("irregular", "double", "open")[int(rng.choice(3, p=[0.45, 0.3, 0.25]))]
            parts = []
            if kind == "irregular":
                for _ in range(int(rng.integers(1, 4))):
                    shift, radius = rng.normal(0.0, 1.1, 2), rng.uniform(1.4, 2.4)
                    hole = Column(
                        (side * (x + shift[0]), y + shift[1]), (radius, radius * rng.uniform(0.7, 1.3)), (-9, 9)
                    )
                    parts.append(Part(hole, 0.6, is_cutout=True))
            elif kind == "double":
                radius = rng.uniform(0.8, 1.4)
                hole = Column((side * (x + rng.normal(0, 0.7)), y + rng.uniform(3.2, 4.6)), (radius, radius), (-9, 9))
                parts.append(Part(hole, 0.4, is_cutout=True))
            else:
                front = rng.random() < 0.5
                center = vector(side * x, y - 4.5, -2.0) if front else vector(side * (x + 4.5), y, -3.0)
                width = rng.uniform(0.7, 2.2)
                radii = (width, 4.5, 8.0) if front else (5.5, width, 8.0)
                parts.append(Part(Ellipsoid(center, radii), 0.6, is_cutout=True))
            yield MimicChange(
                name=f"{kind} transverse foramen", level=level, points_mm=(vector(side * x, y, 0.0),), reach_mm=5.0,
                parts=tuple(parts),
            )  # fmt: skip


def enthesophytes(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw spurs at the tips of spinous and transverse processes, some of them apart from the bone."""
    for level in some_levels(rng):
        at = landmarks_of(neck.person, level)
        side = float(rng.choice(SIDES))
        tip, outward = at.spinous_tip, at.spinous_direction
        if rng.random() < 0.4:
            tip, outward = at.posterior_tubercle * vector(side, 1.0, 1.0), vector(side * 0.8, 0.5, -0.3)
        length, width = rng.uniform(2.0, 6.0), rng.uniform(0.7, 1.5)
        start = tip + rng.normal(0.0, 1.0, 3) + rng.choice([0.0, 0.0, 1.5]) * outward
        spur = Part(Rod(start, start + length * (outward + rng.normal(0, 0.25, 3)), (width, 0.5)), 0.6)
        yield MimicChange(name="enthesophyte", level=level, points_mm=(start,), parts=(spur,))


def ossified_flavum(neck: Neck, rng: np.random.Generator) -> Iterator[MimicChange]:
    """Draw ossified yellow ligaments between laminae."""
    for level in some_levels(rng, SUBAXIAL[:-1])[:2]:
        side, at = float(rng.choice(SIDES)), landmarks_of(neck.person, level)
        below = landmarks_of(neck.person, BELOW[level])
        start = vector(side * rng.uniform(2.0, 7.0), at.canal_back_y - 0.3, -5.5)
        end = vector(side * rng.uniform(2.0, 7.0), below.canal_back_y - 0.3, 0.0)
        path = [neck.frames[level].to_lps(start), neck.frames[BELOW[level]].to_lps(end)]
        tissue = HardTissue(rods(path, rng.uniform(0.7, 1.6), 1.8, (1, 0, 0)), 0.6, 900.0, 500.0)
        yield MimicChange(name="ossified flavum", level=level, points_mm=(start,), hard_tissues=(tissue,))
