"""Children, and very small and very tall adults: proportions of adult size first, the size of the whole neck last.

The ages at which synchondroses close are those of Lustrin et al., RadioGraphics 23 (2003) 539; heads have 0.82 of their
adult circumference at one year (WHO growth standards). Sizes and proportions of vertebrae are typical values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats
from cspine.phantom.anatomy.atlas import canal_front_y
from cspine.phantom.anatomy.axis import dens_base_z
from cspine.phantom.anatomy.person import Bone, Person
from cspine.phantom.anatomy.subaxial import SUBAXIAL, landmarks_of
from cspine.phantom.disorders.base import Disorder, NeckT, add_parts, anterior_wedge, scale_measures
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import SIDES, Ellipsoid

_AGES: Final = (1.0, 3.0, 6.0, 10.0, 14.0)
_NECK_SIZE: Final = (0.53, 0.63, 0.73, 0.82, 0.93)
_HEAD_SIZE: Final = (0.82, 0.88, 0.92, 0.95, 0.98)
"""Size of the neck and of the head relative to an adult, by age in years."""

_MATURE_YEARS: Final = 10.0
"""Age from which on the proportions of vertebrae are those of an adult."""

_CLOSURE_YEARS: Final = {
    "dens": 6.0, "neurocentral": 6.0, "laminae": 3.0, "anterior arch": 7.0, "posterior arch": 4.0,
}  # fmt: skip
"""Synchondrosis to the age at which it closes."""


@dataclass(frozen=True, kw_only=True)
class BodySize(Disorder):
    """A person of another size than the measures say.

    Attributes
    ----------
    factor, head_factor : float
        Size of neck and trunk, and of the head, relative to the measures of the person.
    """

    factor: float
    head_factor: float

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck in its size; it is the last hook, since all others draw in the size of an adult."""
        return neck.resized(self.factor, self.head_factor)


@dataclass(frozen=True, kw_only=True)
class Child(BodySize):
    """A child of 1 to 15 years.

    Attributes
    ----------
    age_years : float
        Age.
    bone : Bone
        Bone, in the size of an adult.
    """

    age_years: float
    bone: Bone

    @property
    def immaturity(self) -> float:
        """From 1 at one year to 0 where the proportions are those of an adult."""
        return float(np.clip((_MATURE_YEARS - self.age_years) / (_MATURE_YEARS - 1.0), 0.0, 1.0))

    def person(self, person: Person) -> Person:
        """Return a child of adult size: low bodies, wide discs and canal, flat facets, short processes."""
        m = self.immaturity
        factors = {
            "body height": 1 - 0.28 * m, "disc height": 1 + 0.18 * m, "spinous process length": 1 - 0.35 * m,
            "canal width": 1 + 0.28 * m, "canal depth": 1 + 0.22 * m, "dens height": 1 - 0.15 * m,
            "facet angle": 1 - 0.25 * m, "pedicle width": 1 + 0.10 * m,
        }  # fmt: skip
        child = scale_measures(person, factors)
        child = scale_measures(child, {"canal width": 1 / (1 + 0.22 * m), "canal depth": 1 / (1 + 0.18 * m)}, ["C1"])
        traits = {
            level: of_level
            | {
                "uncus": of_level["uncus"] - 0.9 * m,
                "arch": of_level["arch"] - 1.2 * m,
                "bifid": of_level["bifid"] * (1 - m),
            }
            for level, of_level in person.traits.items()
        }
        return replace(child, traits=traits, age_years=self.age_years, degeneration=0.0, bone=self.bone)

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck of the child in its size, with wedged bodies and open synchondroses."""
        parts: dict[str, list[Part]] = {level: [] for level in ("C1", "C2", *SUBAXIAL)}
        for level in SUBAXIAL:
            parts[level] += anterior_wedge(neck.person, level, self.immaturity, 0.45 * self.immaturity)
            parts[level] += self._subaxial_synchondroses(neck.person, level)
        parts["C2"] += self._axis_synchondroses(neck.person)
        parts["C1"] += self._atlas_synchondroses(neck.person)
        return add_parts(neck, parts).resized(self.factor, self.head_factor)

    def _half_width_mm(self, name: str) -> float:
        """Return half the width of a synchondrosis in the size of an adult; 0 where it is closed."""
        open_fraction = 1.0 - self.age_years / _CLOSURE_YEARS[name]
        return 0.5 + 0.9 * open_fraction if open_fraction > 0 else 0.0

    def _subaxial_synchondroses(self, person: Person, level: str) -> Iterable[Part]:
        at, width = landmarks_of(person, level), person.measures[level]["body width"]
        for side in SIDES:
            if half := self._half_width_mm("neurocentral"):
                lean = Rotation.from_euler("z", side * 35.0, degrees=True).as_matrix()
                yield _slab(vector(side * (width / 2 - 2.5), at.body_back_y - 2.0, 1.0), (half, 6.0, 7.0), lean)
        if half := self._half_width_mm("laminae"):
            yield _slab(at.lamina + vector(0.0, 3.0, 0.0), (half, 9.0, 9.0))

    def _axis_synchondroses(self, person: Person) -> Iterable[Part]:
        measures = person.measures["C2"]
        base = dens_base_z(measures)
        if half := self._half_width_mm("dens"):
            yield _slab(vector(0.0, -0.5, base - 1.5), (7.0, 8.5, half))
        if half := self._half_width_mm("neurocentral"):
            for side in SIDES:
                yield _slab(vector(side * 7.6, 1.0, base - 5.0), (half, 9.0, 9.0))
        if half := self._half_width_mm("laminae"):
            back = measures["body depth below"] / 2 + measures["canal depth"]
            yield _slab(vector(0.0, back + 4.0, -6.0), (half, 9.0, 9.0))

    def _atlas_synchondroses(self, person: Person) -> Iterable[Part]:
        front = canal_front_y(person.measures["C2"]["dens depth"])
        if half := self._half_width_mm("anterior arch"):
            for side in SIDES:
                yield _slab(vector(side * 8.0, front - 3.0, 0.0), (half, 7.0, 9.0))
        if half := self._half_width_mm("posterior arch"):
            back = front + person.measures["C1"]["canal depth"]
            yield _slab(vector(0.0, back + 3.0, 0.0), (1.3 * half, 9.0, 12.0))


def _slab(center: Floats, radii: tuple[float, float, float], axes: Floats | None = None) -> Part:
    """Return a thin gap."""
    return Part(Ellipsoid(center, radii, axes), 0.4, is_cutout=True)


def draw_child(rng: np.random.Generator) -> Disorder:
    """Draw a child; young ones, who differ most, are as frequent as older ones."""
    age = float(rng.uniform(1.0, 15.0)) if rng.random() < 0.5 else float(rng.uniform(1.0, 6.0))
    factor = float(np.clip(np.interp(age, _AGES, _NECK_SIZE) * rng.normal(1.0, 0.04), 0.5, 0.97))
    head = float(np.interp(age, _AGES, _HEAD_SIZE) * rng.normal(1.0, 0.02))
    bone = Bone(
        cortex_hu=float(rng.normal(1150, 100)),
        trabecular_hu=float(rng.normal(470, 60)),
        cortex_mm=float(rng.uniform(0.9, 1.4)),
        endplate_mm=float(rng.uniform(0.6, 1.0)),
    )
    name = f"child, age {age:.0f}"
    return Child(names=(name,), factor=factor, head_factor=head, age_years=age, bone=bone)


def draw_small_adult(rng: np.random.Generator) -> Disorder:
    """Draw a very small adult, whose head is less small."""
    factor = float(rng.uniform(0.75, 0.92))
    return BodySize(names=("very small adult",), factor=factor, head_factor=0.5 * (1.0 + factor))


def draw_tall_adult(rng: np.random.Generator) -> Disorder:
    """Draw a very tall adult."""
    factor = float(rng.uniform(1.06, 1.2))
    return BodySize(names=("very tall adult",), factor=factor, head_factor=factor)
