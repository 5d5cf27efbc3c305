"""What surrounds a person in a scan: the equipment of trauma care, of radiotherapy or of a routine scan."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

from cspine.phantom.anatomy.organs import Organ
from cspine.phantom.body.equipment import lines, supports
from cspine.phantom.body.outline import body_outline, outline_without_limbs
from cspine.phantom.body.plan import BodyPlan

_SETTINGS: Final[Mapping[str, float]] = {"trauma": 0.28, "radiotherapy": 0.32, "routine": 0.32, "masked": 0.08}
"""Probability of each setting; in masked scans, all outside the body has been erased, as treatment planning does."""

_PREVALENCE: Final[Mapping[str, tuple[float, ...]]] = {
    "table": (0.97, 0.95, 0.95),
    "head rest": (0.8, 0.9, 0.8),
    "mask": (0.0, 0.7, 0.0),
    "collar": (0.4, 0.0, 0.03),
    "vacuum cushion": (0.1, 0.2, 0.02),
    "pillow": (0.2, 0.1, 0.3),
    "blanket": (0.5, 0.15, 0.4),
    "endotracheal tube": (0.3, 0.03, 0.05),
    "gastric tube": (0.25, 0.1, 0.06),
    "central line": (0.25, 0.2, 0.15),
    "electrodes": (0.7, 0.03, 0.3),
    "cables": (0.5, 0.1, 0.2),
    "markers": (0.02, 0.6, 0.0),
    "jewelry": (0.3, 0.02, 0.15),
}
"""Probability of each in trauma care, radiotherapy and a routine scan."""

_P_HOLDER, _P_FLAT = 0.5, 0.2
"""Probability of a holder of the head in a routine scan, and of a flat table outside radiotherapy."""


def surroundings(plan: BodyPlan, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield what surrounds a person, in LPS, in the order in which it is composited over the finished body.

    Parameters
    ----------
    plan : BodyPlan
        The body.
    rng : numpy Generator
        Random number generator; it is advanced.
    """
    setting = str(rng.choice(list(_SETTINGS), p=list(_SETTINGS.values())))
    if setting == "masked":
        return
    column, outline = list(_SETTINGS).index(setting), body_outline(plan)
    is_holder = setting == "routine" and rng.random() < _P_HOLDER
    is_flat = setting == "radiotherapy" or rng.random() < _P_FLAT
    things: dict[str, Callable[[], Iterator[Organ]]] = {
        "mask": lambda: supports.mask(plan, outline_without_limbs(plan), rng),
        "collar": lambda: supports.collar(plan, rng),
        "markers": lambda: lines.markers(plan, outline, rng),
        "electrodes": lambda: lines.electrodes(plan, outline, rng),
        "endotracheal tube": lambda: lines.endotracheal_tube(plan, rng),
        "gastric tube": lambda: lines.gastric_tube(plan),
        "central line": lambda: lines.central_line(plan, rng),
        "jewelry": lambda: lines.jewelry(plan, outline, rng),
        "cables": lambda: lines.cables(plan, rng),
        "blanket": lambda: supports.blanket(plan, rng),
        "head rest": lambda: supports.head_rest(plan, rng, is_holder=is_holder),
        "pillow": lambda: supports.pillow(plan, rng),
        "vacuum cushion": lambda: supports.vacuum_cushion(plan, rng),
        "table": lambda: supports.table(plan, rng, is_flat=is_flat),
    }
    for name, thing in things.items():
        if rng.random() < _PREVALENCE[name][column]:
            yield from thing()
