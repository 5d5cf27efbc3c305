"""Bone of another density: osteoporosis, dense bone, another contrast of bone, metastases."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cspine.phantom.anatomy.inserts import Lesion
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.subaxial import SUBAXIAL
from cspine.phantom.disorders.base import Disorder, NeckT, add_lesions, body_width, front_y


@dataclass(frozen=True, kw_only=True)
class BoneDensity(Disorder):
    """Bone of another density or thickness.

    Attributes
    ----------
    cortex_hu, trabecular_hu, cortex_mm, endplate_mm : float or None
        As of `cspine.phantom.anatomy.person.Bone`; None where they are those of the person.
    factor : float
        Factor on both densities, as of another tube voltage.
    """

    cortex_hu: float | None = None
    trabecular_hu: float | None = None
    cortex_mm: float | None = None
    endplate_mm: float | None = None
    factor: float = 1.0

    def person(self, person: Person) -> Person:
        """Return a person with this bone."""
        fields = ("cortex_hu", "trabecular_hu", "cortex_mm", "endplate_mm")
        bone = replace(person.bone, **{name: value for name in fields if (value := getattr(self, name)) is not None})
        bone = replace(bone, cortex_hu=bone.cortex_hu * self.factor, trabecular_hu=bone.trabecular_hu * self.factor)
        return replace(person, bone=bone)


@dataclass(frozen=True, kw_only=True)
class Metastases(Disorder):
    """Metastases in vertebrae.

    Attributes
    ----------
    lesions : dict
        Level to lesions with center and radii relative to half the width, depth and height of the body.
    """

    lesions: Mapping[str, tuple[Lesion, ...]]

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with the lesions in its bones."""
        placed = {}
        for level, lesions in self.lesions.items():
            half = np.array(
                [
                    body_width(neck.person, level) / 2,
                    -front_y(neck.person, level),
                    neck.person.measures[level]["body height"] / 2,
                ]
            )
            placed[level] = [
                replace(lesion, center_mm=half * lesion.center_mm, radii_mm=half * lesion.radii_mm)
                for lesion in lesions
            ]
        return add_lesions(neck, placed)


def draw_osteoporosis(rng: np.random.Generator) -> Disorder:
    """Draw bone of 40 to 120 HU within a thin cortex."""
    return BoneDensity(
        names=("osteoporosis",),
        cortex_hu=float(rng.uniform(750.0, 1150.0)),
        trabecular_hu=float(rng.uniform(40.0, 120.0)),
        cortex_mm=float(rng.uniform(0.5, 0.8)),
        endplate_mm=float(rng.uniform(0.4, 0.6)),
    )


def draw_dense_bone(rng: np.random.Generator) -> Disorder:
    """Draw the dense bone of young, strong people."""
    return BoneDensity(
        names=("dense bone",),
        cortex_hu=float(rng.uniform(1450.0, 1750.0)),
        trabecular_hu=float(rng.uniform(480.0, 700.0)),
        cortex_mm=float(rng.uniform(1.2, 1.8)),
        endplate_mm=float(rng.uniform(0.7, 1.1)),
    )


def draw_bone_contrast(rng: np.random.Generator) -> Disorder:
    """Draw another contrast of bone, as of tube voltages from 70 to 140 kV or of a faulty calibration."""
    return BoneDensity(
        names=("bone contrast",), factor=float(rng.choice([rng.uniform(0.7, 0.9), rng.uniform(1.1, 1.35)]))
    )


def draw_metastases(rng: np.random.Generator) -> Disorder:
    """Draw sclerotic, lytic or mixed lesions of one to four vertebrae."""
    kinds = {"sclerotic": [True], "lytic": [False], "mixed": [True, False]}
    kind = str(rng.choice(list(kinds)))
    levels = rng.choice(["C2", *SUBAXIAL, "T1", "T2"], size=int(rng.integers(1, 5)), replace=False).tolist()
    lesions = {}
    for level in levels:
        of_level = []
        for _ in range(int(rng.integers(1, 4))):
            hu = rng.uniform(700.0, 1300.0) if rng.choice(kinds[kind]) else rng.uniform(20.0, 90.0)
            center, radii = rng.uniform(-0.7, 0.7, 3), rng.uniform(0.25, 0.9, 3)
            of_level.append(Lesion(center, radii, float(hu)))
        lesions[level] = tuple(of_level)
    return Metastases(names=tuple(f"{kind} metastasis {level}" for level in levels), lesions=lesions)
