"""What makes necks differ besides size, and may be taken for a fracture: wear, variants, old injuries, calcium.

None of it is a fracture, and none of it is in the truth's fractures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from cspine.phantom.anatomy.atlas import front_of_canal
from cspine.phantom.anatomy.axis import AXIS_WIDTH_MM, dens_foot
from cspine.phantom.anatomy.grid import Part, rods
from cspine.phantom.anatomy.head import Hard
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame, disc_space
from cspine.phantom.anatomy.solids import SIDES, Ellipsoid, Place, Rod, by
from cspine.phantom.anatomy.subaxial import PILLAR_HALF_MM, Landmarks, landmarks
from cspine.phantom.fractures.breaking import Flaws
from cspine.phantom.fractures.fracture import Fracture, in_plane

_SUBAXIAL: Final = ("C3", "C4", "C5", "C6", "C7")
_OLD: Final = 55
"""Years from which on ligaments and vessels turn to stone."""

CHANCES: Final[Mapping[str, float]] = {
    "basivertebral canal": 0.6,  # of each body, wide enough to be seen
    "nutrient canal": 0.12,  # of each body, elsewhere
    "block vertebra": 0.02,
    "cleft of the atlas": 0.035,  # of its posterior arch; 4 % of people (Currarino 1994 and later series)
    "unfused apophysis": 0.05,
    "old fracture": 0.05,
    "nuchal calcification": 0.07,
    "ossified anterior ligament": 0.12,  # of the old
    "ossified posterior ligament": 0.025,
    "ossified stylohyoid ligament": 0.05,
    "calcified carotid": 0.5,  # of the old
    "anterior cleft of the atlas": 0.005,
    "os odontoideum": 0.005,
}
"""How often each is drawn; where the literature gives no figure, often enough to be learnt."""


@dataclass(frozen=True)
class Variants:
    """One neck's peculiarities.

    Attributes
    ----------
    parts : dict
        Level to what is added to a vertebra, or cut out of it.
    holes : dict
        Level to what is cut out of it without a shell: vessels' canals.
    old : dict
        Level to gaps whose edges are lined by compact bone: old fractures, unfused apophyses.
    hard : tuple of Hard
        Calcified ligaments and vessels, ribs.
    names : tuple of str
        What was drawn, for the truth.
    """

    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    holes: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    old: Mapping[str, tuple[Fracture, ...]] = field(default_factory=dict)
    hard: tuple[Hard, ...] = ()
    names: tuple[str, ...] = ()

    def of(self, level: str) -> Flaws:
        """Return what of them is in a vertebra and no part of its shape."""
        return Flaws(self.holes.get(level, ()), self.old.get(level, ()))


def draw_variants(person: Person, frames: Mapping[str, Frame], rng: np.random.Generator) -> Variants:
    """Draw a neck's peculiarities; wear and calcium go with age."""
    parts: dict[str, list[Part]] = {level: [] for level in frames}
    holes: dict[str, list[Part]] = {level: [] for level in frames}
    names: list[str] = []
    for level in _SUBAXIAL:
        spurs = _osteophytes(person, level, rng)
        parts[level] += spurs
        if spurs:
            names.append(f"osteophytes {level}")
        if rng.random() < CHANCES["basivertebral canal"]:
            holes[level].append(_basivertebral_canal(person, level, rng))
            names.append(f"basivertebral canal {level}")
        if rng.random() < CHANCES["nutrient canal"]:
            holes[level].append(_nutrient_canal(person, level, rng))
            names.append(f"nutrient canal {level}")
    if rng.random() < CHANCES["block vertebra"]:
        level = str(rng.choice(["C2", "C3", "C4", "C5", "C6"]))
        parts[level] += _bridge(person, level)
        names.append(f"block vertebra below {level}")
    if rng.random() < CHANCES["cleft of the atlas"]:
        back = person.measures["C1"]["canal depth"] - person.measures["C2"]["dens depth"] / 2
        gap = Ellipsoid(by(rng.normal(0, 1.0), back, 0.0), (rng.uniform(0.8, 3.0), 9.0, 12.0))
        parts["C1"].append(Part(gap, 1.0, cut=True))
        names.append("cleft of the atlas")
    if rng.random() < CHANCES["anterior cleft of the atlas"]:
        front = front_of_canal(person.measures["C2"]["dens depth"])
        gap = Ellipsoid(by(rng.normal(0, 1.0), front - 3.0, 0.0), (rng.uniform(0.8, 2.0), 7.0, 12.0))
        parts["C1"].append(Part(gap, 1.0, cut=True))
        names.append("anterior cleft of the atlas")
    old: dict[str, tuple[Fracture, ...]] = {}
    for name, draw in (("unfused apophysis", _unfused), ("old fracture", _old_fracture)):
        if rng.random() < CHANCES[name]:
            level = str(rng.choice(_SUBAXIAL))
            old[level] = (*old.get(level, ()), draw(person, level, rng))
            names.append(f"{name} {level}")
    if rng.random() < CHANCES["os odontoideum"]:
        old["C2"] = (_os_odontoideum(person, rng),)
        names.append("os odontoideum")
    hard = [*_ribs(person, frames), *_calcium(person, frames, rng, names)]
    shaped, cut = ({level: tuple(found) for level, found in parts_.items()} for parts_ in (parts, holes))
    return Variants(shaped, cut, old, tuple(hard), tuple(names))


def _osteophytes(person: Person, level: str, rng: np.random.Generator) -> list[Part]:
    """Return spurs at the rims of a body, and swollen joints."""
    measures, at = person.measures[level], _at(person, level)
    worn = person.wear * {"C5": 1.3, "C6": 1.3, "C4": 1.0}.get(level, 0.7)
    half, height = measures["body width"] / 2, measures["body height"] / 2
    spurs = []
    for _ in range(rng.poisson(5.0 * worn**2)):
        angle, up = rng.uniform(-0.55, 0.55) * np.pi, float(rng.choice([-1.0, 1.0]))
        rim = by(half * np.sin(angle) * 1.02, -at.back * np.cos(angle) * 1.04, up * (height - 0.3))
        size = rng.uniform(0.8, 1.2 + 2.4 * worn)
        spurs.append(Part(Ellipsoid(rim, (size * 1.3, size * 1.1, size * 0.75)), 1.5))
    for side in SIDES:
        if rng.random() < 0.5 * worn:
            lump = at.pillar * (side, 1.0, 1.0) + by(side * 1.5, rng.uniform(-3, 4), rng.uniform(-5, 5))
            spurs.append(Part(Ellipsoid(lump, (5.5, 4.5 + 2.0 * worn, 4.0)), 2.5))
    return spurs


def _basivertebral_canal(person: Person, level: str, rng: np.random.Generator) -> Part:
    back = _at(person, level).back
    width = rng.uniform(0.5, 1.3)
    start, end = by(0.0, back + 2.0, rng.normal(0, 0.5)), by(rng.normal(0, 0.8), -0.3 * back, rng.normal(0, 0.5))
    return Part(Rod(start, end, (width, 0.25), 1.3), 0.3, cut=True)


def _nutrient_canal(person: Person, level: str, rng: np.random.Generator) -> Part:
    """Return a thin straight channel from the front of a body inwards, with smooth walls."""
    at = _at(person, level)
    side = float(rng.choice(SIDES))
    start = by(side * rng.uniform(1, 6), -at.back - 1.0, rng.normal(0, 1.5))
    end = by(side * rng.uniform(0, 3), rng.uniform(-2, 3), rng.normal(0, 1.5))
    return Part(Rod(start, end, (rng.uniform(0.35, 0.7), 0.2)), 0.2, cut=True)


def _bridge(person: Person, level: str) -> list[Part]:
    """Return bone in the place of the disc below a level, with a waist, and of the joints behind it."""
    measures = person.measures[level]
    width = measures.get("body width", AXIS_WIDTH_MM)
    drop = measures["body height"] / 2 + disc_space(person, level) / 2
    depth = measures["body depth below"] / 2
    radii = (0.46 * width, 0.95 * depth, disc_space(person, level) + 1.0)
    joint = by(measures["canal width"] / 2 + PILLAR_HALF_MM, depth + 6.4, -0.5 * measures["body height"] - 1.5)
    joints = [Ellipsoid(joint * (side, 1.0, 1.0), (4.8, 4.5, 4.5)) for side in SIDES]
    return [Part(solid, 2.0) for solid in (Ellipsoid(by(0.0, 0.0, -drop), radii), *joints)]


def _lined(centre: Place, normal: Place, half: Place, width: float, rng: np.random.Generator) -> Fracture:
    """Return a smooth gap with settled edges; the fragment is a little out of place."""
    across, _ = in_plane(normal)
    waves = np.column_stack(
        [rng.uniform(0.1, 0.4, 2), rng.uniform(0.1, 0.4, 2), rng.uniform(0, 6.28, 2), rng.uniform(0, 3.14, 2)]
    )
    return Fracture(
        "old", centre, normal, half, width, 3 * float(half.max()), across * rng.normal(0, 0.6) + normal * width / 2,
        np.zeros(3), through=True, crush_mm=0.0, waves=waves,
    )  # fmt: skip


def _unfused(person: Person, level: str, rng: np.random.Generator) -> Fracture:
    """Return a growth plate that never closed: of the spinous or transverse process, or a body's front corner."""
    at = _at(person, level)
    width, where = rng.uniform(0.8, 2.0), rng.integers(3)
    if where == 0:
        return _lined(at.tip - 4.0 * at.away, at.away, np.array([8.0, 9.0, 10.0]), width, rng)
    side = float(rng.choice(SIDES))
    if where == 1:
        tip = (at.behind - by(3.0, 0.0, 0.0)) * (side, 1.0, 1.0)
        return _lined(tip, np.array([side * 0.95, 0.2, -0.2]), np.array([6.0, 7.0, 7.0]), width, rng)
    corner = by(
        rng.normal(0, 2.0), -at.back + 2.2, rng.choice(SIDES) * (person.measures[level]["body height"] / 2 - 2.0)
    )
    normal = np.array([0.0, -0.75, 0.66 * np.sign(corner[2])])
    return _lined(corner, normal, np.array([9.0, 4.5, 4.5]), width, rng)


def _old_fracture(person: Person, level: str, rng: np.random.Generator) -> Fracture:
    """Return a spinous process that was broken once and never grew together."""
    at = _at(person, level)
    normal = at.away + rng.normal(0, 0.15, 3)
    centre = at.root + rng.uniform(0.4, 0.7) * (at.tip - at.root)
    return _lined(centre, normal / np.linalg.norm(normal), np.array([9.0, 20.0, 18.0]), rng.uniform(1.0, 2.5), rng)


def _os_odontoideum(person: Person, rng: np.random.Generator) -> Fracture:
    """Return a dens that never grew onto its body, or was broken off long ago: a wide smooth gap."""
    measures = person.measures["C2"]
    height = measures["dens height"]
    centre = by(0.0, -0.4, dens_foot(measures) + rng.uniform(4.0, 6.0))
    return _lined(centre, np.array([0.0, 0.14, 0.99]), np.array([7.5, 10.0, height + 3.0]), rng.uniform(1.5, 3.5), rng)


def _ribs(person: Person, frames: Mapping[str, Frame]) -> list[Hard]:
    """Return the beginnings of the first two ribs."""
    ribs = []
    for level in ("T1", "T2"):
        half, at = person.measures[level]["body width"] / 2, _at(person, level)
        for side in SIDES:
            mirror = np.array([side, 1.0, 1.0])
            way = [
                by(half + 3.5, at.back + 0.5, 3.5), by(at.front[0] - 4.0, at.front[1] - 4.0, 3.0),
                by(at.front[0] + 18.0, at.front[1] - 16.0, -4.0), by(at.front[0] + 22.0, at.front[1] - 44.0, -16.0),
            ]  # fmt: skip
            rib = rods([mirror * place for place in way], 3.4, 1.4)
            ribs.append(Hard(rib, 1.2, 1050.0, 250.0, frames[level].affine))
    return ribs


def _calcium(person: Person, frames: Mapping[str, Frame], rng: np.random.Generator, names: list[str]) -> list[Hard]:
    """Return calcified ligaments and vessels."""
    found = []
    if rng.random() < CHANCES["nuchal calcification"]:
        place = _at(person, "C6").tip + by(0.0, 5.0, rng.uniform(0, 14))
        size = rng.uniform(1.5, 4.0)
        found.append(Hard((Part(Ellipsoid(place, (1.5, size * 0.7, size))),), 0.8, 900.0, 450.0, frames["C6"].affine))
        names.append("nuchal calcification")
    if person.age > _OLD and rng.random() < CHANCES["ossified anterior ligament"]:
        found.append(_ossified(person, frames, rng, behind=False))
        names.append("ossified anterior ligament")
    if rng.random() < CHANCES["ossified posterior ligament"]:
        found.append(_ossified(person, frames, rng, behind=True))
        names.append("ossified posterior ligament")
    if rng.random() < CHANCES["ossified stylohyoid ligament"]:
        side = float(rng.choice(SIDES))
        way = [by(side * 26.0, -22.0, -12.0), by(side * 23.0, -32.0, -34.0)]
        found.append(Hard(rods(way, rng.uniform(1.0, 2.0)), 0.8, 900.0, 500.0, frames["C0"].affine))
        names.append("ossified stylohyoid ligament")
    if person.age > _OLD and rng.random() < CHANCES["calcified carotid"]:
        plaques = [_plaque(side, rng) for side in SIDES for _ in range(rng.integers(0, 4))]
        found += [Hard((plaque,), 1.0, 900.0, 700.0, frames["C4"].affine) for plaque in plaques]
        if plaques:
            names.append("calcified carotid")
    return found


def _plaque(side: float, rng: np.random.Generator) -> Part:
    spot = by(side * rng.uniform(21, 27), -9.0 + rng.normal(-9, 2), rng.normal(0, 8))
    size = rng.uniform(0.7, 2.0)
    return Part(Ellipsoid(spot, (size, size, 1.5 * size)))


def _ossified(person: Person, frames: Mapping[str, Frame], rng: np.random.Generator, *, behind: bool) -> Hard:
    """Return a longitudinal ligament of some levels turned to bone: before the bodies, or behind them in the canal."""
    first = int(rng.integers(0, len(_SUBAXIAL) - 1))
    levels = _SUBAXIAL[first : first + int(rng.integers(2, 5))]
    thick = rng.uniform(1.0, 2.2)
    way = []
    for level in levels:
        back, aside = _at(person, level).back, rng.normal(0.0, 1.0)
        y = back + 0.8 * thick if behind else -back - 0.8 * thick
        half = 0.5 * person.measures[level]["body height"]
        way += [frames[level].to_lps([aside, y, z]) for z in (half, -half)]
    return Hard(rods(way, thick, 2.2, (1, 0, 0)), 0.8, 950.0, 550.0)


def _at(person: Person, level: str) -> Landmarks:
    return landmarks(level, person.measures[level], person.traits[level])
