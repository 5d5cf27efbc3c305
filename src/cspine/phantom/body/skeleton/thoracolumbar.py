"""The vertebrae T3 to L5 and the sacrum as unions of solids, built from their measures; coarser than those of the neck.

The frame of each has its origin in the center of the body, x to the left, y to the back and z upward, in mm.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.subaxial import Body
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Column, Ellipsoid, Rod

_SPINOUS_DROP: Final[Mapping[str, float]] = {
    "T3": 0.62, "T4": 0.70, "T5": 0.78, "T6": 0.82, "T7": 0.82, "T8": 0.78, "T9": 0.74, "T10": 0.62, "T11": 0.45,
    "T12": 0.30, "L1": 0.18, "L2": 0.15, "L3": 0.15, "L4": 0.15, "L5": 0.22,
}  # fmt: skip
"""Sine of the downward inclination of the spinous process: steep in the middle of the thorax, horizontal below."""


@dataclass(frozen=True)
class LowerLandmarks:
    """Landmarks of a vertebra from T3 to L5, in its frame; paired ones are of the left side.

    Attributes
    ----------
    body_back_y, canal_back_y : float
        The y of the posterior wall of the body and of the canal.
    pillar : (3,)
        Where pedicle, lamina and articular processes meet.
    transverse_tip : (3,)
        Tip of the transverse process.
    spinous_root, spinous_tip : (3,)
        Ends of the spinous process.
    """

    body_back_y: float
    canal_back_y: float
    pillar: Floats
    transverse_tip: Floats
    spinous_root: Floats
    spinous_tip: Floats


def lower_landmarks(level: str, measures: Mapping[str, float], traits: Mapping[str, float]) -> LowerLandmarks:
    """Return the landmarks of a vertebra from T3 to L5; for the arguments see `lower_vertebra`."""
    back = (measures["body depth above"] + measures["body depth below"]) / 4
    arch, height, is_lumbar = back + measures["canal depth"], measures["body height"], level.startswith("L")
    pillar = vector(measures["canal width"] / 2 + (5.0 if is_lumbar else 3.6), back + (11.0 if is_lumbar else 9.0), 2.0)
    drop = _SPINOUS_DROP[level] + 0.12 * (traits["drop"] - 0.5)
    length, root = measures["spinous process length"], vector(0.0, arch + 2.5, -0.28 * height)
    tip = root + length * vector(0.0, float(np.sqrt(1 - drop**2)), -drop)
    reach = measures["transverse reach"]
    transverse = vector(reach, pillar[1] + (1.0 if is_lumbar else 11.0), 2.0 if is_lumbar else 5.0)
    return LowerLandmarks(back, arch, pillar, transverse, root, tip)


def lower_vertebra(level: str, measures: Mapping[str, float], traits: Mapping[str, float]) -> Iterator[Part]:
    """Yield the parts of a vertebra from T3 to L5, or of the sacrum (S1).

    Parameters
    ----------
    level : str
        T3 to T12, L1 to L5, or S1.
    measures : dict
        Measures of the level, from `cspine.phantom.body.skeleton.morphometry.draw_lower_measures`.
    traits : dict
        Trait to a number from 0 to 1; see `cspine.phantom.anatomy.person.Person`.
    """
    if level == "S1":
        yield from _sacrum(measures)
        return
    at, is_lumbar = lower_landmarks(level, measures, traits), level.startswith("L")
    width, height = measures["body width"], measures["body height"]
    depth = (measures["body depth above"], measures["body depth below"])
    yield Part(Body(width, depth, height, waist=0.12, uncus=0.3, arch=0.8 + 0.7 * traits["arch"]))
    thick = measures["pedicle width"] / 2
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0])
        pillar, canal_half = mirror * at.pillar, measures["canal width"] / 2
        start = mirror * (canal_half + thick - 1.5, at.body_back_y - 4.0, 0.2 * height)
        yield Part(Rod(start, pillar + vector(0, -2.0, 0.14 * height), (thick, thick), max(7.0 / thick, 1.0)), 3.0)
        yield from _articular_processes(pillar, side, height, is_lumbar=is_lumbar)
        lamina = at.spinous_root + vector(side * 1.5, -1.0, 1.0)
        yield Part(
            Rod(pillar + vector(-side * 1.0, 1.0, -1.0), lamina, (2.8, 2.6), 0.3 * height / 2.7, (0, -0.3, 1)), 2.0
        )
        tip = mirror * at.transverse_tip
        if is_lumbar:
            yield Part(Rod(pillar + vector(0, -3.0, 2.0), tip, (3.6, 2.6), 1.7), 3.0)
        else:
            yield Part(Rod(pillar, tip, (4.2, 4.0)), 3.0)
            yield Part(Ellipsoid(tip, (5.0, 5.0, 5.5)), 2.0)
    yield from _spinous_process(at, height, is_lumbar=is_lumbar)
    middle = (0.0, at.body_back_y + measures["canal depth"] / 2)
    yield Part(
        Column(middle, (measures["canal width"] / 2, measures["canal depth"] / 2), (-0.9 * height, 0.9 * height)),
        1.0,
        is_cutout=True,
    )


def _articular_processes(pillar: Floats, side: float, height: float, *, is_lumbar: bool) -> Iterator[Part]:
    """Yield both articular processes of a side: their joints are coronal in the thorax, sagittal in the loin."""
    if is_lumbar:
        upper = pillar + vector(side * 3.5, 0.5, 0.62 * height)
        lower = pillar + vector(-side * 2.5, 5.0, -0.82 * height)
        yield Part(Rod(pillar, upper, (4.5, 4.6), 1.4, (0, 1, 0)), 2.0)
        yield Part(Rod(pillar + vector(0, 2.0, 0), lower, (4.6, 4.2), 1.3, (0, 1, 0)), 2.0)
        return
    yield Part(Rod(pillar, pillar + vector(0, -0.5, 0.60 * height), (2.8, 2.3), 2.0, (1, 0, 0)), 2.0)
    yield Part(Rod(pillar, pillar + vector(-side * 1.5, 4.0, -0.78 * height), (3.0, 2.4), 2.0, (1, 0, 0)), 2.0)


def _spinous_process(at: LowerLandmarks, height: float, *, is_lumbar: bool) -> Iterator[Part]:
    if is_lumbar:  # a tall plate, whose lower edge is thickest
        yield Part(Rod(at.spinous_root, at.spinous_tip - vector(0, 5.0, 0), (3.0, 3.4), 0.36 * height / 3.0), 3.0)
        return
    yield Part(Rod(at.spinous_root, at.spinous_tip, (3.2, 2.8), 1.9), 3.0)
    yield Part(Ellipsoid(at.spinous_tip - vector(0, 1.5, 0), (3.4, 3.8, 4.4)), 2.0)


def _sacrum(measures: Mapping[str, float]) -> Iterator[Part]:
    """Yield the parts of the sacrum and coccyx: five bodies on a curve, wings, and a crest around the canal."""
    width, height = measures["body width"], measures["body height"]
    depth = (measures["body depth above"], measures["body depth below"])
    yield Part(Body(width, depth, height, waist=0.08, uncus=0.0, arch=0.3))
    curve = [vector(0.0, 0.0, -0.45 * height), vector(0.0, 8.0, -1.35 * height), vector(0.0, 17.0, -2.15 * height)]
    curve += [vector(0.0, 21.0, -2.9 * height), vector(0.0, 14.0, -3.6 * height), vector(0.0, 2.0, -4.2 * height)]
    sizes = (11.0, 9.0, 7.0, 5.5, 4.0, 3.0)
    for number in range(5):
        radius = (sizes[number], sizes[number + 1])
        yield Part(Rod(curve[number], curve[number + 1], radius, 1.9 if number < 3 else 1.6, (1, 0, 0)), 3.0)
    reach = measures["transverse reach"]
    for side in SIDES:
        wing = rods(
            [vector(side * 14, 4.0, 2.0), vector(side * (reach - 12.0), 8.0, -0.25 * height)], 8.5, 1.3, (0, 0, 1)
        )
        yield from wing
        low = vector(side * 18.0, 22.0, -2.4 * height)
        yield Part(Rod(vector(side * (reach - 16.0), 11.0, -0.3 * height), low, (10.5, 5.0), 1.6, (1, 0, 0)), 5.0)
        joint = vector(side * (measures["canal width"] / 2 + 6.0), measures["body depth above"] / 2 + 12.0, 2.0)
        yield Part(Rod(joint, joint + vector(0.0, 1.0, 15.0), (5.0, 4.6), 1.3, (0, 1, 0)), 3.0)
        yield Part(Rod(joint, vector(side * 12.0, 34.0, -2.1 * height), (4.0, 3.0)), 3.0)
    back = measures["body depth above"] / 2 + measures["canal depth"]
    yield Part(Rod(vector(0, back + 5.0, -0.2 * height), vector(0, 38.0, -2.0 * height), (3.5, 2.5), 1.8), 3.0)
    path = [vector(0.0, back - 0.5 * measures["canal depth"], 0.7 * height), vector(0.0, 23.0, -0.9 * height)]
    path.append(vector(0.0, 30.0, -2.0 * height))
    for part in rods(path, 6.0, 2.0, (1, 0, 0)):
        yield Part(part.solid, 1.0, is_cutout=True)
