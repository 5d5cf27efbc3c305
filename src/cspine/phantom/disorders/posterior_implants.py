"""Implants behind the spine: screws and rods, plates to the occiput, wires; and arches that were removed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.atlas import LATERAL_MASS_X_MM
from cspine.phantom.anatomy.inserts import Insert
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.disorders.anterior_implants import METAL_HU
from cspine.phantom.disorders.base import Disorder, NeckT, add_inserts, add_parts, draw_levels
from cspine.phantom.geometry.parts import Part, distance_at, rods
from cspine.phantom.geometry.points import PointCloud, vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Pillar, Rod

_ROD_MM = 1.75
"""Radius of a rod of cervical instrumentation, which is 3.5 mm thick."""

_STEP_MM = 0.5
"""Step at which the surface of the occiput is looked for."""


@dataclass(frozen=True, kw_only=True)
class PosteriorFusion(Disorder):
    """Screws in lateral masses or pedicles, joined by a rod on each side, also to a plate on the occiput.

    Attributes
    ----------
    levels : tuple of str
        The vertebrae, from the upper to the lower.
    skipped : frozenset of str
        Levels without screws.
    has_occipital_plate : bool
        Whether the rods reach to a plate on the occiput.
    """

    levels: tuple[str, ...]
    skipped: frozenset[str] = field(default_factory=frozenset)
    has_occipital_plate: bool = False

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with its implants."""
        heads: dict[float, list[Floats]] = {side: [] for side in SIDES}
        inserts = []
        for level in self.levels:
            if level in self.skipped:
                continue
            screws = []
            for side in SIDES:
                mirror = np.array([side, 1.0, 1.0])
                entry, tip = (mirror * point for point in _screw(neck.person, level))
                back = entry + (entry - tip) / np.linalg.norm(entry - tip) * 2.5
                screws += [Part(Rod(back, tip, (1.8, 1.4)), 0.0), Part(Ellipsoid(back, (3.8, 3.8, 3.8)), 0.0)]
                heads[side].append(neck.frames[level].to_lps(back + vector(0.0, 1.5, 0.0)))
            inserts.append(Insert(tuple(screws), METAL_HU, neck.frames[level].affine, is_metal=True))
        if self.has_occipital_plate:
            inserts += _occipital_plate(neck)
            for side in SIDES:
                heads[side] = [*_occipital_path(neck, side), *heads[side]]
        bars = [rods(heads[side], _ROD_MM) for side in SIDES]
        pairs = tuple(part for segments in zip(*bars, strict=True) for part in segments)
        return add_inserts(neck, [*inserts, Insert(pairs, METAL_HU, is_metal=True)])


@dataclass(frozen=True, kw_only=True)
class Wiring(Disorder):
    """Wires about the spinous processes of neighboring vertebrae."""

    levels: tuple[str, ...]

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with its wires."""
        ends = [_spinous_middle(neck, level) for level in (self.levels[0], self.levels[-1])]
        loops: list[Part] = []
        for side in SIDES:
            across = side * neck.frames[self.levels[0]].axes[:, 0] * 4.5
            loops += rods([ends[0] + across, ends[1] + across], 0.6)
        for end, way in ((ends[0], 1.0), (ends[1], -1.0)):
            frame = neck.frames[self.levels[0]]
            sides = [end + side * frame.axes[:, 0] * 4.5 for side in SIDES]
            loops += rods([sides[0], end + way * frame.axes[:, 2] * 5.0, sides[1]], 0.6)
        return add_inserts(neck, [Insert(tuple(loops), METAL_HU, is_metal=True)])


@dataclass(frozen=True, kw_only=True)
class Laminectomy(Disorder):
    """Arches that were removed between the articular pillars."""

    levels: tuple[str, ...]

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck without these arches."""
        cuts = {}
        for level in self.levels:
            measures = neck.person.measures[level]
            back = measures["body depth below"] / 2 + measures["canal depth"]
            half = (measures["canal width"] / 2 + 0.5, 26.0)
            cuts[level] = [Part(Pillar(vector(0.0, back + 23.0, -6.0), half, 90.0, 0.0, 1.0), 1.0, is_cutout=True)]
        return add_parts(neck, cuts)


def _screw(person: Person, level: str) -> tuple[Floats, Floats]:
    """Return entry and tip of the left screw of a level, in its frame."""
    if level == "C1":
        return vector(LATERAL_MASS_X_MM - 1.0, 11.0, -3.0), vector(LATERAL_MASS_X_MM - 3.5, -8.0, 1.0)
    measures = person.measures[level]
    if level == "C2":  # through the pars, toward the pedicle
        half = measures["canal width"] / 2
        return vector(half + 6.5, measures["body depth below"] / 2 + 10.0, -6.0), vector(9.0, -3.0, 5.0)
    at = landmarks_of(person, level)
    if level in SUBAXIAL[:-1]:  # lateral mass: outward and upward
        return at.pillar + vector(-1.0, 5.6, -1.0), at.pillar + vector(4.0, -6.0, 5.0)
    return at.pillar + vector(0.5, 5.6, 1.0), vector(4.5, -3.0, 0.0)


def _occipital_y(neck: Neck, z: float) -> float:
    """Return the y of the outer surface of the occiput in the midline, at a height in the frame of the skull."""
    y = np.arange(140.0, 20.0, -_STEP_MM)
    line = np.column_stack([np.zeros_like(y), y, np.full_like(y, z), np.ones_like(y)]) @ neck.frames["C0"].affine.T
    inside = np.zeros(len(y), bool)
    for bone in neck.hard_tissues:
        if bone.is_skull:
            local = (line @ np.linalg.inv(bone.frame).T).astype(np.float32)
            inside |= distance_at(bone.parts, PointCloud(*local[:, :3].T)) < 0
    if not inside.any():
        return float(y[-1])
    return float(y[int(np.argmax(inside))])


def _occipital_path(neck: Neck, side: float) -> list[Floats]:
    """Return the upper part of a rod, along the occiput, from the top downward, in LPS."""
    path = [vector(side * 9.0, _occipital_y(neck, z) + 4.0, z) for z in (46.0, 32.0)]
    path.append(vector(side * 16.0, _occipital_y(neck, 32.0) - 18.0, 8.0))
    return [neck.frames["C0"].to_lps(point) for point in path]


def _occipital_plate(neck: Neck) -> Iterator[Insert]:
    frame, low, high = neck.frames["C0"].affine, 30.0, 50.0
    start, end = (vector(0.0, _occipital_y(neck, z) + 1.2, z) for z in (low, high))
    yield Insert((Part(Rod(start, end, (1.2, 1.2), 7.5, (1.0, 0.0, 0.0)), 0.0),), METAL_HU, frame, is_metal=True)
    screws = []
    for z in np.linspace(low + 2.0, high - 2.0, 3):
        y = _occipital_y(neck, float(z))
        screws.append(Part(Rod((0.0, y + 2.5, z), (0.0, y - 7.0, z + 3.0), (2.2, 1.8)), 0.0))
    yield Insert(tuple(screws), METAL_HU, frame, is_metal=True)


def _spinous_middle(neck: Neck, level: str) -> Floats:
    """Return the middle of a spinous process, C2 and below, in LPS."""
    if level == "C2":
        measures = neck.person.measures["C2"]
        back = measures["body depth below"] / 2 + measures["canal depth"]
        return neck.frames[level].to_lps([0.0, back + 0.5 * measures["spinous process length"], -9.0])
    at = landmarks_of(neck.person, level)
    return neck.frames[level].to_lps(0.6 * at.spinous_root + 0.4 * at.spinous_tip)


def draw_posterior_fusion(rng: np.random.Generator) -> Disorder:
    """Draw screws and rods over 2 to 6 levels from C1 to T2."""
    levels = draw_levels(rng, ("C1", "C2", *SUBAXIAL, "T1", "T2"), (2, 6))
    skipped = frozenset(level for level in levels[1:-1] if rng.random() < 0.15)
    return PosteriorFusion(names=(f"screws and rods {levels[0]}-{levels[-1]}",), levels=levels, skipped=skipped)


def draw_occipitocervical_fusion(rng: np.random.Generator) -> Disorder:
    """Draw a plate on the occiput, with rods to C2 or further down."""
    levels = ("C1", "C2", *SUBAXIAL)[: int(rng.integers(2, 7))]
    return PosteriorFusion(
        names=(f"occipitocervical fusion to {levels[-1]}",),
        levels=levels,
        skipped=frozenset({"C1"} if rng.random() < 0.5 else ()),
        has_occipital_plate=True,
    )


def draw_wiring(rng: np.random.Generator) -> Disorder:
    """Draw wires about two or three spinous processes."""
    levels = draw_levels(rng, ("C2", *SUBAXIAL), (2, 3))
    return Wiring(names=(f"wires {levels[0]}-{levels[-1]}",), levels=levels)


def draw_laminectomy(rng: np.random.Generator) -> Disorder:
    """Draw a laminectomy of 1 to 5 levels."""
    levels = draw_levels(rng, (*SUBAXIAL, "T1"), (1, 5))
    return Laminectomy(names=tuple(f"laminectomy {level}" for level in levels), levels=levels)
