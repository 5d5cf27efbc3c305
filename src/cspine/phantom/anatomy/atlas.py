"""The atlas (C1) as a union of solids, built from its measures.

Its frame has its origin in the dens, x to the left, y to the back and z upward, in mm.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.solids import SIDES, Column, Ellipsoid, Ring, Rod

ATLANTODENTAL_INTERVAL_MM: Final = 1.3
"""Between the anterior arch and the dens; less than 3 mm in adults."""

LATERAL_MASS_X_MM: Final = 17.0
"""Distance of the centers of the lateral masses from the midline."""


def canal_front_y(dens_depth: float) -> float:
    """Return the y of the posterior surface of the anterior arch, given the depth of the dens in mm."""
    return -dens_depth / 2 - ATLANTODENTAL_INTERVAL_MM


def atlas(measures: Mapping[str, float], traits: Mapping[str, float], *, dens_depth: float) -> Iterator[Part]:
    """Yield the parts of C1.

    Parameters
    ----------
    measures, traits : dict
        Measures of C1 in mm or degrees and its traits from 0 to 1, as in `subaxial`.
    dens_depth : float
        Anteroposterior diameter of the dens of C2, in mm.
    """
    front = canal_front_y(dens_depth)
    half_width, half_depth = measures["canal width"] / 2, measures["canal depth"] / 2
    middle = (0.0, front + half_depth, 0.0)
    anterior, posterior = measures["anterior arch height"], measures["posterior arch height"]
    yield Part(Ring(middle, (half_width, half_depth), 6.4, anterior, (front - 9.0, front + 6.0)))
    yield Part(Ring(middle, (half_width, half_depth), 5.4, posterior * 0.8, (front + half_depth, 60.0)))
    yield Part(Ellipsoid((0.0, front - 5.2, -0.5), (3.6, 2.6, anterior * 0.45)), 2.5)
    back = front + 2 * half_depth
    yield Part(Ellipsoid((0.0, back + 3.2, 0.0), (4.0, 3.2, posterior / 2)), 2.5)
    tip = measures["atlas width"] / 2
    for side in SIDES:
        mirror = np.array([side, 1.0, 1.0])
        lean = Rotation.from_euler("y", side * 12.0, degrees=True).as_matrix()
        mass = mirror * (LATERAL_MASS_X_MM, 1.0, 0.0)
        yield Part(Ellipsoid(mass, (8.0, 11.0, 9.0), lean), 2.5)
        yield Part(Rod(mass, mirror * (tip - 4.0, 3.5, -1.5), (4.2, 3.2), aspect_ratio=1.2))
        yield Part(Ellipsoid(mirror * (tip - 3.6, 3.5, -1.5), (3.6, 4.4, 4.6)), 2.0)
        condyle = mirror * (LATERAL_MASS_X_MM - 0.5, 0.0, 14.6)
        yield Part(Ellipsoid(condyle, (8.5, 13.0, 9.4)), 0.8, is_cutout=True)
        below = mirror * (LATERAL_MASS_X_MM + 6.0, 0.5, -16.6)
        yield Part(Ellipsoid(below, (18.0, 22.0, 10.4), lean), 0.8, is_cutout=True)
        radius = 3.0 + 0.5 * traits["foramen"]
        yield Part(
            Column((side * (LATERAL_MASS_X_MM + 9.2), 3.6), (radius, radius + 0.3), (-8.0, 8.0)), 0.8, is_cutout=True
        )
    # Room for the dens in front, and for the cord behind it.
    yield Part(Column((0.0, front + 10.0), (10.4, 10.0), (-20.0, 20.0)), 0.6, is_cutout=True)
    yield Part(Column((0.0, middle[1] + 5.0), (half_width, half_depth - 5.0), (-20.0, 20.0)), 0.6, is_cutout=True)
