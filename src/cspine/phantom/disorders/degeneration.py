"""Degeneration beyond the normal phantom: collapsed and gas-filled discs, large osteophytes, worn joints, DISH."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.inserts import Lesion
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.disorders.base import (
    BELOW,
    Disorder,
    Frames,
    NeckT,
    add_hard_tissues,
    add_inserts,
    add_lesions,
    add_parts,
    body_width,
    draw_levels,
    front_y,
)
from cspine.phantom.disorders.blocks import disc_filling, syndesmophytes
from cspine.phantom.disorders.posture import set_disc_height
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid

_GAS_HU = -700.0
"""Nitrogen in a vacuum disc, after partial volume."""


@dataclass(frozen=True, kw_only=True)
class CollapsedDiscs(Disorder):
    """Discs that have lost nearly all of their height, with sclerotic endplates and sometimes gas.

    Attributes
    ----------
    heights_mm : dict
        Level to the height of the disc below it.
    with_gas : frozenset of str
        Levels whose disc holds gas.
    sclerosis_hu : float
        Density of bone at the endplates; 0 where it is as elsewhere.
    """

    heights_mm: Mapping[str, float]
    with_gas: frozenset[str]
    sclerosis_hu: float

    def frames(self, frames: Frames, person: Person) -> Frames:
        """Return the frames, with all above a collapsed disc lowered."""
        for level, height_mm in self.heights_mm.items():
            frames = set_disc_height(frames, person, level, height_mm)
        return frames

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with gas in discs and sclerotic endplates."""
        gas = [disc_filling(neck, level, 0.7, _GAS_HU) for level in self.heights_mm if level in self.with_gas]
        neck = add_inserts(neck, gas)
        if not self.sclerosis_hu:
            return neck
        lesions: dict[str, list[Lesion]] = {}
        for upper in self.heights_mm:
            for level, up in ((upper, -0.5), (BELOW[upper], 0.5)):
                z = up * neck.person.measures[level]["body height"]
                radii = (0.4 * body_width(neck.person, level), -0.8 * front_y(neck.person, level), 3.0)
                lesions.setdefault(level, []).append(Lesion((0.0, -1.0, z), radii, self.sclerosis_hu))
        return add_lesions(neck, lesions)


@dataclass(frozen=True, kw_only=True)
class VacuumDiscs(Disorder):
    """Discs with gas in them."""

    levels: tuple[str, ...]
    fraction: float

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with gas in these discs."""
        return add_inserts(neck, [disc_filling(neck, level, self.fraction, _GAS_HU) for level in self.levels])


@dataclass(frozen=True, kw_only=True)
class LargeOsteophytes(Disorder):
    """Osteophytes at both endplates of discs, which may bridge them.

    Attributes
    ----------
    sizes_mm : dict
        Level to the size of the osteophytes at the disc below it.
    bridging : frozenset of str
        Levels whose disc is bridged.
    seed : int
        Of the positions of the osteophytes.
    """

    sizes_mm: Mapping[str, float]
    bridging: frozenset[str]
    seed: int

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with its osteophytes."""
        rng = np.random.default_rng(self.seed)
        parts: dict[str, list[Part]] = {}
        for upper, size in self.sizes_mm.items():
            for level, up in ((upper, -0.5), (BELOW[upper], 0.5)):
                parts.setdefault(level, []).extend(_spurs(neck.person, level, up, size, rng))
            if upper in self.bridging:
                parts[upper] += syndesmophytes(neck, upper, 0.5 * size)
        return add_parts(neck, parts)


@dataclass(frozen=True, kw_only=True)
class WornFacets(Disorder):
    """Enlarged, sclerotic articular pillars.

    Attributes
    ----------
    sizes_mm : dict
        Level and side (-1 right, 1 left) to the growth of the pillar.
    sclerosis_hu : float
        Density of the bone in its middle.
    """

    sizes_mm: Mapping[tuple[str, float], float]
    sclerosis_hu: float

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with its worn joints."""
        parts: dict[str, list[Part]] = {}
        lesions: dict[str, list[Lesion]] = {}
        for (level, side), size in self.sizes_mm.items():
            pillar = landmarks_of(neck.person, level).pillar * (side, 1.0, 1.0)
            lump = pillar + vector(side * 1.5, 1.5, 0.0)
            parts.setdefault(level, []).append(Part(Ellipsoid(lump, (5.5 + size, 5.0 + size, 6.0)), 2.5))
            lesions.setdefault(level, []).append(Lesion(pillar, (6.0 + size, 6.0 + size, 8.0), self.sclerosis_hu))
        return add_lesions(add_parts(neck, parts), lesions)


@dataclass(frozen=True, kw_only=True)
class Dish(Disorder):
    """Diffuse idiopathic skeletal hyperostosis: bone that flows in front of at least four vertebrae.

    Attributes
    ----------
    levels : tuple of str
        The vertebrae, from the upper to the lower.
    thickness_mm, width_mm : float
        Of the ossification.
    side_mm : float
        Distance of its middle from the midline, to the left.
    """

    levels: tuple[str, ...]
    thickness_mm: float
    width_mm: float
    side_mm: float

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with the ossified ligament."""
        half = self.thickness_mm / 2
        path: list[Floats] = []
        for number, level in enumerate(self.levels):
            front, height = front_y(neck.person, level), neck.person.measures[level]["body height"]
            if number:
                path.append(neck.frames[level].to_lps([self.side_mm, front - 0.9 * half - 1.0, 0.62 * height]))
            path.append(neck.frames[level].to_lps([self.side_mm, front - 0.5 * half, 0.0]))
        across = neck.frames[self.levels[0]].axes[:, 0]
        bone = rods(path, half, self.width_mm / self.thickness_mm, tuple(across.tolist()), blend_mm=2.5)
        return add_hard_tissues(neck, [HardTissue(bone, 1.0, 950.0, 350.0)])


def _spurs(person: Person, level: str, up: float, size: float, rng: np.random.Generator) -> list[Part]:
    """Draw osteophytes about the upper (`up` 0.5) or the lower (-0.5) endplate of a body."""
    half, front = body_width(person, level) / 2, front_y(person, level)
    height, spurs = person.measures[level]["body height"], []
    for degrees in (-75.0, -35.0, 0.0, 35.0, 75.0):
        angle, grown = np.radians(degrees + rng.uniform(-12.0, 12.0)), size * rng.uniform(0.4, 1.1)
        outward = vector(np.sin(angle), -np.cos(angle), 0.0)
        rim = vector(half * np.sin(angle), front * np.cos(angle), up * (height - 1.0)) + 0.35 * grown * outward
        spurs.append(Part(Ellipsoid(rim, (0.7 * grown + 2.0, 0.8 * grown + 1.0, 0.35 * grown + 1.0)), 2.0))
    if rng.random() < 0.5:  # toward the canal
        spurs.append(Part(Ellipsoid((rng.uniform(-5, 5), -front, up * (height - 0.8)), (4.5, 2.0, 1.4)), 1.5))
    return spurs


def draw_collapsed_discs(rng: np.random.Generator) -> Disorder:
    """Draw one to four discs of 0 to 2 mm, mostly of the lower neck."""
    levels = draw_levels(rng, ("C2", *SUBAXIAL) if rng.random() < 0.3 else SUBAXIAL[1:], (1, 4))
    return CollapsedDiscs(
        names=tuple(f"collapsed disc {level}-{BELOW[level]}" for level in levels),
        heights_mm={level: float(rng.uniform(0.0, 2.0)) for level in levels},
        with_gas=frozenset(level for level in levels if rng.random() < 0.25),
        sclerosis_hu=float(rng.uniform(500.0, 1000.0)) if rng.random() < 0.6 else 0.0,
    )


def draw_vacuum_discs(rng: np.random.Generator) -> Disorder:
    """Draw gas in one to three discs."""
    levels = draw_levels(rng, SUBAXIAL, (1, 3))
    return VacuumDiscs(
        names=tuple(f"vacuum disc {level}-{BELOW[level]}" for level in levels),
        levels=levels,
        fraction=float(rng.uniform(0.4, 0.85)),
    )


def draw_large_osteophytes(rng: np.random.Generator) -> Disorder:
    """Draw osteophytes of 2 to 7 mm at one to five discs, some of which are bridged."""
    levels = draw_levels(rng, ("C2", *SUBAXIAL, "T1"), (1, 5))
    bridging = frozenset(level for level in levels if rng.random() < 0.25)
    return LargeOsteophytes(
        names=tuple(
            f"{'bridging' if level in bridging else 'large'} osteophytes {level}-{BELOW[level]}" for level in levels
        ),
        sizes_mm={level: float(rng.uniform(2.0, 7.0)) for level in levels},
        bridging=bridging,
        seed=int(rng.integers(2**31)),
    )


def draw_worn_facets(rng: np.random.Generator) -> Disorder:
    """Draw worn joints of one to four levels, mostly of one side."""
    levels = draw_levels(rng, SUBAXIAL, (1, 4))
    side = float(rng.choice(SIDES))
    sides = SIDES if rng.random() < 0.3 else (side,)
    return WornFacets(
        names=tuple(f"worn facets {level}" for level in levels),
        sizes_mm={(level, each): float(rng.uniform(0.5, 4.0)) for level in levels for each in sides},
        sclerosis_hu=float(rng.uniform(600.0, 1100.0)),
    )


def draw_dish(rng: np.random.Generator) -> Disorder:
    """Draw DISH over 4 to 7 vertebrae."""
    levels = draw_levels(rng, ("C2", *SUBAXIAL, "T1", "T2"), (4, 7))
    return Dish(
        names=(f"DISH {levels[0]}-{levels[-1]}",),
        levels=levels,
        thickness_mm=float(rng.uniform(3.0, 10.0)),
        width_mm=float(rng.uniform(12.0, 22.0)),
        side_mm=float(rng.normal(0.0, 2.5)),
    )
