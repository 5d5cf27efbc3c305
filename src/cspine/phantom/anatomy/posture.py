"""Posture of the neck: position and orientation of each vertebra."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats
from cspine.phantom.anatomy.axis import dens_pivot
from cspine.phantom.anatomy.person import STACK, Person
from cspine.phantom.anatomy.subaxial import RIM_MM, endplate_arch

_ABOVE: Final = dict(pairwise(STACK))
"""Level to the next level cranially."""

_LORDOSIS_FRACTION: Final = {"C7": 0.14, "C6": 0.19, "C5": 0.22, "C4": 0.22, "C3": 0.23}
"""Distribution of the lordosis from C7 to C2 over the discs above these levels."""

_ROTATION_FRACTION: Final = {
    "T2": 0.01,
    "T1": 0.02,
    "C7": 0.05,
    "C6": 0.08,
    "C5": 0.09,
    "C4": 0.09,
    "C3": 0.06,
    "C2": 0.60,
}
"""Distribution of the axial rotation of the head over the joints above these levels, mostly between C1 and C2."""

_MEAN_DEGENERATION: Final = 0.42
"""Mean degeneration over all ages, at which discs have the height of the table of morphometry."""


@dataclass(frozen=True)
class Frame:
    """Position and orientation of a vertebra.

    Attributes
    ----------
    center_mm : (3,)
        Origin of its frame, in LPS.
    axes : (3, 3)
        The x, y and z axes of its frame as columns, LPS unit vectors.
    """

    center_mm: Floats
    axes: Floats

    def to_lps(self, local: npt.ArrayLike) -> Floats:
        """Return the LPS coordinates of a point in the frame of the vertebra, (3,)."""
        return np.asarray(self.center_mm + self.axes @ np.asarray(local, dtype=np.float64))

    @property
    def affine(self) -> Floats:
        """Affine from the frame of the vertebra to LPS, (4, 4)."""
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = self.axes, self.center_mm
        return affine


@dataclass(frozen=True)
class Posture:
    """Angles between the vertebrae, in degrees.

    Attributes
    ----------
    t1_slope_deg : float
        Anterior inclination of the superior endplate of T1.
    lordosis_deg : float
        Angle between the inferior endplates of C2 and C7; negative in kyphosis.
    axial_rotation_deg : float
        Rotation of the head to the left, about the long axis.
    lateral_tilt_deg : float
        Tilt of the entire neck to the left.
    scoliosis_deg : float
        Lateral bend below C5, which is bent back above it.
    """

    t1_slope_deg: float
    lordosis_deg: float
    axial_rotation_deg: float
    lateral_tilt_deg: float
    scoliosis_deg: float


_ROTATED_FRACTION: Final = 0.15
"""Fraction of people whose head is clearly rotated, as in injured patients."""

_SCOLIOTIC_FRACTION: Final = 0.08
"""Fraction of people with a clear scoliosis."""


def draw_posture(rng: np.random.Generator, *, posture_sd_factor: float = 1.0) -> Posture:
    """Draw a supine posture.

    The mean lordosis of 15,364 people is 13 to 19 degrees (meta-analysis, PMC6003173); it is flatter when supine.

    Parameters
    ----------
    rng : numpy Generator
        Random number generator; it is advanced.
    posture_sd_factor : float
        Factor on the standard deviations of all angles.
    """
    lordosis = float(np.clip(rng.normal(12.0, 11.0 * posture_sd_factor), -25.0, 45.0))
    rotation_sd = posture_sd_factor * (18.0 if rng.random() < _ROTATED_FRACTION else 6.0)
    scoliosis_sd = posture_sd_factor * (9.0 if rng.random() < _SCOLIOTIC_FRACTION else 2.5)
    slope = float(np.clip(rng.normal(16.0 + 0.55 * (lordosis - 12.0), 5.0 * posture_sd_factor), -5.0, 45.0))
    return Posture(
        t1_slope_deg=slope,
        lordosis_deg=lordosis,
        axial_rotation_deg=float(np.clip(rng.normal(0.0, rotation_sd), -45.0, 45.0)),
        lateral_tilt_deg=float(rng.normal(0.0, 3.0 * posture_sd_factor)),
        scoliosis_deg=float(np.clip(rng.normal(0.0, scoliosis_sd), -25.0, 25.0)),
    )


def place_vertebrae(person: Person, posture: Posture, rng: np.random.Generator) -> dict[str, Frame]:
    """Return the frames of the vertebrae T2 to C1 and of the skull (``C0``), in LPS with the origin in the body of C4.

    Vertebrae are stacked from T2 up, each on the disc of the one below.

    Parameters
    ----------
    person : Person
        Gives the sizes of bodies and discs.
    posture : Posture
        Angles between the vertebrae, in degrees.
    rng : numpy Generator
        Source of the small random angles of each joint.

    Returns
    -------
    dict
        Level to frame.
    """
    rotation = Rotation.from_euler("xy", [posture.t1_slope_deg + 4.0, posture.lateral_tilt_deg], degrees=True)
    frames = {"T2": Frame(np.zeros(3), rotation.as_matrix())}
    for below, level in _ABOVE.items():
        bend = posture.scoliosis_deg * {"C6": 0.5, "C5": 0.5, "C4": -0.5, "C3": -0.5}.get(below, 0.0)
        extension = posture.lordosis_deg * _LORDOSIS_FRACTION.get(below, 0.0) + {"T2": 2.0, "T1": 2.0}.get(below, 0.0)
        angles = [
            rng.normal(-extension, 1.2),
            bend + rng.normal(0, 0.8),
            posture.axial_rotation_deg * _ROTATION_FRACTION[below] + rng.normal(0, 0.6),
        ]
        rotation = rotation * Rotation.from_euler("xyz", angles, degrees=True)
        axes = rotation.as_matrix()
        if level == "C1":
            center = frames["C2"].to_lps(dens_pivot(person.measures["C2"]))
        else:
            center = _on_disc(person, frames[below], below, level, axes)
        frames[level] = Frame(center, axes)
    nod = Rotation.from_euler(
        "xyz", [rng.normal(-2.0, 4.0), rng.normal(0, 1.5), posture.axial_rotation_deg * 0.05], degrees=True
    )
    frames["C0"] = Frame(frames["C1"].to_lps([0.0, 0.0, 0.0]), (rotation * nod).as_matrix())
    origin = frames["C4"].center_mm
    return {level: Frame(frame.center_mm - origin, frame.axes) for level, frame in frames.items()}


def _on_disc(person: Person, under: Frame, below: str, level: str, axes: Floats) -> Floats:
    """Return the center of a vertebra that lies on the disc above the one below, (3,) in LPS."""
    top = under.to_lps([0.0, 0.0, person.measures[below]["body height"] / 2])
    up = under.axes[:, 2] + axes[:, 2]
    disc = top + up / np.linalg.norm(up) * disc_space(person, level)
    return np.asarray(disc + axes @ [0.0, 0.0, person.measures[level]["body height"] / 2])


def disc_space(person: Person, level: str) -> float:
    """Return the height of the disc below a level between the rims of the endplates, in mm; less when degenerated."""
    arch = endplate_arch(person.traits[level])
    factor = 1.0 + 0.35 * (_MEAN_DEGENERATION - person.degeneration) * (level in {"C3", "C4", "C5", "C6"})
    return max(person.measures[level]["disc height"] * factor - arch + 2 * RIM_MM, 1.0)


def pillar_space(frames: Mapping[str, Frame], level: str) -> float:
    """Return the mean distance of a level from its neighbors at the articular pillars, in mm."""
    index = STACK.index(level)
    neighbors = [STACK[n] for n in (index - 1, index + 1) if 0 <= n < len(STACK) and STACK[n] not in {"C1", "C2"}]
    points = [frames[other].to_lps([0.0, 12.0, 0.0]) for other in neighbors]
    here = frames[level].to_lps([0.0, 12.0, 0.0])
    return float(np.mean([np.linalg.norm(point - here) for point in points]))
