"""Posture beyond normal: kyphosis, torticollis, bends, scoliosis, listhesis, and heads far forward or extended.

Positive angles about x, y and z of a vertebra flex, bend to the left and turn to the left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats
from cspine.phantom.anatomy.person import STACK, Person
from cspine.phantom.anatomy.posture import Frame, Posture
from cspine.phantom.disorders.base import BELOW, Disorder, Frames, disc_ends, draw_within

_HEAD_PIVOT_MM = (0.0, 2.0, 18.0)
"""What the head nods about on the atlas, in the frame of C1: the center of curvature of the condyles."""

Angles = Mapping[str, tuple[float, float, float]]
"""Level to the angles about x, y and z by which it and all above it turn, in degrees."""


@dataclass(frozen=True, kw_only=True)
class AbnormalPosture(Disorder):
    """A posture that healthy, upright people do not take.

    Attributes
    ----------
    angles : dict
        Angles of the neck, as fields of `Posture`, that replace those of the person.
    joints_deg : dict
        Additional angles of the joint below each level.
    """

    angles: Mapping[str, float] = field(default_factory=dict)
    joints_deg: Angles = field(default_factory=dict)

    def posture(self, posture: Posture) -> Posture:
        """Return the posture with the disorder."""
        return replace(posture, **self.angles)

    def frames(self, frames: Frames, person: Person) -> Frames:
        """Return the frames of the vertebrae with the disorder."""
        return bend(frames, person, self.joints_deg)


@dataclass(frozen=True, kw_only=True)
class Listhesis(Disorder):
    """A vertebra that has slipped on the one below, by `slip_mm` to the front; to the back where negative."""

    level: str
    slip_mm: float

    def frames(self, frames: Frames, person: Person) -> Frames:  # noqa: ARG002 - as in the base
        """Return the frames of the vertebrae with the disorder."""
        return shift(frames, self.level, -self.slip_mm * frames[self.level].axes[:, 1])


def above(level: str) -> tuple[str, ...]:
    """Return a level and all above it, up to the skull.

    >>> above("C2")
    ('C2', 'C1', 'C0')
    """
    return ("C0",) if level == "C0" else (*STACK[STACK.index(level) :], "C0")


def shift(frames: Frames, level: str, way_mm: Floats) -> dict[str, Frame]:
    """Return frames with a level and all above it moved by a vector in LPS."""
    moved = {name: replace(frames[name], center_mm=frames[name].center_mm + way_mm) for name in above(level)}
    return {**frames, **moved}


def set_disc_height(frames: Frames, person: Person, level: str, height_mm: float) -> dict[str, Frame]:
    """Return frames in which the disc below a level has a height, between the endplates at its center."""
    top, bottom = disc_ends(frames, person, level)
    up = frames[BELOW[level]].axes[:, 2]
    return shift(frames, level, (height_mm - float((top - bottom) @ up)) * up)


def bend(frames: Frames, person: Person, joints_deg: Angles) -> dict[str, Frame]:
    """Return frames with joints turned: each carries all that is above it.

    Parameters
    ----------
    frames : dict
        Level to frame; levels below the joints stay where they are.
    person : Person
        Whose measures give the centers of the discs, about which vertebrae turn.
    joints_deg : dict
        Level to the angles of the joint below it.
    """
    turned = dict(frames)
    for level in (*STACK[1:], "C0"):
        if level not in joints_deg:
            continue
        axes = turned[level].axes
        rotation = axes @ Rotation.from_euler("xyz", joints_deg[level], degrees=True).as_matrix() @ axes.T
        pivot = _pivot(turned, person, level)
        for name in above(level):
            frame = turned[name]
            turned[name] = Frame(pivot + rotation @ (frame.center_mm - pivot), rotation @ frame.axes)
    return turned


def _pivot(frames: Frames, person: Person, level: str) -> Floats:
    """Return what a level turns about, in LPS: the center of the disc below, the dens, or that of the condyles."""
    if level in {"C0", "C1"}:
        return frames["C1"].to_lps(_HEAD_PIVOT_MM if level == "C0" else [0.0, 0.0, 0.0])
    return np.asarray(np.mean(disc_ends(frames, person, level), axis=0))


def _spread(total: tuple[float, float, float], weights: Mapping[str, float]) -> Angles:
    """Return angles distributed over joints by weights, which sum to 1."""
    return {level: (total[0] * part, total[1] * part, total[2] * part) for level, part in weights.items()}


def draw_kyphosis(rng: np.random.Generator) -> Disorder:
    """Draw a kyphosis of 15 to 45 degrees; the head is raised to look ahead."""
    kyphosis, raised = rng.uniform(15.0, 45.0), rng.uniform(5.0, 14.0)
    angles = {"lordosis_deg": -kyphosis, "t1_slope_deg": rng.uniform(0.0, 20.0)}
    return AbnormalPosture(
        names=("kyphosis",), angles=angles, joints_deg={"C1": (-0.5 * raised, 0, 0), "C0": (-raised, 0, 0)}
    )


def draw_hyperlordosis(rng: np.random.Generator) -> Disorder:
    """Draw a lordosis of 45 to 65 degrees."""
    angles = {"lordosis_deg": rng.uniform(45.0, 65.0), "t1_slope_deg": rng.uniform(28.0, 42.0)}
    return AbnormalPosture(names=("hyperlordosis",), angles=angles, joints_deg={"C0": (rng.uniform(0.0, 12.0), 0, 0)})


def draw_torticollis(rng: np.random.Generator) -> Disorder:
    """Draw a head turned by 25 to 60 degrees, often bent to the other side."""
    turned = draw_within(rng, 25.0, 60.0)
    bent = -np.sign(turned) * rng.uniform(5.0, 25.0) if rng.random() < 0.6 else 0.0
    weights = {"C6": 0.1, "C5": 0.15, "C4": 0.15, "C3": 0.2, "C2": 0.2, "C0": 0.2}
    return AbnormalPosture(
        names=("torticollis",), angles={"axial_rotation_deg": turned}, joints_deg=_spread((0.0, bent, 0.0), weights)
    )


def draw_lateral_bend(rng: np.random.Generator) -> Disorder:
    """Draw a lateral bend of the whole neck by 15 to 40 degrees, with the rotation that accompanies it."""
    bent = draw_within(rng, 15.0, 40.0)
    weights = {"T1": 0.05, "C7": 0.15, "C6": 0.15, "C5": 0.15, "C4": 0.15, "C3": 0.15, "C2": 0.1, "C0": 0.1}
    return AbnormalPosture(names=("lateral bend",), joints_deg=_spread((0.0, bent, 0.3 * bent), weights))


def draw_cervicothoracic_scoliosis(rng: np.random.Generator) -> Disorder:
    """Draw a scoliosis with its apex between C6 and T1, compensated above."""
    bent = draw_within(rng, 15.0, 35.0)
    back = -rng.uniform(0.6, 1.0) * bent
    lower = _spread((0.0, bent, 0.4 * bent), {"T1": 0.25, "C7": 0.3, "C6": 0.25, "C5": 0.2})
    upper = _spread((0.0, back, 0.4 * back), {"C4": 0.3, "C3": 0.3, "C2": 0.2, "C0": 0.2})
    return AbnormalPosture(names=("cervicothoracic scoliosis",), joints_deg={**lower, **upper})


def draw_high_pillow(rng: np.random.Generator) -> Disorder:
    """Draw a head far in front, as on a high pillow: flexed below, more or less level above."""
    flexed = rng.uniform(15.0, 40.0)
    lower = _spread((flexed, 0.0, 0.0), {"T1": 0.15, "C7": 0.25, "C6": 0.25, "C5": 0.2, "C4": 0.15})
    raised = rng.uniform(-8.0, 0.7 * flexed)
    return AbnormalPosture(
        names=("flexed head",), joints_deg={**lower, "C1": (-0.3 * raised, 0, 0), "C0": (-0.6 * raised, 0, 0)}
    )


def draw_extended_head(rng: np.random.Generator) -> Disorder:
    """Draw a head that is extended, chin up, as with a shoulder roll or an open airway."""
    extended = rng.uniform(20.0, 50.0)
    weights = {"C7": 0.08, "C6": 0.1, "C5": 0.12, "C4": 0.12, "C3": 0.1, "C2": 0.08, "C1": 0.15, "C0": 0.25}
    return AbnormalPosture(names=("extended head",), joints_deg=_spread((-extended, 0.0, 0.0), weights))


def draw_listhesis(rng: np.random.Generator) -> Disorder:
    """Draw a vertebra that has slipped by 2 to 5 mm, mostly to the front."""
    level = str(rng.choice(["C2", "C3", "C4", "C5", "C6", "C7"], p=[0.1, 0.25, 0.25, 0.2, 0.1, 0.1]))
    slip = float(rng.uniform(2.0, 5.0)) if rng.random() < 0.7 else -float(rng.uniform(2.0, 3.5))
    return Listhesis(names=(f"listhesis {level} on {BELOW[level]}",), level=level, slip_mm=slip)
