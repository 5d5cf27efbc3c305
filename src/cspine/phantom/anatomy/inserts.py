"""What lies in or on vertebrae and is not bone of theirs: implants, gas in discs, lesions."""

from dataclasses import dataclass, field

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import Vector


@dataclass(frozen=True)
class Insert:
    """Solids of one material that are composited over the vertebrae; they have no label.

    Attributes
    ----------
    parts : tuple of Part
        In `frame`.
    hu : float
        Density of the material, in HU.
    frame : (4, 4)
        From the frame of the parts to LPS.
    is_metal : bool
        Whether streaks extend from it.
    max_background_hu : float or None
        Where given, it replaces only what has at most about this HU: gas leaves bone as it is.
    """

    parts: tuple[Part, ...]
    hu: float
    frame: Floats = field(default_factory=lambda: np.eye(4))
    is_metal: bool = False
    max_background_hu: float | None = None


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid within a vertebra where its bone has another density, with a blurred border.

    Attributes
    ----------
    center_mm, radii_mm : (3,)
        In the frame of the vertebra.
    hu : float
        Density in its middle, in HU.
    axes : (3, 3), optional
        Its axes as columns; the axes of the frame by default.
    edge_mm : float
        Width of its blurred border.
    only_raises : bool
        Whether bone that is denser is left as it is.
    """

    center_mm: Vector
    radii_mm: Vector
    hu: float
    axes: Floats | None = None
    edge_mm: float = 2.0
    only_raises: bool = False


def sclerosis(center: Vector, radii: Vector, hu: float, *, axes: Floats | None = None, edge_mm: float = 1.0) -> Lesion:
    """Return dense bone, which leaves denser cortex as it is."""
    return Lesion(center, radii, hu, axes=axes, edge_mm=edge_mm, only_raises=True)
