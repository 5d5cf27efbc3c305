"""Implants in front of and between vertebrae: plates with screws and cages, disc prostheses, corpectomy cages."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.inserts import Insert
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.subaxial import SUBAXIAL
from cspine.phantom.disorders.base import (
    BELOW,
    Disorder,
    Frames,
    NeckT,
    add_inserts,
    add_parts,
    disc_ends,
    disc_frame,
    draw_levels,
    front_y,
)
from cspine.phantom.disorders.posture import set_disc_height
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import Vector, vector
from cspine.phantom.geometry.solids import SIDES, CroppedSolid, Ellipsoid, Pillar, Rod, Shell, Solid

METAL_HU: Final = 3050.0
"""Titanium and steel exceed the range of a scanner, 3,071 HU."""

_PLATE_HALF_MM: Final = (8.0, 1.1)
"""Half the width and thickness of an anterior plate."""

_CAGE_HALF_MM: Final = (7.0, 6.0)
"""Half the width and depth of a cage."""

Cage = Literal["titanium", "PEEK", "bone graft"]

_GRAFT_HU: Final = {"titanium": 350.0, "PEEK": 160.0, "bone graft": 750.0}
"""What fills a cage, or what it consists of: bone, plastic (PEEK, about 150 HU), cortical graft."""


@dataclass(frozen=True, kw_only=True)
class AnteriorFusion(Disorder):
    """Discs replaced by cages, mostly with a plate and screws in front; after years they are bridged by bone.

    Attributes
    ----------
    levels : tuple of str
        The vertebrae, from the upper to the lower.
    cage : str
        Kind of the cages.
    has_plate : bool
        Whether there is a plate.
    is_bridged : bool
        Whether bone has grown through the cages.
    height_mm : float
        Height of the cages.
    """

    levels: tuple[str, ...]
    cage: Cage
    has_plate: bool
    is_bridged: bool
    height_mm: float

    def frames(self, frames: Frames, person: Person) -> Frames:
        """Return the frames, spread by the cages."""
        for level in self.levels[:-1]:
            frames = set_disc_height(frames, person, level, self.height_mm)
        return frames

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with its implants."""
        inserts: list[Insert] = []
        for level in self.levels[:-1]:
            inserts += self._cage(neck, level)
        if self.has_plate:
            inserts += plate(neck, self.levels)
        neck = add_inserts(neck, inserts)
        if not self.is_bridged:
            return neck
        bridges = {level: [_bridge(neck, level)] for level in self.levels[:-1]}
        return add_parts(neck, bridges)

    def _cage(self, neck: Neck, level: str) -> Iterator[Insert]:
        frame, height = disc_frame(neck.frames, neck.person, level), _disc_height_mm(neck, level) + 1.6
        block = Pillar(vector(0.0, -1.0, 0.0), _CAGE_HALF_MM, height, 0.0, 1.0)
        yield Insert((Part(block, 0.0),), _GRAFT_HU[self.cage], frame)
        if self.cage == "titanium":
            yield Insert((Part(_tube(block, 1.5), 0.0),), METAL_HU, frame, is_metal=True)
        elif self.cage == "PEEK":  # with tantalum markers
            markers = [
                _pin((x, y - 1.0, -height / 2 + 0.8), (x, y - 1.0, height / 2 - 0.8), 0.5)
                for x, y in ((-4.5, -4.8), (4.5, -4.8), (0.0, 4.8))
            ]
            yield Insert(tuple(markers), METAL_HU, frame)


@dataclass(frozen=True, kw_only=True)
class DiscProsthesis(Disorder):
    """Artificial discs below some levels: two metal plates with keels and a core of plastic or a metal ball."""

    levels: tuple[str, ...]
    has_ball: bool
    height_mm: float

    def frames(self, frames: Frames, person: Person) -> Frames:
        """Return the frames, spread by the prostheses."""
        for level in self.levels:
            frames = set_disc_height(frames, person, level, self.height_mm)
        return frames

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with its implants."""
        inserts = []
        for level in self.levels:
            frame, half = disc_frame(neck.frames, neck.person, level), max(_disc_height_mm(neck, level) / 2, 1.8)
            metal: list[Part] = []
            for up in (1.0, -1.0):
                metal.append(Part(Pillar(vector(0.0, 0.0, up * half), (8.0, 7.0), 1.8, 0.0, 0.4), 0.0))
                metal.append(_pin((0.0, -5.0, up * (half + 1.5)), (0.0, 4.0, up * (half + 1.5)), 0.6, 2.2))
            if self.has_ball:
                metal.append(Part(Ellipsoid((0.0, 0.0, 0.0), (4.0, 4.0, half)), 0.0))
            else:
                inserts.append(Insert((Part(Ellipsoid((0.0, 0.0, 0.0), (5.5, 5.5, half)), 0.0),), -60.0, frame))
            inserts.append(Insert(tuple(metal), METAL_HU, frame, is_metal=True))
        return add_inserts(neck, inserts)


@dataclass(frozen=True, kw_only=True)
class Corpectomy(Disorder):
    """Bodies replaced by a cage between the endplates above and below, with a plate.

    Attributes
    ----------
    levels : tuple of str
        The vertebrae whose bodies are removed, but for their lateral walls.
    is_mesh : bool
        Whether the cage is a metal tube; otherwise a strut of cortical bone.
    """

    levels: tuple[str, ...]
    is_mesh: bool

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck without the middle of these bodies, with its implants."""
        above = next(upper for upper, lower in BELOW.items() if lower == self.levels[0])
        below = BELOW[self.levels[-1]]
        start = disc_ends(neck.frames, neck.person, above)[0]
        end = disc_ends(neck.frames, neck.person, self.levels[-1])[1]
        cut = {
            level: [Part(Pillar(vector(0.0, -1.5, 0.0), (8.0, 9.5), 34.0, 0.0, 1.0), 1.0, is_cutout=True)]
            for level in self.levels
        }
        strut = Rod(start, end, (6.5, 6.5))
        margin = vector(30.0, 30.0, 1.0)
        box = np.array([np.minimum(start, end) - margin, np.maximum(start, end) + margin])
        solid = CroppedSolid(strut, box)
        inserts = [Insert((Part(solid, 0.0),), 450.0 if self.is_mesh else 900.0)]
        if self.is_mesh:
            inserts.append(Insert((Part(CroppedSolid(Shell(strut, 1.4), box), 0.0),), METAL_HU, is_metal=True))
        inserts += plate(neck, (above, *self.levels, below), screws=(above, below))
        return add_inserts(add_parts(neck, cut), inserts)


def _disc_height_mm(neck: Neck, level: str) -> float:
    """Return the distance of the endplates of the disc below a level."""
    top, bottom = disc_ends(neck.frames, neck.person, level)
    return float(np.linalg.norm(top - bottom))


def _tube(block: Pillar, wall_mm: float) -> Solid:
    """Return the wall of a block without its top and bottom."""
    tall = Pillar(block.center, block.half, block.height + 20.0, 0.0, 0.5)
    low, high = block.bounding_box()
    return CroppedSolid(Shell(tall, wall_mm), np.array([low, high]))


def _pin(start: Vector, end: Vector, radius: float, aspect_ratio: float = 1.0) -> Part:
    return Part(Rod(start, end, (radius, radius), aspect_ratio), 0.0)


def _bridge(neck: Neck, level: str) -> Part:
    """Return bone between the bodies of a level and of the one below, in the frame of the level."""
    height = neck.person.measures[level]["body height"] / 2 + _disc_height_mm(neck, level) / 2
    return Part(Ellipsoid((0.0, -0.5, -height), (8.5, -front_y(neck.person, level) - 0.5, 4.5)), 2.0)


def plate(neck: Neck, levels: tuple[str, ...], screws: Iterable[str] | None = None) -> Iterator[Insert]:
    """Yield a plate in front of bodies and its screws, two in each level of `screws` (by default in all levels)."""
    half_width, half_thickness = _PLATE_HALF_MM
    path: list[Floats] = []
    for number, level in enumerate(levels):
        beyond = {0: 3.5, len(levels) - 1: -3.5}.get(number, 0.0)
        path.append(neck.frames[level].to_lps([0.0, front_y(neck.person, level) - 0.8, beyond]))
    across = neck.frames[levels[0]].axes[:, 0]
    segments = [
        Part(Rod(start, end, (half_thickness, half_thickness), half_width / half_thickness, across), 0.5)
        for start, end in pairwise(path)
    ]
    yield Insert(tuple(segments), METAL_HU, is_metal=True)
    for level in levels if screws is None else screws:
        front = front_y(neck.person, level)
        up = {levels[0]: 2.0, levels[-1]: -2.0}.get(level, 0.0)
        parts = []
        for side in SIDES:
            head, tip = vector(side * 5.5, front - 1.2, 0.7 * up), vector(side * 3.8, front + 13.0, 1.3 * up)
            parts += [Part(Rod(head, tip, (1.9, 1.3)), 0.0), Part(Ellipsoid(head, (2.8, 1.4, 2.8)), 0.0)]
        yield Insert(tuple(parts), METAL_HU, neck.frames[level].affine, is_metal=True)


def draw_anterior_fusion(rng: np.random.Generator) -> Disorder:
    """Draw cages in one to three discs, mostly with a plate; C5-C6 and C6-C7 are operated on most often."""
    n_discs = int(rng.choice([1, 2, 3], p=[0.5, 0.33, 0.17]))
    levels = draw_levels(rng, SUBAXIAL if rng.random() < 0.8 else ("C2", *SUBAXIAL, "T1"), (n_discs + 1, n_discs + 1))
    cages: list[Cage] = ["titanium", "PEEK", "bone graft"]
    cage = cages[int(rng.integers(3))]
    has_plate = bool(rng.random() < 0.8)
    kind = "plate and cages" if has_plate else "cages"
    return AnteriorFusion(
        names=(f"anterior {kind} {levels[0]}-{levels[-1]}",),
        levels=levels,
        cage=cage,
        has_plate=has_plate,
        is_bridged=bool(rng.random() < 0.5),
        height_mm=float(rng.uniform(3.5, 7.0)),
    )


def draw_disc_prosthesis(rng: np.random.Generator) -> Disorder:
    """Draw one or two artificial discs."""
    levels = draw_levels(rng, SUBAXIAL[:-1], (1, 2))
    return DiscProsthesis(
        names=tuple(f"disc prosthesis {level}-{BELOW[level]}" for level in levels),
        levels=levels,
        has_ball=bool(rng.random() < 0.4),
        height_mm=float(rng.uniform(4.5, 7.0)),
    )


def draw_corpectomy(rng: np.random.Generator) -> Disorder:
    """Draw a corpectomy of one or two of C4 to C6, or of C7."""
    levels = draw_levels(rng, SUBAXIAL[1:], (1, 2))
    return Corpectomy(
        names=tuple(f"corpectomy {level}" for level in levels), levels=levels, is_mesh=bool(rng.random() < 0.7)
    )
