"""Fractures: which kinds there are, where they run, how wide they gape and how fragments lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import Level
from cspine.phantom.anatomy.atlas import front_of_canal
from cspine.phantom.anatomy.axis import DENS_LEAN_DEG, dens_foot
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.solids import SIDES, Box, Cloud, Field, Place, Points, by, smoothstep
from cspine.phantom.anatomy.subaxial import Landmarks, landmarks
from cspine.phantom.settings import PhantomSettings

_FRONT_MM: Final = 3.0
"""By so much the box of a crushed body reaches beyond its front."""


_SUNK_BODIES: Final = frozenset({"body compression", "body burst"})


@dataclass(frozen=True)
class Fracture:
    """One broken surface through a part of a vertebra, in the vertebra's frame.

    Attributes
    ----------
    centre_mm, normal : (3,)
        A point of the surface, and its unit normal towards the fragment.
    half_mm : (3,)
        Half the sides of the box about the centre within which bone is broken.
    width_mm : float
        How wide the gap is in its middle.
    extent_mm : float
        How far from the centre the gap reaches; beyond, the surface holds.
    shift_mm, turn_rad : (3,)
        How the fragment on the normal's side is moved, and turned about the centre.
    through : bool
        Whether the fragment is loose, so that all of it moves alike; else it bends, less with distance.
    crush_mm : float
        By how much bone above the surface has sunk into it in front; it is dense there, and there is no gap.
    waves : (n, 4)
        Amplitude in mm, wave number in 1/mm, phase and direction angle of the surface's roughness.
    """

    kind: str
    centre_mm: Place
    normal: Place
    half_mm: Place
    width_mm: float
    extent_mm: float
    shift_mm: Place
    turn_rad: Place
    through: bool
    crush_mm: float
    waves: Place

    def box(self) -> Box:
        """Return the box within which bone is broken."""
        return np.array([self.centre_mm - self.half_mm, self.centre_mm + self.half_mm])

    @property
    def most_mm(self) -> float:
        """How far any of the fragment moves at most."""
        turned = float(np.linalg.norm(self.turn_rad)) * float(np.linalg.norm(self.half_mm))
        return float(np.linalg.norm(self.shift_mm)) + turned + self.crush_mm

    @property
    def gap_mm(self) -> float:
        """How wide the gap is once the fragment has moved: what it has gone from the other side counts."""
        return self.width_mm / 2 + max(self.width_mm / 2, float(self.shift_mm @ self.normal))

    def side(self, points: Points) -> Field:
        """Return the distance from the rough surface in mm, positive on the fragment's side."""
        u, v, flat = points.coordinates(self.centre_mm, [*in_plane(self.normal), self.normal])
        for amplitude, number, phase, angle in self.waves.astype(np.float32):
            flat = flat + amplitude * np.sin(number * (np.cos(angle) * u + np.sin(angle) * v) + phase)
        return np.asarray(flat, np.float32)

    def within(self, points: Points) -> npt.NDArray[np.bool_]:
        """Tell which points lie in the box within which bone is broken."""
        x, y, z = points.coordinates(self.centre_mm)
        a, b, c = (np.float32(half) for half in self.half_mm)
        return np.asarray((np.abs(x) <= a) & (np.abs(y) <= b) & (np.abs(z) <= c))

    def half_gap(self, points: Points) -> Field:
        """Return half the gap's width in mm: full amid the surface, nothing at its end."""
        x, y, z = points.coordinates(self.centre_mm)
        square = x * x + y * y + z * z
        share = np.clip(1 - square / np.float32(self.extent_mm**2), 0, 1)
        return np.asarray(np.float32(self.width_mm / 2) * np.sqrt(share), np.float32)

    def inverse_warp(self, points: Points) -> Points:
        """Return where the bone at these points of the fragment was before it moved."""
        x, y, z = points.coordinates(self.centre_mm)
        share = self._share((x, y, z))
        a, b, c = (np.float32(angle) for angle in self.turn_rad)
        turned = (b * z - c * y, c * x - a * z, a * y - b * x)
        moved = [
            values + np.float32(place) - share * (part + np.float32(shift))
            for values, place, part, shift in zip((x, y, z), self.centre_mm, turned, self.shift_mm, strict=True)
        ]
        if self.crush_mm:
            back = np.float32(self.half_mm[1])
            wedge = np.clip((back - y) / np.float32(2 * back - _FRONT_MM), 0, 1)
            moved[2] = moved[2] + share * np.float32(self.crush_mm) * wedge
        return Cloud(moved[0], moved[1], moved[2])

    def _share(self, offsets: Sequence[Field]) -> Field | np.float32:
        """Return how far bone at some way from the centre goes along with the fragment."""
        if self.through:
            return np.float32(1.0)
        halves = self.half_mm.astype(np.float32)
        reach: list[Field] = [np.abs(offset) / half for offset, half in zip(offsets, halves, strict=True)]
        if self.crush_mm:  # all of what lies above sinks, and what grows from its sides bends
            aside, above = 1 - smoothstep(reach[0], 0.85, 1.0), 1 - smoothstep(reach[2], 0.45, 0.95)
            if self.kind not in _SUNK_BODIES:  # those end behind, where they have not sunk
                aside = aside * (1 - smoothstep(reach[1], 0.85, 1.0))
            return np.asarray(aside * above, np.float32)
        return np.asarray(1 - smoothstep(np.maximum(np.maximum(reach[0], reach[1]), reach[2]), 0.45, 0.95))


@dataclass(frozen=True)
class Site:
    """Where a kind of fracture runs; of those with a side, the left one.

    Attributes
    ----------
    share : float
        Of this kind among the level's fractures.
    half_mm : (float, float, float)
        Half the sides of the box about the centre that holds the fragment's broken end.
    paired : bool
        Whether both sides break at once.
    loose : bool
        Whether the fragment is wholly within the box and moves as one.
    crush : bool
        Whether bone is driven into bone.
    impacted : float
        How often it is so where the fragment else is parted.
    """

    kind: str
    share: float
    centre: Place
    normal: tuple[float, float, float]
    half_mm: tuple[float, float, float]
    paired: bool = False
    loose: bool = False
    crush: bool = False
    impacted: float = 0.0


def sites(level: Level, person: Person) -> tuple[Site, ...]:
    """Return the kinds of fracture of a level, with their shares as in the project's design notes."""
    measures, traits = person.measures[level], person.traits[level]
    if level == "C1":
        return _atlas_sites(measures, person.measures["C2"]["dens depth"])
    if level == "C2":
        return _axis_sites(measures)
    return _subaxial_sites(measures, landmarks(level, measures, traits))


def _atlas_sites(measures: Mapping[str, float], dens_depth: float) -> tuple[Site, ...]:
    front = front_of_canal(dens_depth)
    back = front + measures["canal depth"]
    behind, before = np.array([10.5, back - 3.0, 0.0]), np.array([8.0, front - 2.0, 0.0])
    return (
        Site("posterior arch", 0.35, behind, (0.85, -0.5, 0.0), (8.0, 8.0, 8.0)),
        Site("anterior arch", 0.20, before, (0.95, 0.3, 0.0), (6.0, 7.0, 8.0)),
        Site("Jefferson burst", 0.30, np.array([9.5, 0.5 * (front + back), 0.0]), (1.0, 0.0, 0.0), (30.0, 30.0, 14.0),
             paired=True, loose=True),  # one plane through both arches, the lateral mass beside it
        Site("lateral mass", 0.15, np.array([17.0, 1.0, 0.0]), (0.7, 0.7, 0.1), (9.0, 11.0, 9.0)),
    )  # fmt: skip


def _axis_sites(measures: Mapping[str, float]) -> tuple[Site, ...]:
    foot, height = dens_foot(measures), measures["dens height"]
    lean, half = np.tan(np.radians(DENS_LEAN_DEG)), measures["dens width"] / 2 + 1.0
    tip = np.array([0.0, 0.75 * height * lean - 1.0, foot + 0.75 * height])
    neck = np.array([0.0, 4.6 * lean - 1.0, foot + 4.6])  # above the facets' masses, or these would hold it
    part = np.array([0.5 * measures["canal width"] + 4.5, 7.5, -1.0])
    return (
        Site("dens type I", 0.02, tip, (0.1, 0.2, 0.97), (7.0, 7.0, 8.0), loose=True),
        Site("dens type II", 0.54, neck, (0.0, 0.2, 0.98), (half, 10.0, height + 3.0), loose=True, impacted=0.1),
        Site("dens type III", 0.23, np.array([0.0, 0.0, foot - 4.0]), (0.0, 0.15, 0.99), (11.0, 9.0, 12.0),
             impacted=0.25),
        Site("hangman", 0.11, part, (0.4, 0.9, 0.1), (7.0, 7.0, 9.0), paired=True),
        Site("body", 0.05, np.array([0.0, 0.0, -3.0]), (0.95, 0.2, 0.2), (9.0, 9.0, 10.0)),
        Site("lamina", 0.05, np.array([8.0, 19.0, -5.0]), (-0.75, 0.66, 0.0), (7.0, 7.0, 9.0)),
    )  # fmt: skip


def _subaxial_sites(measures: Mapping[str, float], at: Landmarks) -> tuple[Site, ...]:
    width, height = measures["body width"] / 2, measures["body height"] / 2
    lamina = 0.5 * (at.pillar + by(-2.5, 3.5, -2.0)) + 0.5 * at.lamina
    spinous = at.root + 0.55 * (at.tip - at.root)
    pedicle = np.array([0.5 * (width - 2.0 + at.pillar[0]), at.back + 1.0, 1.0])
    length = float(np.linalg.norm(at.tip - at.root))
    outer = at.front * 0.5 + at.behind * 0.5 - by(1.5, 0.0, 0.0)  # beyond the pillar
    lower_front = np.array([0.0, -at.back + 3.2, -height + 3.0])
    return (
        Site("body compression", 0.17, np.array([0.0, -2.0, 0.25 * height]), (0.0, -0.15, 0.99),
             (width + 2.0, at.back + 1.0, height + 5.0), crush=True),
        Site("body burst", 0.09, np.array([0.0, 1.0, 0.0]), (0.96, 0.2, 0.1), (width, at.back + 1.5, height + 2.0)),
        Site("teardrop", 0.09, lower_front, (0.0, -0.75, -0.66), (width * 0.8, 5.5, 6.0)),
        Site("facet", 0.20, at.pillar, (0.0, 0.4, 0.92), (8.0, 9.0, 10.0), impacted=0.2),
        Site("lamina", 0.17, lamina, (-0.75, 0.66, 0.0), (7.0, 7.0, 9.0)),
        Site("pedicle", 0.07, pedicle, (0.85, 0.5, 0.0), (5.5, 6.0, 7.0)),
        Site("spinous process", 0.14, spinous, (0.0, float(at.away[1]), float(at.away[2])),
             (8.0, 0.75 * length, 0.6 * length + 6.0), loose=True),
        Site("transverse process", 0.07, outer, (0.95, 0.2, -0.1), (6.5, 8.0, 7.0), loose=True),
    )  # fmt: skip


BURST: Final = "body burst"
JEFFERSON: Final = "Jefferson burst"

BLEEDING: Final = frozenset(
    {"anterior arch", JEFFERSON, "lateral mass", "dens type I", "dens type II", "dens type III", "hangman", "body",
     "body compression", BURST, "teardrop", "facet", "pedicle"}
)  # fmt: skip
"""Kinds that bleed into the tissue before the spine; behind the canal blood goes elsewhere."""

PARTIAL: Final = 0.35
"""Share of fractures whose crack ends within the bone."""

_SECOND: Final = 0.2
"""Share of broken vertebrae with a fracture of a second kind."""

_IMPACTED_MM: Final = (0.8, 2.5)


def draw_fractures(
    level: Level,
    person: Person,
    settings: PhantomSettings,
    rng: np.random.Generator,
    *,
    kind: str | None = None,
) -> tuple[Fracture, ...]:
    """Draw the fractures of a broken vertebra: one kind, sometimes two.

    Parameters
    ----------
    level : str
        C1 to C7.
    person : Person
        Whose vertebra.
    settings : PhantomSettings
        Widths, displacements and the mix of kinds.
    rng : numpy Generator
        Where chance comes from.
    kind : str, optional
        Draw one fracture of this kind; those of `sites`.

    Raises
    ------
    ValueError
        The level has no fractures of this kind.
    """
    choices = sites(level, person)
    if kind is not None:
        choices = tuple(site for site in choices if site.kind == kind)
        if not choices:
            raise ValueError(f"{level} has no fractures of the kind {kind!r}")
        return _fracture(choices[0], settings, rng)
    weights = np.array([site.share * settings.fracture_mix.get(site.kind, 1.0) for site in choices])
    several = rng.random() < _SECOND and np.count_nonzero(weights) > 1
    chosen = rng.choice(len(choices), size=1 + several, replace=False, p=weights / weights.sum())
    return tuple(fracture for number in chosen.tolist() for fracture in _fracture(choices[number], settings, rng))


def _fracture(site: Site, settings: PhantomSettings, rng: np.random.Generator) -> tuple[Fracture, ...]:
    """Draw a fracture of one kind: one crack, or several."""
    first_side = 1.0 if site.centre[0] == 0.0 else float(rng.choice(SIDES))
    crushed = site.crush or bool(rng.random() < site.impacted)
    bursts = site.kind in {BURST, JEFFERSON}  # what ends within the bone bursts nothing
    partial = not crushed and not bursts and bool(rng.random() < PARTIAL)
    site = replace(site, crush=crushed)
    sides = (1.0, -1.0) if site.paired else (first_side,)
    fractures = tuple(_crack(site, side, settings, rng, partial=partial) for side in sides)
    if site.kind == BURST:
        return (*fractures, *_burst(fractures[0], settings, rng))
    return tuple(_spread(fracture, settings, rng) for fracture in fractures) if site.kind == JEFFERSON else fractures


def _spread(fracture: Fracture, settings: PhantomSettings, rng: np.random.Generator) -> Fracture:
    """Return a crack of a burst ring, whose lateral mass goes outwards as one."""
    out = float(rng.uniform(0.25, 1.0)) * max(settings.displacement_mm[1], 1.0)
    shift = by(float(np.sign(fracture.centre_mm[0])) * out, 0.0, 0.0)
    return replace(fracture, shift_mm=shift, half_mm=fracture.half_mm + np.abs(shift), turn_rad=np.zeros(3))


def _burst(split: Fracture, settings: PhantomSettings, rng: np.random.Generator) -> tuple[Fracture, ...]:
    """Return what else is broken in a burst body: it has sunk, and its back is driven into the canal."""
    half = split.half_mm
    driven = float(rng.uniform(0.5, 1.0)) * max(settings.displacement_mm[1], 1.0)
    back = replace(
        split,
        centre_mm=split.centre_mm + by(0.0, 0.35 * half[1], 0.0),
        normal=np.array([0.0, 1.0, 0.0]),
        half_mm=half * by(0.55, 0.65, 0.9),
        shift_mm=np.array([0.0, driven, 0.0]),
        turn_rad=np.zeros(3),
    )
    sunk = replace(
        split,
        centre_mm=split.centre_mm + by(0.0, 0.0, 0.25 * half[2]),
        normal=np.array([0.0, 0.0, 1.0]),
        half_mm=half + by(2.0, 0.0, 3.0),
        width_mm=0.0,
        shift_mm=np.zeros(3),
        turn_rad=np.zeros(3),
        crush_mm=float(rng.uniform(*settings.crush_mm)),
    )
    return back, sunk


def _crack(site: Site, side: float, settings: PhantomSettings, rng: np.random.Generator, *, partial: bool) -> Fracture:
    mirror = np.array([side, 1.0, 1.0])
    normal = np.asarray(site.normal) * mirror + rng.normal(0.0, 0.1, 3)
    normal /= np.linalg.norm(normal)
    half = np.asarray(site.half_mm, float)
    low, high = np.log(settings.gap_mm)
    width = float(np.exp(rng.uniform(low, high)))
    slide = rng.normal(0.0, 1.0, 3)
    slide -= (slide @ normal) * normal
    moved = float(rng.uniform(*settings.displacement_mm)) * (0.0 if partial else rng.random())
    shift = slide / np.linalg.norm(slide) * moved + normal * width * (0.0 if partial or site.crush else 0.5)
    turn = rng.normal(0.0, np.radians(4.0), 3) * (moved > 0)
    if site.loose and not partial:
        half = half + np.abs(shift)  # so that it is not cut off where it has gone
    extent = float(np.linalg.norm(half)) * 2.0
    if partial:
        extent = float(half.min()) * rng.uniform(0.6, 1.0)
    waves = np.column_stack(
        [rng.uniform(0.1, 0.45, 4), rng.uniform(0.2, 1.8, 4), rng.uniform(0, 2 * np.pi, 4), rng.uniform(0, np.pi, 4)]
    )
    waves[:, 0] *= np.minimum(0.5 / waves[:, 1], 1.0)
    centre = np.asarray(site.centre) * mirror + rng.normal(0.0, 0.5, 3)
    if partial:  # the crack lies towards one side of the bone, through whose surface it comes
        across, up = in_plane(normal)
        angle = rng.uniform(0, 2 * np.pi)
        centre = centre + (np.cos(angle) * across + np.sin(angle) * up) * half.min() * 0.4
    crush = 0.0
    if site.crush:
        sunk = settings.crush_mm if site.impacted == 0.0 else _IMPACTED_MM
        crush, shift, turn, width = float(rng.uniform(*sunk)), np.zeros(3), np.zeros(3), 0.0
    return Fracture(
        site.kind, centre, normal, half, width, extent, shift, turn, site.loose and not partial, crush, waves
    )


def in_plane(normal: Place) -> tuple[Place, Place]:
    """Return two unit vectors that span the plane with this normal."""
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    across = np.cross(normal, helper)
    across /= np.linalg.norm(across)
    return across, np.cross(normal, across)
