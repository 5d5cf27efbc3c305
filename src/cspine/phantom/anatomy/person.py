"""Who is scanned: sex, age, size, bone, and the measures of every vertebra."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.phantom.anatomy.morphometry import Measures, draw_measures

STACK: Final[tuple[str, ...]] = ("T2", "T1", "C7", "C6", "C5", "C4", "C3", "C2", "C1")
"""From the feet up."""

_SEX_SIZE: Final = 0.6
"""Men's mean size above, and women's below that of both, in standard deviations."""

_TRAITS: Final = ("bifid", "uncus", "transverse", "drop", "arch", "foramen")


@dataclass(frozen=True)
class Bone:
    """What a person's bone is made of, in HU and mm.

    Attributes
    ----------
    cortex_hu, trabecular_hu : float
        Of compact bone, and the mean of spongy bone at C3; it falls to the feet.
    cortex_mm : float
        Thickness of the shell of arches and processes.
    endplate_mm : float
        Of the shell of bodies.
    """

    cortex_hu: float
    trabecular_hu: float
    cortex_mm: float
    endplate_mm: float


@dataclass(frozen=True)
class Person:
    """One person, without posture and injuries.

    Attributes
    ----------
    age : float
        Years.
    size : float
        In standard deviations among people.
    wear : float
        How worn the discs and joints are, 0 to 1.
    measures : dict
        Level to measure to mm or degrees, as `draw_measures` draws them.
    traits : dict
        Level to trait to a number from 0 to 1.
    girth : float
        How heavy, 0 to 1: neck girth and fat.
    """

    female: bool
    age: float
    size: float
    wear: float
    girth: float
    bone: Bone
    measures: dict[str, Measures]
    traits: dict[str, dict[str, float]]

    @property
    def scale(self) -> float:
        """How many times as large as the mean what is not measured is."""
        return 1.0 + 0.05 * self.size


def draw_person(
    rng: np.random.Generator, *, age: tuple[float, float] = (18.0, 92.0), morphometry_sd_factor: float = 1.0
) -> Person:
    """Draw a person.

    Parameters
    ----------
    rng : numpy Generator
        Where chance comes from.
    age : (float, float)
        The youngest and oldest.
    morphometry_sd_factor : float
        How many times as much as in people the measures differ.
    """
    female = bool(rng.random() < 0.5)
    years = float(rng.uniform(*age))
    size = (-_SEX_SIZE if female else _SEX_SIZE) + float(np.sqrt(1 - _SEX_SIZE**2) * rng.normal())
    wear = float(np.clip((years - 30) / 60 + rng.normal(0, 0.2), 0, 1))
    measures = draw_measures(rng, size=size, morphometry_sd_factor=morphometry_sd_factor)
    common = {trait: rng.random() for trait in _TRAITS}
    traits = {
        level: {trait: float(np.clip(0.5 * common[trait] + 0.5 * rng.random(), 0, 1)) for trait in _TRAITS}
        for level in STACK
    }
    loss = max(years - 35, 0) * (2.2 if female else 1.5)  # HU; bone is lost from the thirties on, faster by women
    bone = Bone(
        cortex_hu=float(rng.normal(1420, 110) - 0.8 * loss),
        trabecular_hu=float(max(rng.normal(430, 65) - loss, 130)),
        cortex_mm=float(np.clip(rng.normal(1.05, 0.18) - 0.003 * loss, 0.5, 1.6)),
        endplate_mm=float(np.clip(rng.normal(0.65, 0.1), 0.4, 0.9)),
    )
    return Person(female, years, size, wear, float(rng.beta(2.0, 2.5)), bone, measures, traits)
