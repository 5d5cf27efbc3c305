"""Devices in the scan: table, cervical collar, endotracheal tube, dental fillings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import AIR, Layout, Organ
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import CroppedSolid, Rod, Shell

PREVALENCE: Final[Mapping[str, float]] = {"table": 0.9, "collar": 0.25, "tube": 0.15, "fillings": 0.35}
"""Probability of each; collars and tubes are common in trauma patients."""


@dataclass(frozen=True)
class Devices:
    """The devices in a scan.

    Attributes
    ----------
    organs : tuple of Organ
        In LPS, composited over soft tissue and air.
    fillings : tuple of (3,)
        Positions of dental fillings, in the frame of the skull.
    names : tuple of str
        Names of the devices, for the truth.
    """

    organs: tuple[Organ, ...]
    fillings: tuple[Floats, ...]
    names: tuple[str, ...]


def draw_devices(layout: Layout, teeth: list[Floats], half_width_mm: float, rng: np.random.Generator) -> Devices:
    """Draw which devices are in a scan.

    Parameters
    ----------
    layout : Layout
        Positions about the spine.
    teeth : list of (3,)
        Positions of crowns, in the frame of the skull.
    half_width_mm : float
        Half the width of the neck.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    present = {name: bool(rng.random() < probability) for name, probability in PREVALENCE.items()}
    organs: list[Organ] = []
    if present["table"]:
        organs += _table(layout, half_width_mm, rng)
    if present["collar"]:
        organs += _collar(layout, half_width_mm)
    if present["tube"]:
        organs += _tube(layout)
    fillings: tuple[Floats, ...] = ()
    if present["fillings"]:
        chosen = rng.choice(len(teeth), size=min(int(rng.integers(1, 6)), len(teeth)), replace=False)
        fillings = tuple(teeth[int(number)] for number in chosen)
    return Devices(tuple(organs), fillings, tuple(name for name, is_present in present.items() if is_present))


def _table(layout: Layout, half_width_mm: float, rng: np.random.Generator) -> list[Organ]:
    """Return the carbon shell of the table and the mattress on it, behind the patient."""
    y = float(layout.canal["C4"][1]) + half_width_mm * 0.95 + rng.uniform(8.0, 20.0)
    shell = Part(Rod(vector(-260, y, -200), vector(260, y, -200), (2.0, 2.0), 200.0, (0, 0, 1)), 0.0)
    cushion = Part(Rod(vector(-260, y - 5.0, -200), vector(260, y - 5.0, -200), (4.0, 4.0), 120.0, (0, 0, 1)), 0.0)
    return [Organ((cushion,), -940.0, max_background_hu=AIR), Organ((shell,), -180.0, max_background_hu=AIR)]


def _collar(layout: Layout, half_width_mm: float) -> list[Organ]:
    """Return a foam collar with a plastic cover, about the neck from C7 to C3."""
    low, high = layout.front["C7"], layout.front["C3"] + vector(0, -6.0, 0)
    box = np.array([[-150.0, -150.0, float(low[2]) + 4.0], [150.0, 150.0, float(high[2])]])
    ring = Rod(
        low + vector(0, 2, -20), high + vector(0, 0, 25), (half_width_mm * 1.35, half_width_mm * 1.25), 1.05, (0, 1, 0)
    )
    foam = CroppedSolid(Shell(ring, 9.0), box)
    skin = CroppedSolid(Shell(ring, 2.0), box)
    return [
        Organ((Part(foam, 0.0),), -930.0, max_background_hu=AIR),
        Organ((Part(skin, 0.0),), 30.0, max_background_hu=AIR),
    ]


def _tube(layout: Layout) -> list[Organ]:
    """Return an endotracheal tube from the mouth to the trachea."""
    head = layout.frames["C0"]
    path = [
        head.to_lps([4.0, -100.0, -12.0]), head.to_lps([2.0, -50.0, -2.0]), layout.anterior_to("C2", 13.0, 1.0),
        layout.anterior_to("C5", 19.0), layout.anterior_to("C7", 20.0), layout.anterior_to("T2", 24.0, 0, -30.0),
    ]  # fmt: skip
    return [Organ(rods(path, 5.2), 110.0, 1.0), Organ(rods(path, 3.7), AIR, 1.0)]
