"""The rib cage: ribs that articulate with the thoracic vertebrae, costal cartilage, and the sternum, in LPS."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.organs import Layout
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame
from cspine.phantom.anatomy.subaxial import landmarks_of
from cspine.phantom.body.skeleton.thoracolumbar import lower_landmarks
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Rod

_HALF_WIDTH: Final = (0.42, 0.60, 0.75, 0.85, 0.92, 0.96, 0.99, 1.0, 1.0, 0.97, 0.90, 0.78)
"""Half width of the cage at each rib, relative to the widest."""

_BACK_MM: Final = (25.0, 34.0, 40.0, 44.0, 46.0, 47.0, 48.0, 48.0, 48.0, 47.0, 45.0, 40.0)
"""How far the back of each rib lies behind the center of its vertebra."""

_DROP_MM: Final = (28.0, 44.0, 54.0, 62.0, 70.0, 76.0, 80.0, 82.0, 78.0, 70.0, 44.0, 26.0)
"""How far the anterior end of each rib lies below its head."""

_FRONT_X: Final = (0.30, 0.36, 0.42, 0.47, 0.52, 0.58, 0.64, 0.72, 0.80, 0.88)
"""Lateral position of the anterior end of ribs 1 to 10, relative to the widest half width of the cage."""

_FLOATING_TURN: Final = (0.44, 0.24)
"""Where ribs 11 and 12 end, as a fraction of the way from the back to the front around the cage."""

_N_TURNS: Final = 9
"""Rods that make up a rib from its angle on."""

_SQUARENESS: Final = 0.85
"""Exponent on sine and cosine of the outline of a rib in plan; 1 is an ellipse."""


@dataclass(frozen=True)
class CagePlan:
    """Size of the rib cage and line of the sternum, in LPS.

    Attributes
    ----------
    half_width_mm : float
        Half the width outside the ribs where it is widest.
    notch, angle, xiphoid : (3,)
        Anterior surface of the sternum: jugular notch, sternal angle and lower end.
    """

    half_width_mm: float
    notch: Floats
    angle: Floats
    xiphoid: Floats

    def front_y(self, z_mm: float) -> float:
        """Return the y of the sternum, or of its prolongation, at a height."""
        slope = (self.xiphoid[1] - self.notch[1]) / (self.xiphoid[2] - self.notch[2])
        return float(self.notch[1] + slope * (z_mm - self.notch[2]))


def draw_cage(person: Person, layout: Layout, rng: np.random.Generator) -> CagePlan:
    """Draw the size of the rib cage: 250 to 300 mm wide in adults, 60 mm from spine to notch, 110 to 150 mm below."""
    half = float(np.clip(134.0 * person.scale + 8.0 * (person.girth - 0.45) + rng.normal(0, 6.0), 105.0, 165.0))
    front, scale = layout.front, person.scale
    top = 0.5 * (front["T2"] + front["T3"])
    low = 0.5 * (front["T9"] + front["T10"])
    depth = float(np.clip(rng.normal(122.0, 9.0), 95.0, 150.0)) * scale
    notch = vector(0.5 * top[0], top[1] - 54.0 * scale, top[2])
    xiphoid = vector(0.5 * low[0], min(low[1] - depth, notch[1] - 10.0), low[2])
    angle = notch + 0.32 * (xiphoid - notch) - vector(0, 5.0, 0)
    return CagePlan(half, notch, angle, xiphoid)


def rib_cage(
    person: Person, layout: Layout, cage: CagePlan, rng: np.random.Generator, *, pairs: int = 12
) -> Iterator[HardTissue]:
    """Yield ribs, costal cartilage and sternum.

    Parameters
    ----------
    person, layout
        Give sizes and vertebrae.
    cage : CagePlan
        Size of the cage.
    rng : numpy Generator
        Random number generator; it is advanced.
    pairs : int
        Pairs of ribs, 11 or 12.
    """
    cortex_hu, marrow_hu = person.bone.cortex_hu - 250.0, 0.45 * person.bone.trabecular_hu + 30.0
    calcified = float(np.clip((person.age_years - 30.0) / 60.0, 0.0, 1.0)) * rng.uniform(0.3, 1.0)
    for number in range(1, pairs + 1):
        for side in SIDES:
            path = rib_path(person, layout, cage, number, side)
            yield HardTissue(_rib(path, number), 1.1, cortex_hu, marrow_hu)
            if number <= 10:
                cartilage = _cartilage(path[-1], cage, number, side)
                yield HardTissue(cartilage, 1.2, 120.0 + 450.0 * calcified, 95.0 + 50.0 * calcified)
    yield HardTissue(_sternum(cage), 1.2, cortex_hu - 150.0, marrow_hu)


def rib_path(person: Person, layout: Layout, cage: CagePlan, number: int, side: float) -> list[Floats]:
    """Return the axis of a rib from its head to its anterior end, as points in LPS, each (3,)."""
    level = f"T{number}"
    frame, mirror = layout.frames[level], np.array([side, 1.0, 1.0])
    head, tubercle = (frame.to_lps(mirror * point) for point in _joints(person, level, number))
    center = frame.center_mm
    half = cage.half_width_mm * _HALF_WIDTH[number - 1] - 4.0
    back = float(center[1]) + _BACK_MM[number - 1] * person.scale
    drop = _DROP_MM[number - 1] * person.scale
    front = cage.front_y(float(head[2]) - drop) + 6.0
    middle, depth, x0 = 0.5 * (back + front), 0.5 * (back - front), 0.6 * float(center[0])
    start = float(np.arcsin(np.clip((abs(float(tubercle[0] - x0)) + 12.0) / half, 0, 0.85) ** (1 / _SQUARENESS)))
    if number <= 10:
        reach = np.clip(_FRONT_X[number - 1] * cage.half_width_mm / half, 0, 0.97)
        end = np.pi - float(np.arcsin(reach ** (1 / _SQUARENESS)))
    else:
        end = max(np.pi * _FLOATING_TURN[number - 11], start + 0.3)
    path = [head, tubercle]
    for turn in np.linspace(start, end, _N_TURNS):
        across, along = np.sin(turn) ** _SQUARENESS, np.sign(np.cos(turn)) * abs(np.cos(turn)) ** _SQUARENESS
        progress = (turn - start) / (end - start)
        fall = drop * (0.12 + 0.88 * progress**0.9) if number > 1 else drop * (0.2 + 0.8 * progress)
        path.append(vector(x0 + side * half * across, middle + depth * along, float(tubercle[2]) - fall))
    return path


def _joints(person: Person, level: str, number: int) -> tuple[Floats, Floats]:
    """Return where the head of a left rib lies, and its tubercle in front of the transverse process, (3,) each."""
    measures, traits = person.measures[level], person.traits[level]
    if number <= 2:
        at = landmarks_of(person, level)
        back, tip = at.body_back_y, at.anterior_tubercle
    else:
        lower = lower_landmarks(level, measures, traits)
        back, tip = lower.body_back_y, lower.transverse_tip
    height = 0.1 if number in {1, 11, 12} else 0.4
    head = vector(measures["body width"] / 2 + 3.5, back - 1.0, height * measures["body height"])
    if number >= 11:  # no joint with the transverse process
        return head, head + vector(14.0, 10.0, -1.0)
    return head, tip + vector(-1.0, -7.5, -1.0)


def _rib(path: list[Floats], number: int) -> tuple[Part, ...]:
    """Return the rods of a rib: flat, upright but for the first, which lies flat."""
    thin, ratio = (3.0, 2.2) if number == 1 else (2.8, 2.1) if number < 11 else (2.6, 1.8)
    axis = (1.0, 0.3, 0.0) if number == 1 else (0.0, 0.0, 1.0)
    radii = [3.6, 3.0, *([thin] * (len(path) - 3)), thin + 0.6]
    ratios = [1.0, 1.2, *([ratio] * (len(path) - 3))]
    return tuple(
        Part(Rod(start, end, (radii[index], radii[index + 1]), ratios[index], axis), 1.5)
        for index, (start, end) in enumerate(pairwise(path))
    )


def _cartilage(end: Floats, cage: CagePlan, number: int, side: float) -> tuple[Part, ...]:
    """Return the cartilage from the end of a rib to the sternum, or to the cartilage above."""
    along = min((number - 1) / 7.0, 1.0)
    notch, xiphoid = cage.notch, cage.xiphoid
    target = notch + (0.06 + 0.9 * along) * (xiphoid - notch) + vector(side * (26.0 - 10.0 * along), 5.0, 0.0)
    if number >= 8:
        target = target + vector(side * 22.0 * (number - 7), 12.0 * (number - 7), -18.0 * (number - 7))
    middle = 0.5 * (end + target) + vector(side * 4.0, -3.0, -12.0 * along)
    return tuple(Part(Rod(a, b, (4.2, 3.8), 1.6), 1.5) for a, b in ((end, middle), (middle, target)))


def _sternum(cage: CagePlan) -> tuple[Part, ...]:
    notch, angle, xiphoid = (point + vector(0, 6.0, 0) for point in (cage.notch, cage.angle, cage.xiphoid))
    body = angle + 0.06 * (xiphoid - angle)
    return (
        Part(Rod(notch - vector(0, 0, 4.0), angle, (5.5, 4.8), 4.6, (1, 0, 0))),
        Part(Rod(body, body + 0.8 * (xiphoid - body), (4.8, 5.2), 3.2, (1, 0, 0)), 3.0),
        Part(Rod(body + 0.8 * (xiphoid - body), xiphoid, (4.4, 2.5), 1.8, (1, 0, 0)), 3.0),
    )


def lumbar_ribs(person: Person, frames: Mapping[str, Frame], rng: np.random.Generator) -> Iterator[HardTissue]:
    """Yield short ribs of L1, on one side or both."""
    measures = person.measures["L1"]
    at = lower_landmarks("L1", measures, person.traits["L1"])
    for side in SIDES if rng.random() < 0.5 else (float(rng.choice(SIDES)),):
        mirror, length = np.array([side, 1.0, 1.0]), rng.uniform(15.0, 60.0)
        start = at.transverse_tip + vector(2.0, 0.0, -1.0)
        end = start + length * vector(0.85, -0.1, -0.5)
        yield HardTissue(
            (Part(Rod(mirror * start, mirror * end, (3.2, 2.6), 1.6), 1.5),),
            1.1,
            person.bone.cortex_hu - 250.0,
            0.45 * person.bone.trabecular_hu + 30.0,
            frames["L1"].affine,
        )
