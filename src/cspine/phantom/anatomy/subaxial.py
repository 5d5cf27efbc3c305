"""C3 to T2 from their measures, in the vertebra's frame: origin amid the body, x left, y back, z up, in mm."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.phantom.anatomy.grid import Part
from cspine.phantom.anatomy.solids import (
    SIDES,
    Box,
    Column,
    Ellipsoid,
    Field,
    Pillar,
    Place,
    Points,
    Rod,
    Solid,
    beside,
    by,
    intersect,
    smoothstep,
)  # fmt: skip

JOINT_MM: Final = 2.0
"""Between the facets of neighbouring vertebrae, cartilage included."""

PILLAR_HALF_MM: Final = 6.2
"""Half the breadth of an articular pillar."""

_DROP_MM: Final = {"C3": 3.0, "C4": 4.0, "C5": 5.0, "C6": 8.0, "C7": 12.0}
"""How far the tip of the spinous process lies below its root; 18 in thoracic vertebrae."""

_LONG: Final = frozenset({"C7", "T1", "T2"})
"""Those whose spinous process is long and has one tip."""


_RIM: Final = 1.045
"""By how much a body's outline is larger than its measures, because its rims are rounded off."""

RIM_MM: Final = 0.25
"""The same of its upper and lower end, in mm."""


@dataclass(frozen=True)
class Body(Solid):
    """A vertebral body: waisted, round in front, with uncinate ridges above and an arched lower endplate.

    Attributes
    ----------
    depth : (float, float)
        Above and below.
    waist : float
        By what fraction it is narrower at half height.
    uncus : float
        How far the ridges at both sides rise above the upper endplate.
    arch : float
        How far the lower endplate rises in its middle.
    """

    width: float
    depth: tuple[float, float]
    height: float
    waist: float = 0.10
    uncus: float = 3.0
    arch: float = 1.8

    def box(self) -> Box:
        """Return a box that holds the solid."""
        reach = np.array([self.width / 2, max(self.depth) / 2, self.height / 2])
        return np.array([-reach - 1.0, reach + by(1.0, 1.0, self.uncus + 1.0)])

    def distance(self, points: Points) -> Field:
        """Return the signed distance of points from the surface."""
        x, y, z = points.coordinates((0, 0, 0))
        t = np.clip(z / np.float32(self.height), -0.5, 0.5)
        waist = np.float32(_RIM) - np.float32(self.waist) * (1 - 4 * t * t)
        half_depth = (np.float32(sum(self.depth) / 4) + np.float32((self.depth[0] - self.depth[1]) / 2) * t) * waist
        half_width = np.float32(self.width / 2) * waist * (np.float32(0.97) + np.float32(0.06) * t)
        across, along = x / half_width, y / half_depth
        square = np.where(y > 0, np.float32(0.85), np.float32(0.25))  # flat behind, round in front
        u, v = across * across, along * along
        side = beside(x, y, across, along, square, min(self.width, *self.depth) / 2)
        rise = smoothstep(np.abs(across), 0.62, 0.95) * (np.float32(0.6) + np.float32(0.4) * np.clip(along + 0.5, 0, 1))
        top = np.float32(self.height / 2 + RIM_MM) + np.float32(self.uncus) * rise
        hollow = np.clip(1 - v, 0, 1) ** 2 * np.clip(1 - np.float32(0.8) * u, 0, 1)
        bottom = np.float32(-self.height / 2 - RIM_MM) + np.float32(self.arch) * hollow
        bottom = bottom + np.float32(1.6) * smoothstep(np.abs(across), 0.7, 1.0)  # room for the ridges below
        return intersect(side, np.maximum(z - top, bottom - z), 1.2)


@dataclass(frozen=True)
class Landmarks:
    """Where the parts of a vertebra from C3 to T2 are; those of the left side, where there are two.

    Attributes
    ----------
    back : float
        The y of the body's back.
    arch : float
        The y of the canal's back.
    pillar : (3,)
        The middle of the articular pillar.
    lamina : (3,)
        Where the laminae meet.
    root, tip : (3,)
        Of the spinous process.
    front, behind : (3,)
        The tubercles of the transverse process; of thoracic vertebrae both its tip.
    """

    back: float
    arch: float
    pillar: Place
    lamina: Place
    root: Place
    tip: Place
    front: Place
    behind: Place

    @property
    def away(self) -> Place:
        """The direction of the spinous process, from its root to its tip."""
        return np.asarray((self.tip - self.root) / np.linalg.norm(self.tip - self.root))


def landmarks(level: str, measures: Mapping[str, float], traits: Mapping[str, float]) -> Landmarks:
    """Find the parts of a vertebra; the arguments are those of `subaxial`."""
    back = (measures["body depth above"] + measures["body depth below"]) / 4
    arch, thoracic = back + measures["canal depth"], level.startswith("T")
    pillar = np.array([measures["canal width"] / 2 + PILLAR_HALF_MM - 0.4, back + 5.6, 2.0 if thoracic else 0.5])
    drop = _DROP_MM.get(level, 18.0) + 3.0 * (traits["drop"] - 0.5)
    length = measures["spinous process length"] - (0.9 if level == "C6" else 0.0)  # its tip is tall
    root = np.array([0.0, arch + 2.0, -3.6])
    tip = np.array([0.0, arch + float(np.sqrt(max(length**2 - drop**2, 25.0))), -3.6 - drop])
    reach = measures["body width"] / 2 + (15.0 if level == "C7" else 12.5) + 2.5 * (traits["transverse"] - 0.5)
    front, behind = np.array([reach, -1.5, -3.2]), np.array([reach + 1.0, 4.6, -4.2])
    if level == "C7":  # its front tubercle is small
        front, behind = np.array([reach - 6.0, -1.5, -1.5]), np.array([reach + 1.0, 5.4, -0.5])
    if thoracic:
        front = behind = np.array([35.0 + 3.0 * traits["transverse"], pillar[1] + 9.0, 5.0])
    return Landmarks(back, arch, pillar, np.array([0.0, arch + 2.4, -3.5]), root, tip, front, behind)


def subaxial(level: str, measures: Mapping[str, float], traits: Mapping[str, float], pitch_mm: float) -> Iterator[Part]:
    """Yield the parts of a vertebra from C3 to T2.

    Parameters
    ----------
    level : str
        C3 to C7, T1 or T2.
    measures : dict
        Of this level, as `draw_measures` draws them.
    traits : dict
        What else tells people apart, each from 0 to 1.
    pitch_mm : float
        How far it is to the next vertebra, which the pillars fill.
    """
    at, thoracic = landmarks(level, measures, traits), level.startswith("T")
    width, canal_depth, canal_half = measures["body width"], measures["canal depth"], measures["canal width"] / 2
    depth = (measures["body depth above"], measures["body depth below"])
    uncus = 0.8 if thoracic else 2.0 + 2.0 * traits["uncus"]
    yield Part(Body(width, depth, measures["body height"], uncus=uncus, arch=endplate_arch(traits)))
    thick, joint = measures["pedicle width"] / 2, JOINT_MM / np.cos(np.radians(measures["facet angle"]))
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0])
        start, end = mirror * (width / 2 - 4.0, at.back - 3.0, 1.2), mirror * (at.pillar - by(0.5, 1.0, -0.5))
        yield Part(Rod(start, end, (thick, thick), flat=1.3), 3.0)
        pillar = Pillar(mirror * at.pillar, (PILLAR_HALF_MM, 5.6), pitch_mm - joint, measures["facet angle"] + 2.0, 2.5)
        yield Part(pillar, 2.5)
        start, end = mirror * (at.pillar + by(-2.5, 3.5, -2.0)), at.lamina + by(side * 1.2, 0.0, 0.0)
        yield Part(Rod(start, end, (2.5, 2.2), flat=3.6 if thoracic else 2.7, wide=(0.0, -0.3, 1.0)))
        yield from _transverse_process(level, at, mirror, width)
    yield from _spinous_process(level, at, traits)
    middle = (0.0, at.back + canal_depth / 2)
    yield Part(Column(middle, (canal_half, canal_depth / 2), (-30.0, 30.0)), 1.0, cut=True)
    if not thoracic:
        radius = (1.6 if level == "C7" else 2.7) * (0.9 + 0.2 * traits["foramen"])
        for side in SIDES:
            yield Part(Column((side * (width / 2 + 3.4), 1.2), (radius, radius), (-9.0, 9.0)), 0.8, cut=True)


def endplate_arch(traits: Mapping[str, float]) -> float:
    """Return how far a body's lower endplate rises in its middle, in mm."""
    return 1.7 + traits["arch"]


def _transverse_process(level: str, at: Landmarks, mirror: Place, width: float) -> Iterator[Part]:
    front, behind = mirror * at.front, mirror * at.behind
    if level.startswith("T"):
        yield Part(Rod(mirror * (at.pillar + by(-1.0, 1.5, 0.0)), front, (4.2, 4.8)))
        return
    yield Part(Rod(mirror * (width / 2 - 2.0, -1.2, -0.5), front, (1.9, 1.9), flat=1.4))
    yield Part(Rod(mirror * (at.pillar + by(-1.5, -4.4, -1.0)), behind, (2.1, 2.3), flat=1.3))
    yield Part(Rod(front, behind, (2.0, 2.2), flat=1.2), 1.5)
    swell = 3.0 if level == "C6" else 2.4  # the carotid tubercle of C6
    yield Part(Ellipsoid(front, (swell, swell, swell + 0.8)), 1.5)


def _spinous_process(level: str, at: Landmarks, traits: Mapping[str, float]) -> Iterator[Part]:
    long, bifid = level in _LONG, traits["bifid"]
    split = 0.0 if long or (level == "C6" and bifid < 0.5) else 0.35 + 0.25 * bifid
    fork = at.tip - 4.0 * at.away if long else at.root + (at.tip - at.root) * (1.0 - split)
    yield Part(Rod(at.root, fork, (3.0, 2.7), flat=1.75 if long or level == "C6" else 2.0))
    if long:
        yield Part(Ellipsoid(at.tip - 6.0 * at.away, (3.2, 3.6, 4.2)))
    elif split:
        for side in SIDES:
            end = at.tip + by(side * (3.0 + 2.0 * bifid), -2.8, 0.5)
            yield Part(Rod(fork, end, (2.5, 2.4), flat=1.6), 1.5)
    else:
        yield Part(Ellipsoid(at.tip - by(0.0, 3.4, -1.0), (2.8, 2.8, 3.8)))
