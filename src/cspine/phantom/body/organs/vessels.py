"""Great vessels, with or without contrast medium."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.organs import Organ
from cspine.phantom.body.plan import SIDE_SIGNS, BodyPlan
from cspine.phantom.geometry.parts import Part, rods
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Rod

_BLOOD_HU: Final = 45.0
_P_CONTRAST, _P_ARTERIAL = 0.5, 0.45
"""Probability of contrast medium, and, given it, of an arterial phase."""


@dataclass(frozen=True)
class Contrast:
    """Density of blood and organs.

    Attributes
    ----------
    artery_hu, vein_hu, heart_hu : float
        Density of arteries, veins and the chambers of the heart.
    organ_hu : float
        What organs gain by contrast medium.
    bolus_hu : float or None
        Density of the vein that the bolus comes through.
    bolus_side : float
        Its side: -1 right, 1 left.
    """

    artery_hu: float = _BLOOD_HU
    vein_hu: float = _BLOOD_HU
    heart_hu: float = _BLOOD_HU
    organ_hu: float = 0.0
    bolus_hu: float | None = None
    bolus_side: float = 1.0


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """Draw the phase of contrast: none, arterial (200 to 600 HU, at times with a dense vein) or venous."""
    side, bolus = float(rng.choice(SIDES)), float(rng.uniform(600.0, 2200.0))
    if rng.random() > _P_CONTRAST:
        return Contrast()
    if rng.random() < _P_ARTERIAL:
        artery, vein = float(rng.uniform(200.0, 600.0)), float(rng.uniform(50.0, 160.0))
        return Contrast(artery, vein, 0.8 * artery, 25.0, bolus if rng.random() < 0.6 else None, side)
    artery = float(rng.uniform(120.0, 220.0))
    return Contrast(artery, artery * float(rng.uniform(0.8, 1.2)), artery, 55.0)


def vessels(plan: BodyPlan, contrast: Contrast, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield aorta, carotid, vertebral and subclavian arteries, jugular and subclavian veins and both caval veins."""
    at, scale, front = plan.layout.anterior_to, plan.person.scale, plan.layout.front
    arch = [at("T5", 52, -12, 10), at("T4", 42, -10, 4), at("T4", 22, 6, 8), at("T5", 4, 18, 6)]
    descending = [front[level] + vector(x, y, 0) for level, x, y in (("T6", 20, -2), ("T10", 12, -8), ("L1", 4, -14))]
    abdominal = [descending[-1], front["L3"] + vector(5, -14, 0), front["L4"] + vector(3, -14, -10)]
    yield Organ(rods([*arch, *descending], 12.5 * scale, blend_mm=4.0), contrast.artery_hu)
    yield Organ(rods(abdominal, 9.0 * scale), contrast.artery_hu)
    cava = [front["L4"] + vector(-16, -12, 0), front["L1"] + vector(-18, -16, 0), front["T9"] + vector(-26, -36, 0)]
    yield Organ(rods(cava, 10.5 * scale, 1.2, (1, 0, 0)), contrast.vein_hu)
    jugular = {side: 4.6 + float(rng.random()) * 2.5 for side in SIDES}
    for name, side in SIDE_SIGNS.items():
        carotid = [
            at("T4", 36, side * 8),
            at("T1", 22, side * 20),
            at("C6", 9, side * 24),
            at("C4", 9, side * 24),
            at("C1", 9, side * 27),
        ]
        yield Organ(rods(carotid, 3.4), contrast.artery_hu)
        yield Organ(
            rods([plan.layout.frames[level].to_lps([side * 14.6, 1.2, 0]) for level in ("C6", "C5", "C4", "C3")], 1.9),
            contrast.artery_hu,
            0.8,
        )
        outlet = plan.shoulders[name] + vector(-side * 34.0, -16.0, -18.0)
        subclavian = [
            at("T3", 30, side * 12),
            at("T1", 12, side * 36, 6),
            0.5 * (at("T1", 12, side * 60) + outlet),
            outlet,
        ]
        yield Organ(rods(subclavian, 4.6 * scale), contrast.artery_hu)
        axillary = (
            plan.shoulders[name] + 0.35 * (plan.elbows[name] - plan.shoulders[name]) + vector(-side * 24.0, -6.0, 0)
        )
        yield Organ(rods([outlet, axillary], 4.0), contrast.artery_hu)
        confluence = at("T2", 30, side * 24)
        neck = [confluence, at("C6", 5, side * 31), at("C4", 5, side * 31), at("C1", 4, side * 34)]
        yield Organ(rods(neck, jugular[side]), contrast.vein_hu)
        vein = [
            at("T3", 44, -14),
            confluence,
            0.5 * (confluence + outlet) + vector(0, -8, 4),
            outlet + vector(0, -10, -4),
            axillary + vector(0, -9, 0),
        ]
        is_dense = contrast.bolus_hu is not None and side == contrast.bolus_side
        yield Organ(rods(vein, 5.5 * scale), contrast.bolus_hu if is_dense and contrast.bolus_hu else contrast.vein_hu)
        if is_dense:
            yield from _streaks(0.5 * (confluence + outlet), rng)
            yield Organ(rods([vein[0], at("T5", 44, -24)], 8.0 * scale), contrast.bolus_hu or 0.0)


def _streaks(center: Floats, rng: np.random.Generator) -> Iterator[Organ]:
    """Yield dark and bright bands about a dense vein, in axial planes, as beam hardening makes them."""
    for number in range(6):
        turn = rng.uniform(0, np.pi)
        reach = vector(np.cos(turn), np.sin(turn), 0) * rng.uniform(40.0, 90.0)
        middle = center + vector(rng.normal(0, 20), rng.normal(0, 4), rng.normal(0, 6))
        band = Part(Rod(middle - reach, middle + reach, (1.6, 1.6), 3.0), 0.0)
        yield Organ((band,), -70.0 if number % 2 else 170.0, 3.0, max_background_hu=400.0)
