"""Bones of the face, and teeth, in the frame of the skull."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.body.head_shape import HeadShape
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.solids import SIDES, Ellipsoid, Rod

_N_TEETH: Final = 14
"""Teeth of each jaw, without wisdom teeth."""

_P_FILLED: Final = 0.4
"""Probability that a person has fillings or crowns of metal."""

_METAL_HU: Final = 6000.0
"""Of crowns and amalgam, averaged over the tooth; scanners clip it."""


def face(shape: HeadShape, rng: np.random.Generator) -> Iterator[HardTissue]:
    """Yield the bones of the face and the teeth."""
    yield from _upper_face(shape)
    yield from _maxilla(shape)
    yield from _mandible(shape)
    if not shape.is_edentulous:
        yield from _teeth(shape, rng)


def _upper_face(shape: HeadShape) -> Iterator[HardTissue]:
    at, bones = shape.at, []
    for side in SIDES:
        orbit = Ellipsoid(at(side * 32, -68, 38), shape.radii(21, 30, 20))
        opening = Ellipsoid(at(side * 33, -76, 38), shape.radii(19.4, 36, 18.4))
        walls = (Part(orbit), Part(opening, 1.0, is_cutout=True))
        yield HardTissue(walls, 0.9, 900.0, 500.0)
        rim = [at(side * 9, -92, 50), at(side * 28, -91, 58), at(side * 47, -79, 50), at(side * 48, -73, 30)]
        bones += [Part(Rod(start, end, (4.6, 4.6)), 4.0) for start, end in pairwise(rim)]
        bones += rods([at(side * 47, -76, 24), at(side * 34, -86, 20), at(side * 16, -90, 22)], 3.2, blend_mm=3.0)
        bones.append(Part(Ellipsoid(at(side * 46, -72, 20), shape.radii(8, 9, 11)), 4.0))  # cheek bone
        bones += rods([at(side * 52, -68, 20), at(side * 66, -42, 20), at(side * 64, -12, 24)], 2.4, 1.6, blend_mm=2.0)
        bones.append(Part(Rod(at(side * 9, -90, 44), at(side * 14, -90, 8), (3.5, 4.0), 1.4, (0, 1, 0)), 3.0))
        bones.append(Part(Rod(at(side * 3, -92, 48), at(side * 4, -106, 27), (2.2, 1.3), 1.8, (1, 0, 0)), 2.0))
    yield HardTissue(tuple(bones), 1.6, 1300.0, 550.0)


def _maxilla(shape: HeadShape) -> Iterator[HardTissue]:
    at, parts = shape.at, []
    height = 0.9 if shape.is_edentulous else 1.4
    for side in SIDES:
        parts += [
            Part(Rod(at(side * 27, -52, -7), at(side * 22, -80, -8), (6.5, 6.0), height), 4.0),
            Part(Rod(at(side * 22, -80, -8), at(0, -95, -7), (6.0, 5.5), height), 4.0),
            Part(Rod(at(side * 13, -44, 26), at(side * 17, -45, -4), (2.0, 2.0), 3.0, (0, 1, 0)), 2.0),  # pterygoid
        ]
    parts.append(Part(Rod(at(0, -50, -1), at(0, -92, -2), (1.8, 2.2), 10.0, (1, 0, 0)), 3.0))  # palate
    yield HardTissue(tuple(parts), 1.4, 1250.0, 450.0)
    septum = Part(Rod(at(0, -46, 18), at(0, -92, 16), (0.9, 0.8), 20.0), 0.5)
    turbinates = [
        Part(Rod(at(side * x, -56, z), at(side * x, -86, z), (2.0, 1.5), 2.0), 0.5)
        for side in SIDES
        for x, z in ((8, 7), (6, 22))
    ]
    yield HardTissue((septum, *turbinates), 0.7, 250.0, 120.0)


def _mandible(shape: HeadShape) -> Iterator[HardTissue]:
    at, parts = shape.at_jaw, []
    height, low = (1.5, -5.0) if shape.is_edentulous else (2.4, 0.0)
    for side in SIDES:
        head, angle = at(side * 50, -22, 18), at(side * 47, -36, -38)
        molar, canine = at(side * 31, -66, -45 + low), at(side * 16, -89, -52 + low)
        parts += [
            Part(Ellipsoid(head, (9.0, 4.8, 5.0))),
            Part(Rod(head, angle, (3.4, 4.4), 3.0, (0, 1, 0)), 3.0),
            Part(Rod(at(side * 47, -46, 8), at(side * 45, -46, -26), (2.4, 4.0), 2.2, (0, 1, 0)), 4.0),  # coronoid
            Part(Rod(angle, molar, (4.6, 5.4), height), 5.0),
            Part(Rod(molar, canine, (5.4, 5.2), height), 4.0),
            Part(Rod(canine, at(0, -96, -55 + low), (5.2, 5.8), height), 4.0),
        ]
    parts.append(Part(Ellipsoid(at(0, -97, -62 + low / 2), (12.0, 6.5, 8.0)), 4.0))
    yield HardTissue(tuple(parts), 2.4, 1450.0, 350.0)


def _teeth(shape: HeadShape, rng: np.random.Generator) -> Iterator[HardTissue]:
    p_lost, p_metal = rng.uniform(0, 0.3), rng.uniform(0.05, 0.5) * (rng.random() < _P_FILLED)
    teeth, metal = [], []
    for crown, root, radius in crowns(shape):
        if rng.random() < p_lost:
            continue
        teeth.append(Part(Rod(crown, root, (radius, radius * 0.5)), 0.3))
        if rng.random() < p_metal:
            metal.append(Part(Ellipsoid(crown, (radius, radius, radius * 0.9)), 0.0))
    if teeth:
        yield HardTissue(tuple(teeth), 1.3, 2600.0, 1700.0)
    if metal:
        yield HardTissue(tuple(metal), 0.5, _METAL_HU, _METAL_HU)


def crowns(shape: HeadShape) -> list[tuple[Floats, Floats, float]]:
    """Return the crown (3,), the apex of the root (3,) and the radius of each tooth, in the frame of the skull."""
    teeth = []
    for number in range(_N_TEETH):
        angle = np.radians(-72.0 + 144.0 * number / (_N_TEETH - 1))
        x, y = 27.5 * float(np.sin(angle)), -54.0 - 38.0 * float(np.cos(angle)) ** 1.5
        radius = 2.7 + 1.8 * float(np.sin(angle)) ** 2
        for at, crown, root in ((shape.at, -19.0, -5.0), (shape.at_jaw, -23.0, -40.0)):
            teeth.append((at(x, y, crown), at(x * 0.97, y + 2.0, root), radius))
    return teeth
