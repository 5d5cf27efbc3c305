"""What lies in a scanner besides the patient, or was put into him: table, collar, tube, fillings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.phantom.anatomy.grid import Part, rods
from cspine.phantom.anatomy.solids import Cropped, Place, Rod, Shell, by
from cspine.phantom.anatomy.tissue import AIR, Layout, Organ

CHANCES: Final[Mapping[str, float]] = {"table": 0.9, "collar": 0.25, "tube": 0.15, "fillings": 0.35}
"""How often each is there; injured people come with collars and tubes."""


@dataclass(frozen=True)
class Additions:
    """Foreign things.

    Attributes
    ----------
    organs : tuple of Organ
        In LPS, painted over soft tissue and air.
    fillings : tuple of (3,)
        Where metal is in the teeth, in the frame of the skull.
    names : tuple of str
        What was drawn, for the truth.
    """

    organs: tuple[Organ, ...]
    fillings: tuple[Place, ...]
    names: tuple[str, ...]


def draw_additions(layout: Layout, teeth: list[Place], girth_mm: float, rng: np.random.Generator) -> Additions:
    """Draw foreign things.

    Parameters
    ----------
    layout : Layout
        Where the neck is.
    teeth : list of (3,)
        Where crowns are, in the frame of the skull.
    girth_mm : float
        Half the neck's width.
    rng : numpy Generator
        Where chance comes from.
    """
    there = {name: bool(rng.random() < chance) for name, chance in CHANCES.items()}
    organs: list[Organ] = []
    if there["table"]:
        organs += _table(layout, girth_mm, rng)
    if there["collar"]:
        organs += _collar(layout, girth_mm)
    if there["tube"]:
        organs += _tube(layout)
    fillings: tuple[Place, ...] = ()
    if there["fillings"]:
        chosen = rng.choice(len(teeth), size=min(int(rng.integers(1, 6)), len(teeth)), replace=False)
        fillings = tuple(teeth[int(number)] for number in chosen)
    return Additions(tuple(organs), fillings, tuple(name for name, is_there in there.items() if is_there))


def _table(layout: Layout, girth_mm: float, rng: np.random.Generator) -> list[Organ]:
    """Return a carbon shell about foam, below the patient, and a cushion's edge."""
    y = float(layout.canal["C4"][1]) + girth_mm * 0.95 + rng.uniform(8.0, 20.0)
    shell = Part(Rod(by(-260, y, -200), by(260, y, -200), (2.0, 2.0), 200.0, (0, 0, 1)), 0.0)
    cushion = Part(Rod(by(-260, y - 5.0, -200), by(260, y - 5.0, -200), (4.0, 4.0), 120.0, (0, 0, 1)), 0.0)
    return [Organ((cushion,), -940.0, over=AIR), Organ((shell,), -180.0, over=AIR)]


def _collar(layout: Layout, girth_mm: float) -> list[Organ]:
    """Return a foam collar with a plastic skin, about the neck from C7 to C3."""
    low, high = layout.front["C7"], layout.front["C3"] + by(0, -6.0, 0)
    box = np.array([[-150.0, -150.0, float(low[2]) + 4.0], [150.0, 150.0, float(high[2])]])
    around = Rod(low + by(0, 2, -20), high + by(0, 0, 25), (girth_mm * 1.35, girth_mm * 1.25), 1.05, (0, 1, 0))
    foam = Cropped(Shell(around, 9.0), box)
    skin = Cropped(Shell(around, 2.0), box)
    return [Organ((Part(foam, 0.0),), -930.0, over=AIR), Organ((Part(skin, 0.0),), 30.0, over=AIR)]


def _tube(layout: Layout) -> list[Organ]:
    """Return a breathing tube from the mouth into the windpipe."""
    head = layout.frames["C0"]
    way = [
        head.to_lps([4.0, -100.0, -12.0]), head.to_lps([2.0, -50.0, -2.0]), layout.before("C2", 13.0, 1.0),
        layout.before("C5", 19.0), layout.before("C7", 20.0), layout.before("T2", 24.0, 0, -30.0),
    ]  # fmt: skip
    return [Organ(rods(way, 5.2), 110.0, 1.0), Organ(rods(way, 3.7), AIR, 1.0)]
