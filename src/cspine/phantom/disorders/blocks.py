"""Vertebrae that are fused: congenital blocks, ankylosing spondylitis, and fusion after surgery."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.inserts import Insert
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import disc_space
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.anatomy.variants import fusion_parts
from cspine.phantom.disorders.base import (
    BELOW,
    Disorder,
    Frames,
    NeckT,
    add_inserts,
    add_parts,
    body_width,
    disc_ends,
    disc_frame,
    draw_levels,
    front_y,
    in_frame,
    scale_measures,
)
from cspine.phantom.disorders.posture import bend
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod


@dataclass(frozen=True, kw_only=True)
class CongenitalBlock(Disorder):
    """Vertebrae that were never separated: low discs, a waist at the disc, fused arches.

    Attributes
    ----------
    levels : tuple of str
        The levels whose lower neighbor is fused to them.
    marrow_fraction : float
        Width and depth of the bone in place of the disc, relative to the bodies; the rest is what is left of the disc.
    has_fused_arches : bool
        Whether the laminae are fused too.
    """

    levels: tuple[str, ...]
    marrow_fraction: float
    has_fused_arches: bool

    def person(self, person: Person) -> Person:
        """Return a person with small bodies and low discs at the block."""
        lower = [BELOW[level] for level in self.levels]
        person = scale_measures(person, {"disc height": 0.62, "body depth below": 0.86}, self.levels)
        person = scale_measures(person, {"body depth above": 0.86}, lower)
        return scale_measures(person, {"body height": 0.93, "body width": 0.95}, {*self.levels, *lower})

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with bone in place of discs and joints."""
        parts: dict[str, list[Part]] = {}
        for level in self.levels:
            bone = fusion_parts(neck.person, level)
            if self.has_fused_arches:
                bone += _fused_arches(neck, level)
            parts[level] = [*bone, *_waist(neck.person, level)]
        marrow = [_marrow(neck, level, self.marrow_fraction) for level in self.levels]
        return add_inserts(add_parts(neck, parts), marrow)


@dataclass(frozen=True, kw_only=True)
class AnkylosingSpondylitis(Disorder):
    """A bamboo spine: thin bone bridges the discs at their margin, joints are fused, bone is thin, the neck is bent.

    Attributes
    ----------
    levels : tuple of str
        The levels that are fused to their lower neighbor.
    flexion_deg : float
        Additional kyphosis of the fused levels.
    disc_hu : float
        Density of the discs, which ossify late.
    bridge_mm : float
        Radius of the bony bridges.
    """

    levels: tuple[str, ...]
    flexion_deg: float
    disc_hu: float
    bridge_mm: float

    def person(self, person: Person) -> Person:
        """Return the person with thin bone."""
        bone = replace(person.bone, trabecular_hu=0.55 * person.bone.trabecular_hu)
        return replace(person, bone=bone)

    def frames(self, frames: Frames, person: Person) -> Frames:
        """Return the frames, bent forward where they are fused."""
        share = self.flexion_deg / len(self.levels)
        return bend(frames, person, dict.fromkeys(self.levels, (share, 0.0, 0.0)))

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with bridged discs and fused joints."""
        parts: dict[str, list[Part]] = {}
        discs = []
        for level in self.levels:
            _, *joints = fusion_parts(neck.person, level)
            parts[level] = [*joints, *syndesmophytes(neck, level, self.bridge_mm)]
            if self.disc_hu:
                discs.append(disc_filling(neck, level, 0.75, self.disc_hu))
        return add_inserts(add_parts(neck, parts), discs)


def disc_filling(neck: Neck, level: str, fraction: float, hu: float) -> Insert:
    """Return what fills the disc below a level, over a fraction of its width and depth, and leaves bone as it is."""
    top, bottom = disc_ends(neck.frames, neck.person, level)
    half = float(np.linalg.norm(top - bottom)) / 2 + 1.5
    radii = (fraction * body_width(neck.person, level) / 2, -fraction * front_y(neck.person, level), half)
    disc = Part(Ellipsoid((0.0, 0.0, 0.0), radii), 0.0)
    return Insert((disc,), hu, disc_frame(neck.frames, neck.person, level), max_background_hu=250.0)


def _marrow(neck: Neck, level: str, fraction: float) -> Insert:
    """Return trabecular bone across the endplates of the disc below a level."""
    top, bottom = disc_ends(neck.frames, neck.person, level)
    half = float(np.linalg.norm(top - bottom)) / 2 + 2.2
    width, depth = body_width(neck.person, level) / 2 - 2.0, -front_y(neck.person, level) - 2.0
    solid = Ellipsoid((0.0, 0.0, 0.0), (fraction * width, fraction * depth, half))
    frame = disc_frame(neck.frames, neck.person, level)
    return Insert((Part(solid, 0.0),), 0.95 * neck.person.bone.trabecular_hu, frame)


def _waist(person: Person, level: str) -> Iterable[Part]:
    """Yield what a block lacks at the front and the sides of the disc below a level."""
    height = person.measures[level]["body height"] / 2 + disc_space(person, level) / 2
    half, front = body_width(person, level) / 2, front_y(person, level)
    yield Part(Rod((-20.0, front - 1.8, -height), (20.0, front - 1.8, -height), (3.0, 3.0)), 2.0, is_cutout=True)
    if level != "C2":
        for side in SIDES:
            x = side * (half + 1.2)
            yield Part(Rod((x, front, -height), (x, -front - 5.0, -height), (2.6, 2.6)), 2.0, is_cutout=True)


def _lamina(person: Person, level: str) -> Floats:
    """Return where the laminae of a level meet, C2 and below, in its frame."""
    if level != "C2":
        return landmarks_of(person, level).lamina
    measures = person.measures[level]
    return vector(0.0, measures["body depth below"] / 2 + measures["canal depth"] + 2.4, -5.5)


def _fused_arches(neck: Neck, level: str) -> Iterable[Part]:
    """Yield bone between the laminae of a level and of the one below, in the frame of the level."""
    lower = BELOW[level]
    start = _lamina(neck.person, level) + vector(0.0, 1.5, 0.0)
    end = in_frame(neck.frames[level], neck.frames[lower].to_lps(_lamina(neck.person, lower))) + vector(0.0, 1.5, 0.0)
    yield Part(Rod(start, end, (2.4, 2.4), 2.2, (1.0, 0.0, 0.0)), 2.0)


def syndesmophytes(neck: Neck, level: str, radius_mm: float) -> Iterable[Part]:
    """Yield thin bridges across the margin of the disc below a level: in front, and on both sides of it."""
    frame, lower = neck.frames[level], neck.frames[BELOW[level]]
    for angle in np.radians([-70.0, -38.0, 0.0, 38.0, 70.0]):
        ends = []
        for name, end, up in ((level, frame, -0.5), (BELOW[level], lower, 0.5)):
            x = 0.98 * body_width(neck.person, name) / 2 * np.sin(angle)
            y = front_y(neck.person, name) * np.cos(angle) - 0.4 * radius_mm
            z = up * neck.person.measures[name]["body height"]
            ends.append(in_frame(frame, end.to_lps([x, y, 0.75 * z])))
        middle = (ends[0] + ends[1]) / 2 + 1.2 * vector(np.sin(angle), -np.cos(angle), 0.0)
        for start, end_mm in ((ends[0], middle), (middle, ends[1])):
            yield Part(Rod(start, end_mm, (radius_mm, radius_mm), 2.2, (np.cos(angle), np.sin(angle), 0.0)), 1.0)


def draw_congenital_block(rng: np.random.Generator) -> Disorder:
    """Draw a congenital block: C2-C3 most often, then C5-C6; a third span several levels (Klippel-Feil)."""
    first = str(rng.choice(["C2", "C3", "C4", "C5", "C6"], p=[0.45, 0.12, 0.08, 0.25, 0.1]))
    levels = [first]
    while rng.random() < 0.3 and BELOW[levels[-1]] != "C7":
        levels.append(BELOW[levels[-1]])
    return CongenitalBlock(
        names=tuple(f"congenital block {level}-{BELOW[level]}" for level in levels),
        levels=tuple(levels),
        marrow_fraction=float(rng.uniform(0.3, 1.0)),
        has_fused_arches=bool(rng.random() < 0.7),
    )


def draw_ankylosing_spondylitis(rng: np.random.Generator) -> Disorder:
    """Draw an ankylosing spondylitis over 4 to 7 levels, mostly bent forward."""
    levels = draw_levels(rng, ("C2", *SUBAXIAL, "T1"), (4, 7))
    return AnkylosingSpondylitis(
        names=tuple(f"ankylosed {level}-{BELOW[level]}" for level in levels),
        levels=levels,
        flexion_deg=float(rng.uniform(-5.0, 35.0)),
        disc_hu=float(rng.choice([0.0, rng.uniform(200.0, 450.0)])),
        bridge_mm=float(rng.uniform(0.9, 1.8)),
    )
