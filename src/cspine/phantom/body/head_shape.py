"""The shape of a head: what skull, scalp, brain and airway have in common."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame
from cspine.phantom.geometry.points import vector

_MAX_OPENING_DEG: Final = 24.0
"""Largest angle of the jaw: an opening of about 40 mm between the incisors."""

_JAW_JOINT_Y_Z_MM: Final = (-22.0, 18.0)
"""Axis of the joints of the jaw."""

_P_LIFTED, _P_INVAGINATED, _P_FLAT_BASE = 0.05, 0.015, 0.03
_P_OPEN, _P_EDENTULOUS = 0.3, 0.5
"""Probability of a raised skull, of basilar invagination, a flat base, an open mouth, and of no teeth at 90."""


@dataclass(frozen=True)
class HeadShape:
    """The shape of a head. Its points are described for a head of mean size, in the frame of the skull.

    Attributes
    ----------
    width, length, height : float
        Factors on x, y and z.
    thickness : float
        Factor on the thickness of the bones of the vault.
    lift_mm : float
        How much higher the skull lies above the atlas than on average; negative where the dens reaches into it.
    is_flat_base : bool
        Whether the clivus is flat (platybasia).
    jaw_opening_deg : float
        Angle by which the jaw is open.
    is_edentulous : bool
        Whether there are no teeth and the ridges of the jaws are resorbed.
    pneumatization : float
        Size of sinuses and air cells, 0 to 1.
    """

    width: float = 1.0
    length: float = 1.0
    height: float = 1.0
    thickness: float = 1.0
    lift_mm: float = 0.0
    is_flat_base: bool = False
    jaw_opening_deg: float = 0.0
    is_edentulous: bool = False
    pneumatization: float = 0.6

    def at(self, x: float, y: float, z: float) -> Floats:
        """Return a point of this head, given that of a head of mean size, (3,)."""
        return vector(x * self.width, y * self.length, z * self.height)

    def radii(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Return the radii of an ellipsoid in this head, given those in a head of mean size."""
        return x * self.width, y * self.length, z * self.height

    def at_jaw(self, x: float, y: float, z: float) -> Floats:
        """Return a point of the jaw, given that of a closed jaw of mean size, (3,)."""
        (y0, z0), angle = _JAW_JOINT_Y_Z_MM, np.radians(self.jaw_opening_deg)
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        return self.at(x, y0 + (y - y0) * cos - (z - z0) * sin, z0 + (y - y0) * sin + (z - z0) * cos)

    def frame(self, skull: Frame) -> Frame:
        """Return the frame of the skull, lifted above the atlas.

        Parameters
        ----------
        skull : Frame
            That of a skull at its mean distance from the atlas, ``C0``.
        """
        return Frame(skull.to_lps([0.0, 0.0, self.lift_mm]), skull.axes)


def draw_head_shape(person: Person, rng: np.random.Generator) -> HeadShape:
    """Draw the shape of a head.

    Widths and lengths vary by 4 to 5 % (standard deviation), as in series of adults: 150 by 180 mm.

    Parameters
    ----------
    person : Person
        Gives size and age.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    width, length, height = (
        person.scale * float(np.clip(1 + sd * rng.normal(), 0.88, 1.12)) for sd in (0.04, 0.045, 0.045)
    )
    lift, kind = float(np.clip(rng.normal(0.0, 1.2), -2.5, 3.0)), rng.random()
    if kind < _P_LIFTED:
        lift = float(rng.uniform(3.0, 12.0))
    elif kind < _P_LIFTED + _P_INVAGINATED:
        lift = -float(rng.uniform(3.0, 9.0))
    return HeadShape(
        width=width,
        length=length,
        height=height,
        thickness=float(np.clip(rng.normal(1.0, 0.2), 0.6, 1.8)) * min(person.scale, 1.0),
        lift_mm=lift,
        is_flat_base=bool(rng.random() < _P_FLAT_BASE),
        jaw_opening_deg=float(rng.uniform(3.0, _MAX_OPENING_DEG))
        if rng.random() < _P_OPEN
        else float(rng.uniform(0, 3)),
        is_edentulous=bool(rng.random() < _P_EDENTULOUS * np.clip((person.age_years - 50) / 40, 0, 1)),
        pneumatization=float(rng.beta(3.0, 2.0)),
    )
