"""The vertebrae C3 to T2 as unions of solids, built from their measures.

The frame of each has its origin in the center of the body, x to the left, y to the back and z upward, in mm.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Floats, Floats32
from cspine.phantom.anatomy.person import Person
from cspine.phantom.geometry.distance_fields import smooth_intersection, smoothstep, superellipse_distance
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import Box, PointSet, vector
from cspine.phantom.geometry.solids import SIDES, Column, Ellipsoid, Pillar, Rod, Solid

SUBAXIAL: Final = ("C3", "C4", "C5", "C6", "C7")
"""Cervical vertebrae below the axis."""

JOINT_MM: Final = 2.0
"""Width of a facet joint including cartilage."""

PILLAR_HALF_MM: Final = 6.2
"""Half the width of an articular pillar."""

_DROP_MM: Final = {"C3": 3.0, "C4": 4.0, "C5": 5.0, "C6": 8.0, "C7": 12.0}
"""Height of the root of the spinous process above its tip; 18 mm in thoracic vertebrae."""

_LONG_SPINOUS: Final = frozenset({"C7", "T1", "T2"})
"""Levels with a long spinous process that is not bifid."""

_RIM_FACTOR: Final = 1.045
"""Factor on the outline of a body, which compensates for its rounded rims."""

RIM_MM: Final = 0.25
"""Added to the superior and inferior ends of a body for the same reason."""


@dataclass(frozen=True)
class Body(Solid):
    """A vertebral body: waisted, round in front, with uncinate processes and a concave inferior endplate.

    Attributes
    ----------
    width : float
        Width of the body, in mm.
    depth : (float, float)
        Depth at the superior and at the inferior endplate, in mm.
    height : float
        Distance between the endplates, in mm.
    waist : float
        Fraction by which it is narrower at half its height.
    uncus : float
        Height of the uncinate processes above the superior endplate, in mm.
    arch : float
        Depth of the concavity of the inferior endplate, in mm.
    """

    width: float
    depth: tuple[float, float]
    height: float
    waist: float = 0.10
    uncus: float = 3.0
    arch: float = 1.8

    def bounding_box(self) -> Box:
        """Return an axis-aligned box that contains the solid."""
        reach = np.array([self.width / 2, max(self.depth) / 2, self.height / 2])
        return np.array([-reach - 1.0, reach + vector(1.0, 1.0, self.uncus + 1.0)])

    def signed_distance(self, points: PointSet) -> Floats32:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates((0, 0, 0))
        t = np.clip(z / np.float32(self.height), -0.5, 0.5)
        waist = np.float32(_RIM_FACTOR) - np.float32(self.waist) * (1 - 4 * t * t)
        half_depth = (np.float32(sum(self.depth) / 4) + np.float32((self.depth[0] - self.depth[1]) / 2) * t) * waist
        half_width = np.float32(self.width / 2) * waist * (np.float32(0.97) + np.float32(0.06) * t)
        across, along = x / half_width, y / half_depth
        squareness = np.where(y > 0, np.float32(0.85), np.float32(0.25))  # flat behind, round in front
        u, v = across * across, along * along
        side = superellipse_distance(x, y, across, along, squareness, min(self.width, *self.depth) / 2)
        rise = smoothstep(np.abs(across), 0.62, 0.95) * (np.float32(0.6) + np.float32(0.4) * np.clip(along + 0.5, 0, 1))
        top = np.float32(self.height / 2 + RIM_MM) + np.float32(self.uncus) * rise
        hollow = np.clip(1 - v, 0, 1) ** 2 * np.clip(1 - np.float32(0.8) * u, 0, 1)
        bottom = np.float32(-self.height / 2 - RIM_MM) + np.float32(self.arch) * hollow
        # Room for the uncinate processes of the vertebra below.
        bottom = bottom + np.float32(1.6) * smoothstep(np.abs(across), 0.7, 1.0)
        return smooth_intersection(side, np.maximum(z - top, bottom - z), 1.2)


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of a vertebra from C3 to T2, in its frame; paired ones are of the left side.

    Attributes
    ----------
    body_back_y : float
        The y of the posterior wall of the body.
    canal_back_y : float
        The y of the posterior wall of the canal.
    pillar : (3,)
        Center of the articular pillar.
    lamina : (3,)
        Where the laminae meet.
    spinous_root, spinous_tip : (3,)
        Ends of the spinous process.
    anterior_tubercle, posterior_tubercle : (3,)
        Tips of the tubercles of the transverse process; in thoracic vertebrae both are the tip of the process.
    """

    body_back_y: float
    canal_back_y: float
    pillar: Floats
    lamina: Floats
    spinous_root: Floats
    spinous_tip: Floats
    anterior_tubercle: Floats
    posterior_tubercle: Floats

    @property
    def spinous_direction(self) -> Floats:
        """Unit vector from the root of the spinous process to its tip, (3,)."""
        way = self.spinous_tip - self.spinous_root
        return np.asarray(way / np.linalg.norm(way))


def landmarks(level: str, measures: Mapping[str, float], traits: Mapping[str, float]) -> Landmarks:
    """Return the landmarks of a vertebra from C3 to T2; for the arguments see `subaxial`."""
    back = (measures["body depth above"] + measures["body depth below"]) / 4
    arch, thoracic = back + measures["canal depth"], level.startswith("T")
    pillar = np.array([measures["canal width"] / 2 + PILLAR_HALF_MM - 0.4, back + 5.6, 2.0 if thoracic else 0.5])
    drop = _DROP_MM.get(level, 18.0) + 3.0 * (traits["drop"] - 0.5)
    length = measures["spinous process length"] - (0.9 if level == "C6" else 0.0)  # its tip is thick
    root = np.array([0.0, arch + 2.0, -3.6])
    tip = np.array([0.0, arch + float(np.sqrt(max(length**2 - drop**2, 25.0))), -3.6 - drop])
    reach = measures["body width"] / 2 + (15.0 if level == "C7" else 12.5) + 2.5 * (traits["transverse"] - 0.5)
    front, behind = np.array([reach, -1.5, -3.2]), np.array([reach + 1.0, 4.6, -4.2])
    if level == "C7":  # its anterior tubercle is small
        front, behind = np.array([reach - 6.0, -1.5, -1.5]), np.array([reach + 1.0, 5.4, -0.5])
    if thoracic:
        front = behind = np.array([35.0 + 3.0 * traits["transverse"], pillar[1] + 9.0, 5.0])
    return Landmarks(back, arch, pillar, np.array([0.0, arch + 2.4, -3.5]), root, tip, front, behind)


def landmarks_of(person: Person, level: str) -> Landmarks:
    """Return the landmarks of a vertebra of a person, C3 to T2."""
    return landmarks(level, person.measures[level], person.traits[level])


def subaxial(level: str, measures: Mapping[str, float], traits: Mapping[str, float], pitch_mm: float) -> Iterator[Part]:
    """Yield the parts of a vertebra from C3 to T2.

    Parameters
    ----------
    level : str
        C3 to C7, T1 or T2.
    measures : dict
        Measures of the level, from `cspine.phantom.anatomy.morphometry.draw_measures`.
    traits : dict
        Trait to a number from 0 to 1; see `cspine.phantom.anatomy.person.Person`.
    pitch_mm : float
        Distance to the neighboring vertebrae at the articular pillars, which fill it.
    """
    at, thoracic = landmarks(level, measures, traits), level.startswith("T")
    width, canal_depth, canal_half = measures["body width"], measures["canal depth"], measures["canal width"] / 2
    depth = (measures["body depth above"], measures["body depth below"])
    uncus = 0.8 if thoracic else 2.0 + 2.0 * traits["uncus"]
    yield Part(Body(width, depth, measures["body height"], uncus=uncus, arch=endplate_arch(traits)))
    thick, joint = measures["pedicle width"] / 2, JOINT_MM / np.cos(np.radians(measures["facet angle"]))
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0])
        start, end = (
            mirror * (width / 2 - 4.0, at.body_back_y - 3.0, 1.2),
            mirror * (at.pillar - vector(0.5, 1.0, -0.5)),
        )
        yield Part(Rod(start, end, (thick, thick), aspect_ratio=1.3), 3.0)
        pillar = Pillar(mirror * at.pillar, (PILLAR_HALF_MM, 5.6), pitch_mm - joint, measures["facet angle"] + 2.0, 2.5)
        yield Part(pillar, 2.5)
        start, end = mirror * (at.pillar + vector(-2.5, 3.5, -2.0)), at.lamina + vector(side * 1.2, 0.0, 0.0)
        yield from lamina(start, end, (2.5, 2.2), 3.6 if thoracic else 2.7, -0.3, traits)
        yield from _transverse_process(level, at, mirror, width)
    yield from _spinous_process(level, at, traits)
    middle = (0.0, at.body_back_y + canal_depth / 2)
    yield Part(Column(middle, (canal_half, canal_depth / 2), (-30.0, 30.0)), 1.0, is_cutout=True)
    if not thoracic:
        radius = (1.6 if level == "C7" else 2.7) * (0.9 + 0.2 * traits["foramen"])
        for side in SIDES:
            yield Part(Column((side * (width / 2 + 3.4), 1.2), (radius, radius), (-9.0, 9.0)), 0.8, is_cutout=True)


def lamina(
    start: Floats,
    end: Floats,
    radius: tuple[float, float],
    aspect_ratio: float,
    slope: float,
    traits: Mapping[str, float],
) -> Iterator[Part]:
    """Yield a lamina: a blade, which is thinner and slopes more by the trait "thin lamina", on a ridge below.

    Parameters
    ----------
    start, end : (3,)
        Where it begins, at the pillar, and where it meets that of the other side.
    radius : (float, float)
        Half its thickness at both ends.
    aspect_ratio : float
        Half its height over half its thickness.
    slope : float
        How far its upper edge lies in front of its middle, relative to its height.
    traits : dict
        As of `subaxial`; "lamina notch" lowers the upper edge where both laminae meet.
    """
    thin = traits.get("thin lamina", 0.0)
    if not thin:
        yield Part(Rod(start, end, radius, aspect_ratio=aspect_ratio, major_axis=(0.0, slope, 1.0)))
        return
    factor, tilt = 1.0 - 0.5 * thin, slope - 0.45 * thin
    blade = (radius[0] * factor, radius[1] * factor)
    low = end - vector(0.0, 0.0, 2.5 * traits.get("lamina notch", 0.0))
    yield Part(Rod(start, low, blade, aspect_ratio=aspect_ratio / factor, major_axis=(0.0, tilt, 1.0)), 1.5)
    ridge = (0.9 * radius[0], 0.9 * radius[1])
    down = radius[0] * aspect_ratio * 0.5 * vector(0.0, tilt, 1.0)
    yield Part(Rod(start - 0.8 * down, low - down, ridge), 1.5)


def endplate_arch(traits: Mapping[str, float]) -> float:
    """Return the depth of the concavity of the inferior endplate, in mm."""
    return 1.7 + traits["arch"]


def _transverse_process(level: str, at: Landmarks, mirror: Floats, width: float) -> Iterator[Part]:
    front, behind = mirror * at.anterior_tubercle, mirror * at.posterior_tubercle
    if level.startswith("T"):
        yield Part(Rod(mirror * (at.pillar + vector(-1.0, 1.5, 0.0)), front, (4.2, 4.8)))
        return
    yield Part(Rod(mirror * (width / 2 - 2.0, -1.2, -0.5), front, (1.9, 1.9), aspect_ratio=1.4))
    yield Part(Rod(mirror * (at.pillar + vector(-1.5, -4.4, -1.0)), behind, (2.1, 2.3), aspect_ratio=1.3))
    yield Part(Rod(front, behind, (2.0, 2.2), aspect_ratio=1.2), 1.5)
    swell = 3.0 if level == "C6" else 2.4  # the carotid tubercle of C6
    yield Part(Ellipsoid(front, (swell, swell, swell + 0.8)), 1.5)


def _spinous_process(level: str, at: Landmarks, traits: Mapping[str, float]) -> Iterator[Part]:
    long, bifid = level in _LONG_SPINOUS, traits["bifid"]
    split = 0.0 if long or (level == "C6" and bifid < 0.5) else 0.35 + 0.25 * bifid
    fork = (
        at.spinous_tip - 4.0 * at.spinous_direction
        if long
        else at.spinous_root + (at.spinous_tip - at.spinous_root) * (1.0 - split)
    )
    yield Part(Rod(at.spinous_root, fork, (3.0, 2.7), aspect_ratio=1.75 if long or level == "C6" else 2.0))
    if long:
        yield Part(Ellipsoid(at.spinous_tip - 6.0 * at.spinous_direction, (3.2, 3.6, 4.2)))
    elif split:
        for side in SIDES:
            end = at.spinous_tip + vector(side * (3.0 + 2.0 * bifid), -2.8, 0.5)
            yield Part(Rod(fork, end, (2.5, 2.4), aspect_ratio=1.6), 1.5)
    else:
        yield Part(Ellipsoid(at.spinous_tip - vector(0.0, 3.4, -1.0), (2.8, 2.8, 3.8)))
