"""Types of fracture at each level: how frequent they are, and where they run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.anatomy import Level
from cspine.core.typing import Floats
from cspine.phantom.anatomy.atlas import canal_front_y
from cspine.phantom.anatomy.axis import DENS_TILT_DEG, dens_base_z
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.subaxial import Landmarks, landmarks_of
from cspine.phantom.geometry.points import vector

BURST: Final = "body burst"
JEFFERSON: Final = "Jefferson burst"

BLEEDING_TYPES: Final = frozenset(
    {"anterior arch", JEFFERSON, "lateral mass", "dens type I", "dens type II", "dens type III", "hangman", "body",
     "body compression", BURST, "teardrop", "facet", "pedicle"}
)  # fmt: skip
"""Types that cause prevertebral swelling; fractures of posterior elements bleed into other tissue."""


@dataclass(frozen=True)
class Site:
    """Where a type of fracture runs through a vertebra; on the left where it has a side.

    Attributes
    ----------
    fracture_type : str
        Name of the type, such as "dens type II".
    proportion : float
        Proportion of this type among the fractures of the level.
    center : (3,)
        A point of the fracture surface, in mm in the frame of the vertebra.
    normal : (float, float, float)
        Direction from the surface toward the fragment.
    half_extent_mm : (float, float, float)
        Half the sides of the box about the center to which the fracture is confined.
    is_bilateral : bool
        Whether both sides are always fractured.
    is_loose : bool
        Whether the fragment lies within the box and moves as a rigid body.
    is_impacted : bool
        Whether the fragment is always impacted.
    p_impacted : float
        Probability that it is impacted where `is_impacted` is false.
    """

    fracture_type: str
    proportion: float
    center: Floats
    normal: tuple[float, float, float]
    half_extent_mm: tuple[float, float, float]
    is_bilateral: bool = False
    is_loose: bool = False
    is_impacted: bool = False
    p_impacted: float = 0.0


def sites(level: Level, person: Person) -> tuple[Site, ...]:
    """Return the types of fracture of a level, in the proportions of docs/concepts/phantom.md.

    Parameters
    ----------
    level : str
        Name of the vertebra, C1 to C7.
    person : Person
        Whose measures place them.
    """
    measures = person.measures[level]
    if level == "C1":
        return _atlas_sites(measures, person.measures["C2"]["dens depth"])
    if level == "C2":
        return _axis_sites(measures)
    return _subaxial_sites(measures, landmarks_of(person, level))


def _atlas_sites(measures: Mapping[str, float], dens_depth: float) -> tuple[Site, ...]:
    front = canal_front_y(dens_depth)
    back = front + measures["canal depth"]
    behind, before = np.array([10.5, back - 3.0, 0.0]), np.array([8.0, front - 2.0, 0.0])
    return (
        Site("posterior arch", 0.35, behind, (0.85, -0.5, 0.0), (8.0, 8.0, 8.0)),
        Site("anterior arch", 0.20, before, (0.95, 0.3, 0.0), (6.0, 7.0, 8.0)),
        Site("Jefferson burst", 0.30, np.array([9.5, 0.5 * (front + back), 0.0]), (1.0, 0.0, 0.0), (30.0, 30.0, 14.0),
             is_bilateral=True, is_loose=True),  # one plane through both arches, medial to the lateral mass
        Site("lateral mass", 0.15, np.array([17.0, 1.0, 0.0]), (0.7, 0.7, 0.1), (9.0, 11.0, 9.0)),
    )  # fmt: skip


def _axis_sites(measures: Mapping[str, float]) -> tuple[Site, ...]:
    foot, height = dens_base_z(measures), measures["dens height"]
    lean, half = np.tan(np.radians(DENS_TILT_DEG)), measures["dens width"] / 2 + 1.0
    tip = np.array([0.0, 0.75 * height * lean - 1.0, foot + 0.75 * height])
    neck = np.array([0.0, 4.6 * lean - 1.0, foot + 4.6])  # above the superior facets, which would hold the fragment
    part = np.array([0.5 * measures["canal width"] + 4.5, 7.5, -1.0])
    return (
        Site("dens type I", 0.02, tip, (0.1, 0.2, 0.97), (7.0, 7.0, 8.0), is_loose=True),
        Site("dens type II", 0.54, neck, (0.0, 0.2, 0.98), (half, 10.0, height + 3.0), is_loose=True, p_impacted=0.1),
        Site("dens type III", 0.23, np.array([0.0, 0.0, foot - 4.0]), (0.0, 0.15, 0.99), (11.0, 9.0, 12.0),
             p_impacted=0.25),
        Site("hangman", 0.11, part, (0.4, 0.9, 0.1), (7.0, 7.0, 9.0), is_bilateral=True),
        Site("body", 0.05, np.array([0.0, 0.0, -3.0]), (0.95, 0.2, 0.2), (9.0, 9.0, 10.0)),
        Site("lamina", 0.05, np.array([8.0, 19.0, -5.0]), (-0.75, 0.66, 0.0), (7.0, 7.0, 9.0)),
    )  # fmt: skip


def _subaxial_sites(measures: Mapping[str, float], at: Landmarks) -> tuple[Site, ...]:
    width, height = measures["body width"] / 2, measures["body height"] / 2
    lamina = 0.5 * (at.pillar + vector(-2.5, 3.5, -2.0)) + 0.5 * at.lamina
    spinous = at.spinous_root + 0.55 * (at.spinous_tip - at.spinous_root)
    pedicle = np.array([0.5 * (width - 2.0 + at.pillar[0]), at.body_back_y + 1.0, 1.0])
    length = float(np.linalg.norm(at.spinous_tip - at.spinous_root))
    outer = at.anterior_tubercle * 0.5 + at.posterior_tubercle * 0.5 - vector(1.5, 0.0, 0.0)  # lateral to the pillar
    lower_front = np.array([0.0, -at.body_back_y + 3.2, -height + 3.0])
    return (
        Site("body compression", 0.17, np.array([0.0, -2.0, 0.25 * height]), (0.0, -0.15, 0.99),
             (width + 2.0, at.body_back_y + 1.0, height + 5.0), is_impacted=True),
        Site("body burst", 0.09, np.array([0.0, 1.0, 0.0]), (0.96, 0.2, 0.1),
             (width, at.body_back_y + 1.5, height + 2.0)),
        Site("teardrop", 0.09, lower_front, (0.0, -0.75, -0.66), (width * 0.8, 5.5, 6.0)),
        Site("facet", 0.20, at.pillar, (0.0, 0.4, 0.92), (8.0, 9.0, 10.0), p_impacted=0.2),
        Site("lamina", 0.17, lamina, (-0.75, 0.66, 0.0), (7.0, 7.0, 9.0)),
        Site("pedicle", 0.07, pedicle, (0.85, 0.5, 0.0), (5.5, 6.0, 7.0)),
        Site("spinous process", 0.14, spinous, (0.0, float(at.spinous_direction[1]), float(at.spinous_direction[2])),
             (8.0, 0.75 * length, 0.6 * length + 6.0), is_loose=True),
        Site("transverse process", 0.07, outer, (0.95, 0.2, -0.1), (6.5, 8.0, 7.0), is_loose=True),
    )  # fmt: skip
