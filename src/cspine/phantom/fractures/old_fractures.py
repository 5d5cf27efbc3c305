"""Old fractures: the types of fresh ones, with smooth gaps that cortical bone lines, or healed without a gap."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from cspine.core.anatomy import Level
from cspine.phantom.anatomy.person import Person
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.settings import PhantomSettings

OLD_FRACTURE: Final = "old fracture"
"""Name of the mimic where a gap is left."""

HEALED_COMPRESSION: Final = "healed compression"
"""Its name where bone was impacted, which leaves no gap."""

OLD_FRACTURES: Final = (OLD_FRACTURE, HEALED_COMPRESSION)
"""Names of mimics that are old fractures; the truth has their types."""

_SETTINGS: Final = PhantomSettings(
    fracture_width_mm=(1.0, 3.0), displacement_mm=(0.0, 2.5), bone_loss_fraction=0.0, height_loss_mm=(1.5, 4.0)
)
"""A narrower gap has healed, a fragment displaced farther would not have been left."""

_N_WAVES: Final = 2
_SMOOTHING: Final = 0.5
"""Waves of the surface that remain, and by how much they are lower: edges are rounded off in a year."""


def name_old_fracture(surfaces: Sequence[Fracture]) -> str:
    """Return the name of the mimic."""
    return HEALED_COMPRESSION if all(surface.height_loss_mm for surface in surfaces) else OLD_FRACTURE


def draw_old_fracture(level: Level, person: Person, rng: np.random.Generator) -> tuple[Fracture, ...]:
    """Draw the surfaces of an old fracture of any type that the level has.

    Parameters
    ----------
    level : str
        Name of the vertebra, C1 to C7.
    person : Person
        Whose measures place the fracture.
    rng : numpy Generator
        Random number generator; it is advanced.

    Returns
    -------
    tuple of Fracture
        To be used as `cspine.phantom.fractures.fractured_bone.Defects.corticated_gaps`. Compression has no gap and no
        dense band: the body is low.
    """
    smoothing = np.array([_SMOOTHING, 1.0, 1.0, 1.0])
    return tuple(
        replace(surface, roughness=surface.roughness[:_N_WAVES] * smoothing)
        for surface in draw_fractures(level, person, _SETTINGS, rng)
    )
