"""A person: sex, age, body size, bone, and the measures of every vertebra."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.phantom.anatomy.morphometry import Measures, draw_measures

STACK: Final[tuple[str, ...]] = ("T2", "T1", "C7", "C6", "C5", "C4", "C3", "C2", "C1")
"""Vertebrae from caudal to cranial."""

_SEX_SIZE: Final = 0.6
"""Mean body size of men above, and of women below the mean of both, in standard deviations."""

_TRAITS: Final = ("bifid", "uncus", "transverse", "drop", "arch", "foramen")


@dataclass(frozen=True)
class Bone:
    """Density and thickness of bone.

    Attributes
    ----------
    cortex_hu, trabecular_hu : float
        Density of cortical bone, and mean density of trabecular bone at C3, which decreases caudally, in HU.
    cortex_mm : float
        Thickness of the cortex of arches and processes.
    endplate_mm : float
        Thickness of the cortex of vertebral bodies.
    coarseness : float
        How coarse and uneven trabeculae are: 0 (normal) to 1 (osteopenia with few thick trabeculae).
    """

    cortex_hu: float
    trabecular_hu: float
    cortex_mm: float
    endplate_mm: float
    coarseness: float = 0.0


@dataclass(frozen=True)
class Person:
    """A person without posture and injuries.

    Attributes
    ----------
    is_female : bool
        Whether the person is a woman.
    age_years : float
        Age in years; it affects bone density, degeneration and calcification.
    size : float
        Body size in standard deviations of the population.
    degeneration : float
        Degeneration of discs and joints: 0 (none) to 1 (severe).
    girth : float
        Girth of the neck with its fat: 0 (slim) to 1 (heavy).
    bone : Bone
        Density and thickness of bone.
    measures : dict
        Level to measure to mm or degrees, as `draw_measures` draws them.
    traits : dict
        Level to trait to a number from 0 to 1: shape that no measure describes.
    """

    is_female: bool
    age_years: float
    size: float
    degeneration: float
    girth: float
    bone: Bone
    measures: dict[str, Measures]
    traits: dict[str, dict[str, float]]

    @property
    def scale(self) -> float:
        """Factor on all dimensions that are not among the measures."""
        return 1.0 + 0.05 * self.size


def draw_person(
    rng: np.random.Generator, *, age_years: tuple[float, float] = (18.0, 92.0), morphometry_sd_factor: float = 1.0
) -> Person:
    """Draw a person.

    Parameters
    ----------
    rng : numpy Generator
        Random number generator; it is advanced.
    age_years : (float, float)
        Range of the age, which is drawn uniformly.
    morphometry_sd_factor : float
        Factor on the standard deviations of all measures.
    """
    is_female = bool(rng.random() < 0.5)
    years = float(rng.uniform(*age_years))
    size = (-_SEX_SIZE if is_female else _SEX_SIZE) + float(np.sqrt(1 - _SEX_SIZE**2) * rng.normal())
    degeneration = float(np.clip((years - 30) / 60 + rng.normal(0, 0.2), 0, 1))
    measures = draw_measures(rng, size=size, morphometry_sd_factor=morphometry_sd_factor)
    common = {trait: rng.random() for trait in _TRAITS}
    traits = {
        level: {trait: float(np.clip(0.5 * common[trait] + 0.5 * rng.random(), 0, 1)) for trait in _TRAITS}
        for level in STACK
    }
    loss = max(years - 35, 0) * (2.2 if is_female else 1.5)  # HU lost since the age of 35; faster in women
    bone = Bone(
        cortex_hu=float(rng.normal(1420, 110) - 0.8 * loss),
        trabecular_hu=float(max(rng.normal(430, 65) - loss, 130)),
        cortex_mm=float(np.clip(rng.normal(1.05, 0.18) - 0.003 * loss, 0.5, 1.6)),
        endplate_mm=float(np.clip(rng.normal(0.65, 0.1), 0.4, 0.9)),
    )
    return Person(is_female, years, size, degeneration, float(rng.beta(2.0, 2.5)), bone, measures, traits)
