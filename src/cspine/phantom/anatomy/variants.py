"""Findings other than fractures, some of which mimic fractures: degeneration, variants, old fractures, vessels.

None of them is among the fractures of the truth, which lists them by name.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats
from cspine.phantom.anatomy.atlas import canal_front_y
from cspine.phantom.anatomy.axis import AXIS_WIDTH_MM, dens_base_z
from cspine.phantom.anatomy.calcifications import draw_calcifications, ribs
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.mimic import name_without_levels, named_levels
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame, disc_space
from cspine.phantom.anatomy.subaxial import PILLAR_HALF_MM, SUBAXIAL, landmarks_of
from cspine.phantom.fractures.fracture import Fracture, in_plane
from cspine.phantom.fractures.fractured_bone import Defects
from cspine.phantom.fractures.old_fractures import (
    HEALED_COMPRESSION,
    OLD_FRACTURE,
    draw_old_fracture,
    name_old_fracture,
)
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

ATLAS_CLEFT: Final = "cleft of the atlas"
ANTERIOR_ATLAS_CLEFT: Final = "anterior cleft of the atlas"
OS_ODONTOIDEUM: Final = "os odontoideum"
UNFUSED_APOPHYSIS: Final = "unfused apophysis"

PREVALENCE: Final[Mapping[str, float]] = {
    "basivertebral canal": 0.6,  # of each body, wide enough to be visible
    "nutrient canal": 0.12,  # of each body, elsewhere
    "block vertebra": 0.02,
    ATLAS_CLEFT: 0.035,  # of its posterior arch; 4 % of people (Currarino 1994 and later series)
    UNFUSED_APOPHYSIS: 0.05,
    OLD_FRACTURE: 0.1,
    ANTERIOR_ATLAS_CLEFT: 0.005,
    OS_ODONTOIDEUM: 0.005,
}
"""Probability of each; where the literature gives no figure, frequent enough for a network to learn it."""


NO_FRACTURE_TYPE: Final = "old"
"""Type of the surface of a corticated gap that never was a fracture."""

_GAP_NAMES: Final = {OLD_FRACTURE, HEALED_COMPRESSION, UNFUSED_APOPHYSIS}
"""Names of the variants that are corticated gaps, or came from them, without their levels."""


@dataclass(frozen=True)
class Variants:
    """The variants of one neck.

    Attributes
    ----------
    parts : dict
        Level to solids that are added to a vertebra or cut out of it, and then covered by cortex.
    vascular_canals : dict
        Level to solids that are cut out of it without a cortex of their own.
    corticated_gaps : dict
        Level to gaps lined by cortical bone: old fractures, unfused apophyses.
    hard_tissues : tuple of HardTissue
        Calcified ligaments and vessels, and ribs.
    names : tuple of str
        Names of the variants, for the truth.
    """

    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    vascular_canals: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    corticated_gaps: Mapping[str, tuple[Fracture, ...]] = field(default_factory=dict)
    hard_tissues: tuple[HardTissue, ...] = ()
    names: tuple[str, ...] = ()

    def sparing(self, levels: Collection[str]) -> "Variants":
        """Return the variants without corticated gaps in some vertebrae, whose fractures would lie in them."""
        gaps = {level: surfaces for level, surfaces in self.corticated_gaps.items() if level not in levels}
        names = tuple(name for name in self.names if not _is_gap_of(name, levels))
        return replace(self, corticated_gaps=gaps, names=names)

    def old_fracture_types(self, level: str) -> tuple[str, ...]:
        """Return the types of the old fracture of a vertebra, one or two; none where it has none."""
        types = dict.fromkeys(surface.fracture_type for surface in self.corticated_gaps.get(level, ()))
        return tuple(name for name in types if name != NO_FRACTURE_TYPE)

    def defects(self, level: str) -> Defects:
        """Return the canals and the corticated gaps of a vertebra."""
        return Defects(self.vascular_canals.get(level, ()), self.corticated_gaps.get(level, ()))


def _is_gap_of(name: str, levels: Collection[str]) -> bool:
    if name == OS_ODONTOIDEUM:
        return "C2" in levels
    return name_without_levels(name) in _GAP_NAMES and bool(set(named_levels(name)) & set(levels))


def draw_variants(person: Person, frames: Mapping[str, Frame], rng: np.random.Generator) -> Variants:
    """Draw the variants of a neck; degeneration and calcification increase with age.

    Parameters
    ----------
    person : Person
        Whose age and measures are used.
    frames : dict
        Level to the frame of the vertebra.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    parts: dict[str, list[Part]] = {level: [] for level in frames}
    canals: dict[str, list[Part]] = {level: [] for level in frames}
    names: list[str] = []
    for level in SUBAXIAL:
        osteophytes = _osteophytes(person, level, rng)
        parts[level] += osteophytes
        if osteophytes:
            names.append(f"osteophytes {level}")
        if rng.random() < PREVALENCE["basivertebral canal"]:
            canals[level].append(_basivertebral_canal(person, level, rng))
            names.append(f"basivertebral canal {level}")
        if rng.random() < PREVALENCE["nutrient canal"]:
            canals[level].append(_nutrient_canal(person, level, rng))
            names.append(f"nutrient canal {level}")
    if rng.random() < PREVALENCE["block vertebra"]:
        level = str(rng.choice(["C2", "C3", "C4", "C5", "C6"]))
        parts[level] += fusion_parts(person, level)
        names.append(f"block vertebra below {level}")
    parts["C1"] += _atlas_clefts(person, rng, names)
    gaps = _draw_corticated_gaps(person, rng, names)
    hard_tissues = (*ribs(person, frames), *draw_calcifications(person, frames, rng, names))
    return Variants(_as_tuples(parts), _as_tuples(canals), gaps, hard_tissues, tuple(names))


def _as_tuples(parts: Mapping[str, list[Part]]) -> dict[str, tuple[Part, ...]]:
    return {level: tuple(of_level) for level, of_level in parts.items()}


def _atlas_clefts(person: Person, rng: np.random.Generator, names: list[str]) -> list[Part]:
    """Draw clefts of the posterior and the anterior arch, whose names are appended."""
    clefts = []
    dens_depth = person.measures["C2"]["dens depth"]
    if rng.random() < PREVALENCE[ATLAS_CLEFT]:
        back = person.measures["C1"]["canal depth"] - dens_depth / 2
        cleft = Ellipsoid(vector(rng.normal(0, 1.0), back, 0.0), (rng.uniform(0.8, 3.0), 9.0, 12.0))
        clefts.append(Part(cleft, 1.0, is_cutout=True))
        names.append(ATLAS_CLEFT)
    if rng.random() < PREVALENCE[ANTERIOR_ATLAS_CLEFT]:
        front = canal_front_y(dens_depth)
        cleft = Ellipsoid(vector(rng.normal(0, 1.0), front - 3.0, 0.0), (rng.uniform(0.8, 2.0), 7.0, 12.0))
        clefts.append(Part(cleft, 1.0, is_cutout=True))
        names.append(ANTERIOR_ATLAS_CLEFT)
    return clefts


def _draw_corticated_gaps(
    person: Person, rng: np.random.Generator, names: list[str]
) -> dict[str, tuple[Fracture, ...]]:
    """Draw unfused apophyses, old fractures and an os odontoideum, by level; their names are appended."""
    gaps: dict[str, tuple[Fracture, ...]] = {}
    if rng.random() < PREVALENCE[UNFUSED_APOPHYSIS]:
        level = str(rng.choice(SUBAXIAL))
        gaps[level] = (_unfused_apophysis(person, level, rng),)
        names.append(f"{UNFUSED_APOPHYSIS} {level}")
    if rng.random() < PREVALENCE[OLD_FRACTURE]:
        own = rng.spawn(1)[0]  # what is drawn after it does not depend on it
        old = VERTEBRAE[int(own.integers(len(VERTEBRAE)))]
        surfaces = draw_old_fracture(old, person, own)
        gaps[old] = (*gaps.get(old, ()), *surfaces)
        names.append(f"{name_old_fracture(surfaces)} {old}")
    if rng.random() < PREVALENCE[OS_ODONTOIDEUM]:
        gaps["C2"] = (*gaps.get("C2", ()), _os_odontoideum(person, rng))
        names.append(OS_ODONTOIDEUM)
    return gaps


def _osteophytes(person: Person, level: str, rng: np.random.Generator) -> list[Part]:
    """Draw osteophytes at the endplates of a body, and hypertrophic facet joints."""
    measures, at = person.measures[level], landmarks_of(person, level)
    severity = person.degeneration * {"C5": 1.3, "C6": 1.3, "C4": 1.0}.get(level, 0.7)
    half, height = measures["body width"] / 2, measures["body height"] / 2
    spurs = []
    for _ in range(rng.poisson(5.0 * severity**2)):
        angle, up = rng.uniform(-0.55, 0.55) * np.pi, float(rng.choice([-1.0, 1.0]))
        rim = vector(half * np.sin(angle) * 1.02, -at.body_back_y * np.cos(angle) * 1.04, up * (height - 0.3))
        size = rng.uniform(0.8, 1.2 + 2.4 * severity)
        spurs.append(Part(Ellipsoid(rim, (size * 1.3, size * 1.1, size * 0.75)), 1.5))
    for side in SIDES:
        if rng.random() < 0.5 * severity:
            lump = at.pillar * (side, 1.0, 1.0) + vector(side * 1.5, rng.uniform(-3, 4), rng.uniform(-5, 5))
            spurs.append(Part(Ellipsoid(lump, (5.5, 4.5 + 2.0 * severity, 4.0)), 2.5))
    return spurs


def _basivertebral_canal(person: Person, level: str, rng: np.random.Generator) -> Part:
    """Draw the canal of the basivertebral vein, from the posterior wall to the center of a body."""
    back = landmarks_of(person, level).body_back_y
    width = rng.uniform(0.5, 1.3)
    start, end = (
        vector(0.0, back + 2.0, rng.normal(0, 0.5)),
        vector(rng.normal(0, 0.8), -0.3 * back, rng.normal(0, 0.5)),
    )
    return Part(Rod(start, end, (width, 0.25), 1.3), 0.3, is_cutout=True)


def _nutrient_canal(person: Person, level: str, rng: np.random.Generator) -> Part:
    """Draw the thin straight canal of a nutrient vessel, from the anterior wall of a body inward."""
    at = landmarks_of(person, level)
    side = float(rng.choice(SIDES))
    start = vector(side * rng.uniform(1, 6), -at.body_back_y - 1.0, rng.normal(0, 1.5))
    end = vector(side * rng.uniform(0, 3), rng.uniform(-2, 3), rng.normal(0, 1.5))
    return Part(Rod(start, end, (rng.uniform(0.35, 0.7), 0.2)), 0.2, is_cutout=True)


def fusion_parts(person: Person, level: str) -> list[Part]:
    """Return bone in place of the disc and of the facet joints below a level."""
    measures = person.measures[level]
    width = measures.get("body width", AXIS_WIDTH_MM)
    drop = measures["body height"] / 2 + disc_space(person, level) / 2
    depth = measures["body depth below"] / 2
    radii = (0.46 * width, 0.95 * depth, disc_space(person, level) + 1.0)
    joint = vector(measures["canal width"] / 2 + PILLAR_HALF_MM, depth + 6.4, -0.5 * measures["body height"] - 1.5)
    joints = [Ellipsoid(joint * (side, 1.0, 1.0), (4.8, 4.5, 4.5)) for side in SIDES]
    return [Part(solid, 2.0) for solid in (Ellipsoid(vector(0.0, 0.0, -drop), radii), *joints)]


def _corticated_gap(center: Floats, normal: Floats, half: Floats, width: float, rng: np.random.Generator) -> Fracture:
    """Draw a smooth gap with a slightly displaced fragment; the parameters are those of `Fracture`."""
    across, _ = in_plane(normal)
    roughness = np.column_stack(
        [rng.uniform(0.1, 0.4, 2), rng.uniform(0.1, 0.4, 2), rng.uniform(0, 6.28, 2), rng.uniform(0, 3.14, 2)]
    )
    return Fracture(
        NO_FRACTURE_TYPE, center, normal, half, width, 3 * float(half.max()),
        across * rng.normal(0, 0.6) + normal * width / 2,
        np.zeros(3), is_loose=True, height_loss_mm=0.0, roughness=roughness,
    )  # fmt: skip


def _unfused_apophysis(person: Person, level: str, rng: np.random.Generator) -> Fracture:
    """Draw an open apophysis: of the spinous process, a transverse process, or an anterior corner of the body."""
    at = landmarks_of(person, level)
    width, site = rng.uniform(0.8, 2.0), rng.integers(3)
    if site == 0:
        return _corticated_gap(
            at.spinous_tip - 4.0 * at.spinous_direction, at.spinous_direction, np.array([8.0, 9.0, 10.0]), width, rng
        )
    side = float(rng.choice(SIDES))
    if site == 1:
        tip = (at.posterior_tubercle - vector(3.0, 0.0, 0.0)) * (side, 1.0, 1.0)
        return _corticated_gap(tip, np.array([side * 0.95, 0.2, -0.2]), np.array([6.0, 7.0, 7.0]), width, rng)
    corner = vector(
        rng.normal(0, 2.0), -at.body_back_y + 2.2, rng.choice(SIDES) * (person.measures[level]["body height"] / 2 - 2.0)
    )
    normal = np.array([0.0, -0.75, 0.66 * np.sign(corner[2])])
    return _corticated_gap(corner, normal, np.array([9.0, 4.5, 4.5]), width, rng)


def _os_odontoideum(person: Person, rng: np.random.Generator) -> Fracture:
    """Draw an os odontoideum: a wide smooth gap between the dens and the body of C2."""
    measures = person.measures["C2"]
    height = measures["dens height"]
    center = vector(0.0, -0.4, dens_base_z(measures) + rng.uniform(4.0, 6.0))
    return _corticated_gap(
        center, np.array([0.0, 0.14, 0.99]), np.array([7.5, 10.0, height + 3.0]), rng.uniform(1.5, 3.5), rng
    )
