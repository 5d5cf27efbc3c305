"""The shape of each vertebra in its own frame: origin at the body's centre, x left, y back, z up, in mm.

Sizes follow the morphometry in the project's design notes: body depth 15-16, width 20-25 rising downward, height 12
(C3) to 10.7 (C5), canal 13-14 deep and 20-22 wide, spinous process 15, dens 11.5 x 9.9 x 13-18, C1 72 wide with a canal
of 28 x 27, C2 pedicle 21.6 x 8.8.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.phantom.shapes import Field, Points, Vector, capsule, drum, ellipsoid, join

SIDES: Final = (-1.0, 1.0)


@dataclass(frozen=True)
class Build:
    """The measures of one vertebra of the C3 kind, in mm."""

    width: float
    depth: float
    height: float
    spinous: float
    """Length of the spinous process behind the arch."""
    spinous_drop: float
    transverse: float
    """Half the breadth over the transverse processes."""
    bifid: bool


BUILDS: Final[dict[str, Build]] = {
    "C3": Build(20.5, 15.0, 12.0, 13.0, 5.0, 24.0, bifid=True),
    "C4": Build(21.5, 15.3, 11.4, 14.0, 5.5, 25.0, bifid=True),
    "C5": Build(22.5, 15.5, 10.9, 15.0, 6.0, 26.0, bifid=True),
    "C6": Build(23.8, 15.9, 11.0, 17.0, 8.0, 27.0, bifid=True),
    "C7": Build(25.0, 16.3, 12.6, 30.0, 14.0, 31.0, bifid=False),
    "T1": Build(27.0, 16.8, 14.8, 30.0, 16.0, 36.0, bifid=False),
    "T2": Build(26.0, 17.5, 16.0, 30.0, 18.0, 34.0, bifid=False),
}

HEIGHTS: Final = {"C1": 10.0, "C2": 20.0} | {level: build.height for level, build in BUILDS.items()}


def bone(level: str, points: Points) -> Field:
    """Return the signed distance to a vertebra's bone.

    Parameters
    ----------
    level : str
        C1 to C7, T1 or T2.
    points : three arrays
        Places in the vertebra's frame, in mm.
    """
    if level == "C1":
        return _atlas(points)
    if level == "C2":
        return _axis(points)
    return _subaxial(points, BUILDS[level])


def _atlas(points: Points) -> Field:
    front, back = (0.0, -13.5, 0.0), (0.0, 25.0, -1.0)
    parts = [ellipsoid(points, (0.0, -14.5, 0.0), (4.0, 3.2, 5.2)), ellipsoid(points, back, (4.0, 3.4, 5.0))]
    for side in SIDES:
        mass = (side * 17.5, 1.0, 0.0)
        parts += [
            ellipsoid(points, mass, (7.0, 9.0, 8.0)),
            capsule(points, front, (side * 9.0, -10.5, 0.0), 3.2),
            capsule(points, (side * 9.0, -10.5, 0.0), mass, 3.4),
            capsule(points, (side * 16.5, 8.0, 0.0), (side * 12.0, 19.0, -1.0), 3.0),
            capsule(points, (side * 12.0, 19.0, -1.0), back, 3.2),
            capsule(points, mass, (side * 33.0, 3.0, -1.0), 3.4),
        ]
    return _drill(points, join(parts), 27.0, 1.5, 2.9)


def _axis(points: Points) -> Field:
    parts = [
        drum(points, (0.0, 0.0, -1.0), (9.5, 8.0), 19.0, 0.12),
        capsule(points, (0.0, -1.0, 6.0), (0.0, -1.5, 21.5), 5.1),
    ]
    for side in SIDES:
        parts += [
            ellipsoid(points, (side * 15.0, 1.0, 5.5), (7.5, 8.0, 5.0)),
            capsule(points, (side * 10.0, 2.0, 2.0), (side * 17.0, 11.0, -3.0), 4.2),
            capsule(points, (side * 19.0, 13.0, -8.0), (side * 18.0, 9.0, -1.0), 5.0),
            capsule(points, (side * 17.0, 13.0, -4.0), (side * 1.0, 27.0, -5.0), 3.4),
            capsule(points, (0.0, 27.0, -5.0), (side * 4.0, 40.0, -9.0), 3.6),
            capsule(points, (side * 15.0, 3.0, -1.0), (side * 25.0, 6.0, -5.0), 3.2),
        ]
    return _drill(points, join(parts), 20.0, 3.5, 2.6)


def _subaxial(points: Points, build: Build) -> Field:
    half_width, half_depth = build.width / 2, build.depth / 2
    arch = half_depth + 17.5
    tip: Vector = (0.0, arch + build.spinous, -3.0 - build.spinous_drop)
    parts = [drum(points, (0.0, 0.0, 0.0), (half_width, half_depth), build.height, 0.14)]
    for side in SIDES:
        pillar = side * (half_width + 8.0)
        end = (side * 3.2, tip[1], tip[2]) if build.bifid else tip
        parts += [
            capsule(
                points,
                (side * (half_width - 1.5), -1.0, build.height / 2 - 1),
                (side * (half_width - 1), 4.0, build.height / 2 + 1.0),
                1.8,
            ),
            capsule(points, (side * (half_width - 2), 5.0, 0.5), (pillar, 10.0, 0.0), 3.1),
            capsule(points, (pillar, 7.5, 5.0), (pillar, 14.5, -5.0), 5.6),
            capsule(points, (pillar - side * 2.5, 14.0, -1.0), (side * 1.0, arch, -3.0), 2.7),
            capsule(points, (0.0, arch, -3.0), end, 2.7),
            capsule(points, (side * (half_width - 1), 0.0, -1.0), (side * build.transverse, 4.0, -2.0), 2.9),
        ]
    solid = join(parts)
    return solid if build.height > 14.0 else _drill(points, solid, half_width + 4.6, 2.0, 2.7)


def _drill(points: Points, solid: Field, x: float, y: float, radius: float) -> Field:
    """Take the transverse foramina, upright holes on both sides, out of a solid."""
    hole = np.hypot(np.abs(points[0]) - np.float32(x), points[1] - np.float32(y)) - np.float32(radius)
    return np.asarray(np.maximum(solid, -hole), np.float32)
