"""The axis (C2) as a union of solids, built from its measures.

Its frame has its origin in the center of the body below the dens, x to the left, y to the back and z upward, in mm.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats
from cspine.phantom.anatomy.subaxial import Body, endplate_arch, lamina
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Column, Ellipsoid, Pillar, Rod

DENS_TILT_DEG: Final = 8.0
"""Posterior tilt of the dens."""

AXIS_WIDTH_MM: Final = 17.5
"""Width of the body of C2 at its lower end."""

PEDICLE_INWARD_DEG: Final = 32.0
PEDICLE_UPWARD_DEG: Final = 23.0
"""Direction of the pedicles of C2 from the back into the body.

Anatomy Research International 2014, 425868: 32.2 and 23.3 degrees.
"""


def dens_base_z(measures: Mapping[str, float]) -> float:
    """Return the z of the base of the dens, in mm above the center of the body."""
    return measures["body height"] / 2 - 0.5


def dens_pivot(measures: Mapping[str, float]) -> tuple[float, float, float]:
    """Return the point of the dens, about two thirds of its height up, that the atlas turns about."""
    up = measures["dens height"] * 0.62
    return (0.0, -1.0 + float(np.tan(np.radians(DENS_TILT_DEG))) * up, dens_base_z(measures) + up)


def pedicle_direction(side: float) -> Floats:
    """Return the unit vector along a pedicle of C2 into the body.

    Parameters
    ----------
    side : float
        -1 for the right pedicle, 1 for the left one.
    """
    inward, upward = np.radians(PEDICLE_INWARD_DEG), np.radians(PEDICLE_UPWARD_DEG)
    return vector(-side * np.sin(inward) * np.cos(upward), -np.cos(inward) * np.cos(upward), np.sin(upward))


def axis(measures: Mapping[str, float], traits: Mapping[str, float]) -> Iterator[Part]:
    """Yield the parts of C2.

    Parameters
    ----------
    measures, traits : dict
        Measures of C2 in mm or degrees and its traits from 0 to 1, as in `subaxial`.
    """
    height, back = measures["body height"], measures["body depth below"] / 2
    canal_half, canal_depth = measures["canal width"] / 2, measures["canal depth"]
    body = Body(
        AXIS_WIDTH_MM, (13.0, measures["body depth below"]), height, waist=0.10, uncus=0.0, arch=endplate_arch(traits)
    )
    yield Part(body)
    yield from _dens(measures)
    pillar, pillar_height = _pillar(measures)
    lamina_back = back + canal_depth + 2.4
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0])
        lean = Rotation.from_euler("y", side * 24.0, degrees=True).as_matrix()
        facet = mirror * (15.0, 0.5, height / 2 - 1.6)
        yield Part(Ellipsoid(facet, (7.6, 8.2, 4.8), lean), 3.5)
        yield Part(Rod(mirror * (6.0, 0.0, height / 2 - 5.4), facet - vector(0.0, 0.0, 1.5), (5.0, 4.4)), 3.0)
        start, end = facet + mirror * (-1.0, 2.0, -2.5), mirror * (pillar[0] - 0.5, pillar[1], -3.0)
        thick = measures["pedicle width"] / 2 - 0.1  # the blended seam adds 0.1
        yield Part(Rod(start, end, (thick, thick), aspect_ratio=(measures["pedicle height"] / 2 - 0.4) / thick), 3.0)
        yield Part(Pillar(mirror * pillar, (5.0, 5.2), pillar_height, measures["facet angle"], 2.0), 2.5)
        root, middle = mirror * (pillar[0] - 2.0, pillar[1] + 2.5, -3.5), vector(side * 1.0, lamina_back, -5.5)
        yield from lamina(root, middle, (2.6, 2.6), 2.2, -0.35, traits)
        tip = mirror * (26.0 + 2.0 * traits["transverse"], 4.5, -3.5)
        yield Part(Rod(mirror * (15.5, 1.0, 1.0), tip, (3.0, 2.6), aspect_ratio=1.2))
        yield Part(Rod(mirror * (pillar[0], pillar[1] - 3.0, -2.5), tip, (2.6, 2.4)))
    yield from _spinous_process(measures["spinous process length"], back + canal_depth, traits)
    yield Part(Column((0.0, back + canal_depth / 2), (canal_half, canal_depth / 2), (-30.0, 4.0)), 1.0, is_cutout=True)
    # The canal widens toward the atlas.
    yield Part(Ellipsoid((0.0, back + 8.5, height / 2 + 6.0), (canal_half + 1.0, 9.5, 13.0)), 1.0, is_cutout=True)
    for side in SIDES:
        hole = Rod((side * 20.3, 3.4, -12.0), (side * 22.6, 3.4, 7.0), (2.6, 2.6))
        yield Part(hole, 0.8, is_cutout=True)


def _pillar(measures: Mapping[str, float]) -> tuple[Floats, float]:
    """Return the center of the left articular pillar and its height.

    A longer pedicle moves the pillar back. The inferior facet stays in its plane, so that it always meets that of C3.
    """
    canal_half = measures["canal width"] / 2
    # Coefficients fitted to measured pedicle lengths, which also grow with the width of the canal.
    longer = 0.85 * (measures["pedicle length"] - 21.6) - 1.2 * (canal_half - 10.8)
    moved = -longer * pedicle_direction(1.0)
    higher = float(moved[2] + np.tan(np.radians(measures["facet angle"])) * moved[1])
    middle = vector(canal_half + 5.0, measures["body depth below"] / 2 + 6.4, -measures["body height"] / 2 + 2.0)
    return middle + moved - vector(0.0, 0.0, higher / 2), 10.5 + higher


def _dens(measures: Mapping[str, float]) -> Iterator[Part]:
    """Yield the dens: constricted at its neck, wider above, rounded at the tip."""
    half_width, half_depth = measures["dens width"] / 2, measures["dens depth"] / 2
    foot, height = dens_base_z(measures), measures["dens height"]
    lean = Rotation.from_euler("x", -DENS_TILT_DEG, degrees=True)
    up = lean.apply([0.0, 0.0, 1.0])
    start, axes = np.array([0.0, -1.0, foot]), lean.as_matrix()
    yield Part(
        Rod(
            start - 4.0 * up,
            start + 0.45 * height * up,
            (half_width * 1.10, half_width * 0.88),
            half_depth / half_width,
            (0, 1, 0),
        ),
        2.5,
    )
    middle = start + (height - 0.62 * height / 2 - 0.6) * up
    yield Part(Ellipsoid(middle, (half_width, half_depth, 0.31 * height + 0.6), axes), 3.0)


def _spinous_process(length: float, start: float, traits: Mapping[str, float]) -> Iterator[Part]:
    length -= 0.8  # its tips are thick
    root, tip = np.array([0.0, start + 2.0, -6.0]), np.array([0.0, start + length * 0.93, -6.0 - length * 0.37])
    fork = root + (tip - root) * 0.5
    yield Part(Rod(root, fork, (3.4, 3.4), aspect_ratio=1.7))
    for side in SIDES:
        end = tip + vector(side * (4.0 + 2.0 * traits["bifid"]), -2.0, 0.0)
        yield Part(Rod(fork, end, (3.0, 2.8), aspect_ratio=1.3))
