"""Congenital variants: assimilated or incomplete atlas, os odontoideum, cervical ribs, transitional vertebrae."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.atlas import LATERAL_MASS_X_MM, canal_front_y
from cspine.phantom.anatomy.axis import dens_base_z
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame
from cspine.phantom.anatomy.subaxial import landmarks_of
from cspine.phantom.disorders.base import (
    Disorder,
    Frames,
    NeckT,
    add_hard_tissues,
    add_parts,
    body_width,
    scale_measures,
)
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Pillar, Rod

_COSTAL_JOINT_MM: Final = 6.0
"""Distance from the costovertebral joint within which ribs begin."""


@dataclass(frozen=True, kw_only=True)
class AssimilatedAtlas(Disorder):
    """An atlas that is fused to the occiput: at its lateral masses, and often in front and behind.

    Attributes
    ----------
    sides : tuple of float
        Fused sides: -1 right, 1 left.
    is_anterior_fused : bool
        Whether the anterior arch is fused to the clivus.
    lowered_mm : float
        How much closer to the skull the atlas and all below lie.
    """

    sides: tuple[float, ...]
    is_anterior_fused: bool
    lowered_mm: float

    def person(self, person: Person) -> Person:
        """Return a person with a low atlas."""
        return scale_measures(person, {"anterior arch height": 0.8, "posterior arch height": 0.7}, ["C1"])

    def frames(self, frames: Frames, person: Person) -> Frames:  # noqa: ARG002 - as in the base
        """Return the frames, with the head fixed to the atlas and closer to it."""
        atlas = frames["C1"]
        return {**frames, "C0": Frame(atlas.to_lps([0.0, 0.0, -self.lowered_mm]), atlas.axes)}

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with bone between atlas and occiput."""
        parts = [
            Part(Ellipsoid((side * (LATERAL_MASS_X_MM - 0.5), 0.0, 8.5 - self.lowered_mm), (7.5, 10.5, 6.5)), 2.0)
            for side in self.sides
        ]
        if self.is_anterior_fused:
            front = canal_front_y(neck.person.measures["C2"]["dens depth"])
            parts.append(
                Part(Rod((0.0, front - 4.0, 3.0), (0.0, -9.5, 12.0 - self.lowered_mm), (3.0, 4.0), 1.6, (1, 0, 0)))
            )
        return add_parts(neck, {"C1": parts})


@dataclass(frozen=True, kw_only=True)
class OsOdontoideum(Disorder):
    """A dens that is a rounded bone of its own, apart from a short peg on the axis.

    Attributes
    ----------
    gap_mm : float
        Width of the gap.
    height_mm : float
        Height of the peg above the base of the dens.
    """

    gap_mm: float
    height_mm: float

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with a gap below the os odontoideum."""
        z = dens_base_z(neck.person.measures["C2"]) + self.height_mm
        gap = Part(Ellipsoid((0.0, 0.0, z), (9.0, 10.0, self.gap_mm / 2)), 1.5, is_cutout=True)
        return add_parts(neck, {"C2": [gap]})


@dataclass(frozen=True, kw_only=True)
class MissingArch(Disorder):
    """An atlas without a part of its posterior arch, or without all of it.

    Attributes
    ----------
    half_width_mm : float
        Half the width of what is missing.
    center_x_mm : float
        Its middle.
    """

    half_width_mm: float
    center_x_mm: float

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck without this part of the arch."""
        front = canal_front_y(neck.person.measures["C2"]["dens depth"])
        y = front + 0.5 * neck.person.measures["C1"]["canal depth"] + 24.0
        block = Pillar(vector(self.center_x_mm, y, 0.0), (self.half_width_mm, 20.0), 40.0, 0.0, 1.0)
        return add_parts(neck, {"C1": [Part(block, 1.0, is_cutout=True)]})


@dataclass(frozen=True, kw_only=True)
class CervicalRibs(Disorder):
    """Ribs of C7, or transverse processes of C7 as long as those of T1.

    Attributes
    ----------
    lengths_mm : dict
        Side (-1 right, 1 left) to the length of the rib beyond the transverse process; 0 for a long process alone.
    """

    lengths_mm: dict[float, float]

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with these processes and ribs."""
        at, half = landmarks_of(neck.person, "C7"), body_width(neck.person, "C7") / 2
        processes, ribs = [], []
        for side, length in self.lengths_mm.items():
            mirror = np.array([side, 1.0, 1.0])
            tip = vector(at.posterior_tubercle[0] + 7.0, at.posterior_tubercle[1] + 1.5, -2.0)
            processes.append(Part(Rod(mirror * (at.pillar + vector(0.0, -2.0, 0.0)), mirror * tip, (3.2, 3.8)), 2.0))
            if length:
                ribs.append(
                    HardTissue(tuple(_rib(mirror, half, tip, length)), 1.0, 1050.0, 300.0, neck.frames["C7"].affine)
                )
        return add_hard_tissues(add_parts(neck, {"C7": processes}), ribs)


@dataclass(frozen=True, kw_only=True)
class TransitionalT1(Disorder):
    """A first thoracic vertebra like C7: its ribs are rudimentary."""

    length_mm: float

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with short ribs of T1."""
        affine, half = neck.frames["T1"].affine, body_width(neck.person, "T1") / 2
        back = landmarks_of(neck.person, "T1").body_back_y
        joints = [neck.frames["T1"].to_lps([side * (half + 3.5), back, 2.5]) for side in SIDES]
        kept = [tissue for tissue in neck.hard_tissues if not any(_begins_at(tissue, joint) for joint in joints)]
        tip = landmarks_of(neck.person, "T1").anterior_tubercle - vector(4.0, 4.0, 2.0)
        short = [
            HardTissue(tuple(_rib(np.array([side, 1.0, 1.0]), half, tip, self.length_mm)), 1.1, 1050.0, 250.0, affine)
            for side in SIDES
        ]
        return add_hard_tissues(replace(neck, hard_tissues=tuple(kept)), short)


def _begins_at(tissue: HardTissue, point: Floats) -> bool:
    """Return whether the first part of a bone is a rod that begins at a point in LPS, as a rib does at its joint."""
    solid = tissue.parts[0].solid
    if not isinstance(solid, Rod):
        return False
    start = tissue.frame[:3, :3] @ np.asarray(solid.start, np.float64) + tissue.frame[:3, 3]
    return bool(np.linalg.norm(start - point) < _COSTAL_JOINT_MM)


def _rib(mirror: Floats, half: float, tip: Floats, length: float) -> Iterator[Part]:
    """Yield a short rib from the side of a body past the tip of the transverse process, forward and downward."""
    path = [vector(half + 3.0, 2.0, 2.5), tip + vector(-3.0, -3.5, 0.0)]
    direction = vector(0.45, -0.75, -0.48)
    path += [path[-1] + 0.35 * length * vector(0.8, -0.5, -0.3), path[-1] + length * direction]
    yield from rods([mirror * point for point in path], 2.4, 1.4)


def draw_assimilated_atlas(rng: np.random.Generator) -> Disorder:
    """Draw an atlas fused to the occiput on one or both sides."""
    sides = SIDES if rng.random() < 0.7 else (float(rng.choice(SIDES)),)
    return AssimilatedAtlas(
        names=("assimilated atlas",),
        sides=sides,
        is_anterior_fused=bool(rng.random() < 0.6),
        lowered_mm=float(rng.uniform(0.0, 3.0)),
    )


def draw_os_odontoideum(rng: np.random.Generator) -> Disorder:
    """Draw an os odontoideum."""
    return OsOdontoideum(
        names=("os odontoideum",), gap_mm=float(rng.uniform(2.5, 6.0)), height_mm=float(rng.uniform(3.0, 6.5))
    )


def draw_missing_arch(rng: np.random.Generator) -> Disorder:
    """Draw an atlas without its posterior arch, or without a half of it."""
    if rng.random() < 0.5:
        return MissingArch(
            names=("missing arch of the atlas",), half_width_mm=float(rng.uniform(10.0, 26.0)), center_x_mm=0.0
        )
    side = float(rng.choice(SIDES))
    return MissingArch(
        names=("missing half of the arch of the atlas",),
        half_width_mm=float(rng.uniform(5.0, 9.0)),
        center_x_mm=side * 10.0,
    )


def draw_cervical_ribs(rng: np.random.Generator) -> Disorder:
    """Draw ribs of C7 of 10 to 60 mm on one or both sides."""
    sides = SIDES if rng.random() < 0.6 else (float(rng.choice(SIDES)),)
    return CervicalRibs(names=("cervical rib",), lengths_mm={side: float(rng.uniform(10.0, 60.0)) for side in sides})


def draw_long_transverse_processes(rng: np.random.Generator) -> Disorder:
    """Draw transverse processes of C7 as long as those of T1."""
    sides = SIDES if rng.random() < 0.7 else (float(rng.choice(SIDES)),)
    return CervicalRibs(names=("long transverse process C7",), lengths_mm=dict.fromkeys(sides, 0.0))


def draw_transitional_t1(rng: np.random.Generator) -> Disorder:
    """Draw a T1 with rudimentary ribs."""
    return TransitionalT1(names=("transitional T1",), length_mm=float(rng.uniform(8.0, 40.0)))
