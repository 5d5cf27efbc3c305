"""The spine below T2: vertebrae stacked downward from the frames of the neck."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from cspine.phantom.anatomy.organs import Layout, layout_along_spine
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame, Posture
from cspine.phantom.body.skeleton.morphometry import LOWER_STACK

_KYPHOSIS_FRACTION: Final = dict(
    zip(LOWER_STACK[:10], (0.09, 0.10, 0.11, 0.12, 0.12, 0.11, 0.10, 0.09, 0.08, 0.08), strict=True)
)
"""Distribution of the kyphosis from T2 to T12 over the discs above these levels."""

_LORDOSIS_FRACTION: Final = {"L1": 0.03, "L2": 0.08, "L3": 0.15, "L4": 0.21, "L5": 0.26, "S1": 0.27}
"""Distribution of the lordosis from T12 to S1 over the discs above these levels (Been and Kalichman 2014)."""

_TILT_FRACTION: Final = 0.2
"""Part of the lateral tilt of the neck that each of T3 to T7 takes back."""

_DISCS_ABOVE: Final = ("T2", *LOWER_STACK[:-1])


@dataclass(frozen=True)
class LowerPosture:
    """Angles of the spine below T2, in degrees.

    Attributes
    ----------
    kyphosis_deg : float
        Angle between T2 and T12.
    lordosis_deg : float
        Angle between T12 and S1.
    scoliosis_deg : float
        Lateral bend below `scoliosis_apex`, which is bent back above it.
    scoliosis_apex : str
        Level of the apex.
    """

    kyphosis_deg: float
    lordosis_deg: float
    scoliosis_deg: float
    scoliosis_apex: str


_SCOLIOTIC_FRACTION: Final = 0.08
"""Fraction of people with a clear scoliosis."""


def draw_lower_posture(posture: Posture, rng: np.random.Generator, *, posture_sd_factor: float = 1.0) -> LowerPosture:
    """Draw a supine posture of the spine below T2 that continues the neck's.

    Thoracic kyphosis is 20 to 55 degrees, lumbar lordosis 30 to 70 (Roussouly and Pinheiro-Franco 2011). They are drawn
    so that T12 leans back by about 15 degrees and the sacrum slopes by about 36, which balances the trunk.

    Parameters
    ----------
    posture : Posture
        Of the neck.
    rng : numpy Generator
        Random number generator; it is advanced.
    posture_sd_factor : float
        Factor on the standard deviations of all angles.
    """
    t2_slope = posture.t1_slope_deg + 4.0
    kyphosis = float(np.clip(t2_slope + rng.normal(15.0, 5.0 * posture_sd_factor), 15.0, 65.0))
    lordosis = kyphosis - t2_slope + rng.normal(36.0, 7.0 * posture_sd_factor)
    scoliosis_sd = posture_sd_factor * (14.0 if rng.random() < _SCOLIOTIC_FRACTION else 2.5)
    return LowerPosture(
        kyphosis_deg=kyphosis,
        lordosis_deg=float(np.clip(lordosis, 20.0, 75.0)),
        scoliosis_deg=float(np.clip(rng.normal(0.0, scoliosis_sd), -35.0, 35.0)),
        scoliosis_apex=str(rng.choice(["T7", "T8", "T9", "T12", "L1", "L2"])),
    )


def place_lower_vertebrae(
    person: Person, frames: Mapping[str, Frame], posture: Posture, lower: LowerPosture, rng: np.random.Generator
) -> dict[str, Frame]:
    """Return the given frames and those of the vertebrae T3 to S1, each under the disc of the one above.

    Parameters
    ----------
    person : Person
        Gives the sizes of bodies and discs.
    frames : dict
        Level to frame, C0 to T2, which stay as they are.
    posture, lower : Posture, LowerPosture
        Angles between the vertebrae.
    rng : numpy Generator
        Source of the small random angles of each joint.
    """
    placed = {level: frames[level] for level in reversed(list(frames))}  # from C0 down
    rotation = Rotation.from_matrix(frames["T2"].axes)
    apex = LOWER_STACK.index(lower.scoliosis_apex)
    for index, (above, level) in enumerate(pairwise(("T2", *LOWER_STACK))):
        flexion = lower.kyphosis_deg * _KYPHOSIS_FRACTION.get(level, 0.0)
        flexion -= lower.lordosis_deg * _LORDOSIS_FRACTION.get(level, 0.0)
        bend = lower.scoliosis_deg * {-3: 0.25, -2: 0.25, -1: 0.5, 0: 0.0, 1: -0.5, 2: -0.25, 3: -0.25}.get(
            index - apex, 0.0
        )
        untilt = -posture.lateral_tilt_deg * _TILT_FRACTION * (index < 5)
        angles = [-flexion + rng.normal(0, 0.8), bend + untilt + rng.normal(0, 0.6), rng.normal(0, 0.5) - 0.4 * bend]
        rotation = rotation * Rotation.from_euler("xyz", angles, degrees=True)
        axes, over, measures = rotation.as_matrix(), placed[above], person.measures
        bottom = over.to_lps([0.0, 0.0, -measures[above]["body height"] / 2])
        up = over.axes[:, 2] + axes[:, 2]
        top = bottom - up / np.linalg.norm(up) * lower_disc_space(person, above)
        placed[level] = Frame(top - axes @ [0.0, 0.0, measures[level]["body height"] / 2], axes)
    return placed


def lower_disc_space(person: Person, level: str) -> float:
    """Return the height of the disc below a level from T2 to L5, in mm; less when degenerated."""
    factor = 1.15 - 0.35 * person.degeneration
    return max(person.measures[level]["disc height"] * factor, 1.5)


def layout_of_body(person: Person, frames: Mapping[str, Frame]) -> Layout:
    """Return the canal and the anterior wall of every vertebra, C1 to S1."""
    neck = layout_along_spine(person, frames)
    canal, front = {}, {}
    for level in frames:
        if level in neck.canal:
            canal[level], front[level] = neck.canal[level], neck.front[level]
        elif level != "C0":
            measures = person.measures[level]
            half = measures["body depth above"] / 2
            canal[level] = frames[level].to_lps([0.0, half + measures["canal depth"] / 2, 0.0])
            front[level] = frames[level].to_lps([0.0, -half, 0.0])
    return Layout(canal, front, frames)


def lower_pillar_space(frames: Mapping[str, Frame], level: str) -> float:
    """Return the distance of a level from the next one below, in mm."""
    levels = ("T2", *LOWER_STACK)
    index = min(levels.index(level), len(levels) - 2)
    one, other = frames[levels[index]].center_mm, frames[levels[index + 1]].center_mm
    return float(np.linalg.norm(one - other))
