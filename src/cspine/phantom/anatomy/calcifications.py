"""Ribs, and calcified ligaments and vessels, which mimic fractures or their fragments."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid

_MIN_AGE_YEARS: Final = 55
"""Age from which on the anterior ligament and the carotid arteries may be calcified."""

PREVALENCE: Final[Mapping[str, float]] = {
    "nuchal calcification": 0.07,
    "ossified anterior ligament": 0.12,  # from the age of 55 on
    "ossified posterior ligament": 0.025,
    "ossified stylohyoid ligament": 0.05,
    "calcified carotid": 0.5,  # from the age of 55 on
}
"""Probability of each; where the literature gives no figure, frequent enough for a network to learn it."""


def ribs(person: Person, frames: Mapping[str, Frame]) -> list[HardTissue]:
    """Return the proximal parts of the first two ribs."""
    found = []
    for level in ("T1", "T2"):
        half, at = person.measures[level]["body width"] / 2, landmarks_of(person, level)
        tip_x, tip_y, _ = at.anterior_tubercle  # of the transverse process
        for side in SIDES:
            mirror = np.array([side, 1.0, 1.0])
            path = [
                vector(half + 3.5, at.body_back_y + 0.5, 3.5),
                vector(tip_x - 4.0, tip_y - 4.0, 3.0),
                vector(tip_x + 18.0, tip_y - 16.0, -4.0),
                vector(tip_x + 22.0, tip_y - 44.0, -16.0),
            ]
            rib = rods([mirror * point for point in path], 3.4, 1.4)
            found.append(HardTissue(rib, 1.2, 1050.0, 250.0, frames[level].affine))
    return found


def draw_calcifications(
    person: Person, frames: Mapping[str, Frame], rng: np.random.Generator, names: list[str]
) -> list[HardTissue]:
    """Draw calcified ligaments and vessels.

    Parameters
    ----------
    person, frames, rng
        As of `cspine.phantom.anatomy.variants.draw_variants`.
    names : list of str
        The names of what is drawn are appended.
    """
    found = []
    if rng.random() < PREVALENCE["nuchal calcification"]:
        center = landmarks_of(person, "C6").spinous_tip + vector(0.0, 5.0, rng.uniform(0, 14))
        size = rng.uniform(1.5, 4.0)
        found.append(
            HardTissue((Part(Ellipsoid(center, (1.5, size * 0.7, size))),), 0.8, 900.0, 450.0, frames["C6"].affine)
        )
        names.append("nuchal calcification")
    if person.age_years > _MIN_AGE_YEARS and rng.random() < PREVALENCE["ossified anterior ligament"]:
        found.append(_longitudinal_ligament(person, frames, rng, is_posterior=False))
        names.append("ossified anterior ligament")
    if rng.random() < PREVALENCE["ossified posterior ligament"]:
        found.append(_longitudinal_ligament(person, frames, rng, is_posterior=True))
        names.append("ossified posterior ligament")
    if rng.random() < PREVALENCE["ossified stylohyoid ligament"]:
        side = float(rng.choice(SIDES))
        path = [vector(side * 26.0, -22.0, -12.0), vector(side * 23.0, -32.0, -34.0)]
        found.append(HardTissue(rods(path, rng.uniform(1.0, 2.0)), 0.8, 900.0, 500.0, frames["C0"].affine))
        names.append("ossified stylohyoid ligament")
    if person.age_years > _MIN_AGE_YEARS and rng.random() < PREVALENCE["calcified carotid"]:
        plaques = [_plaque(side, rng) for side in SIDES for _ in range(rng.integers(0, 4))]
        found += [HardTissue((plaque,), 1.0, 900.0, 700.0, frames["C4"].affine) for plaque in plaques]
        if plaques:
            names.append("calcified carotid")
    return found


def _plaque(side: float, rng: np.random.Generator) -> Part:
    """Draw a calcified plaque of a carotid artery, in the frame of C4."""
    center = vector(side * rng.uniform(21, 27), -9.0 + rng.normal(-9, 2), rng.normal(0, 8))
    size = rng.uniform(0.7, 2.0)
    return Part(Ellipsoid(center, (size, size, 1.5 * size)))


def _longitudinal_ligament(
    person: Person, frames: Mapping[str, Frame], rng: np.random.Generator, *, is_posterior: bool
) -> HardTissue:
    """Draw an ossified longitudinal ligament over some levels, in LPS."""
    first = int(rng.integers(0, len(SUBAXIAL) - 1))
    levels = SUBAXIAL[first : first + int(rng.integers(2, 5))]
    thickness = rng.uniform(1.0, 2.2)
    path: list[Floats] = []
    for level in levels:
        back, x = landmarks_of(person, level).body_back_y, rng.normal(0.0, 1.0)
        y = back + 0.8 * thickness if is_posterior else -back - 0.8 * thickness
        half = 0.5 * person.measures[level]["body height"]
        path += [frames[level].to_lps([x, y, z]) for z in (half, -half)]
    return HardTissue(rods(path, thickness, 2.2, (1, 0, 0)), 0.8, 950.0, 550.0)
