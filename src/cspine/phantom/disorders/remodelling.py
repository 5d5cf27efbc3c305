"""Bodies that spondylosis has remodelled without a fracture: low, deep, wedged, dense at their endplates."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.phantom.anatomy.inserts import Lesion, sclerosis
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.subaxial import SUBAXIAL, endplate_arch
from cspine.phantom.disorders.base import (
    Disorder,
    NeckT,
    add_lesions,
    add_parts,
    anterior_wedge,
    body_width,
    draw_levels,
    front_y,
    scale_measures,
)
from cspine.phantom.geometry.parts import Part

_DEPTHS: Final = ("body depth above", "body depth below")


@dataclass(frozen=True, kw_only=True)
class BodyShape:
    """How a body differs from the one that was drawn for the person.

    Attributes
    ----------
    height_factor, depth_factor : float
        On the measures of the body.
    wedge : (float, float)
        How much its anterior corners lack above and below: 0 (nothing) to 1 (about 2 mm, as in a small child).
    endplates_hu : float
        HU of the bone along the middle of both endplates; 0 where it is as elsewhere.
    endplates_mm : float
        How deep this bone reaches in the middle, in mm.
    marrow_hu : float
        HU of the middle of the body, unless it is denser; 0 where it is as elsewhere.
    """

    height_factor: float
    depth_factor: float
    wedge: tuple[float, float]
    endplates_hu: float
    endplates_mm: float
    marrow_hu: float


@dataclass(frozen=True, kw_only=True)
class RemodelledBodies(Disorder):
    """Bodies with another shape and density, as spondylosis leaves them; none of it is a fracture.

    Attributes
    ----------
    shapes : dict
        Level to what is different.
    """

    shapes: Mapping[str, BodyShape]

    def sparing(self, levels: Collection[str]) -> "RemodelledBodies":
        """Return those of other levels."""
        return RemodelledBodies.of({level: shape for level, shape in self.shapes.items() if level not in levels})

    @classmethod
    def of(cls, shapes: Mapping[str, BodyShape]) -> "RemodelledBodies":
        """Return bodies of these shapes, with their names."""
        return cls(names=tuple(f"remodelled body {level}" for level in shapes), shapes=shapes)

    def person(self, person: Person) -> Person:
        """Return the person with low and deep bodies."""
        for level, shape in self.shapes.items():
            factors = {"body height": shape.height_factor} | dict.fromkeys(_DEPTHS, shape.depth_factor)
            person = scale_measures(person, factors, [level])
        return person

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with wedged and dense bodies."""
        parts: dict[str, list[Part]] = {}
        lesions: dict[str, list[Lesion]] = {}
        for level, shape in self.shapes.items():
            parts[level] = list(anterior_wedge(neck.person, level, *shape.wedge))
            lesions[level] = list(_dense_bone(neck.person, level, shape))
        return add_lesions(add_parts(neck, parts), lesions)


def _dense_bone(person: Person, level: str, shape: BodyShape) -> Iterator[Lesion]:
    """Yield dense bone along the endplates, of which the lower one is hollow, and in the middle of the body."""
    width, front = 0.45 * body_width(person, level), -front_y(person, level)
    height = person.measures[level]["body height"]
    if shape.endplates_hu:
        radii = (width, 0.9 * front, shape.endplates_mm)
        for z in (0.5 * height, endplate_arch(person.traits[level]) - 0.5 * height):
            yield sclerosis((0.0, 0.0, z), radii, shape.endplates_hu)
    if shape.marrow_hu:
        radii = (width, 0.9 * front, 0.6 * height)
        yield sclerosis((0.0, 0.0, 0.0), radii, shape.marrow_hu, edge_mm=3.0)


def draw_remodelled_bodies(rng: np.random.Generator) -> RemodelledBodies:
    """Draw one to three consecutive remodelled bodies, C4 to C6 more often than their neighbors.

    Heights of 0.72 to 0.98 and depths of 1 to 1.16 of what was drawn, wedges, HU and how often each occurs are typical
    values without one source.
    """
    levels = draw_levels(rng, SUBAXIAL if rng.random() < 0.4 else SUBAXIAL[1:-1], (1, 3))
    is_dense, is_wedged = rng.random() < 0.65, rng.random() < 0.6
    shapes = {}
    for level in levels:
        wedge = rng.uniform(0.0, (0.8, 0.6))
        shapes[level] = BodyShape(
            height_factor=float(rng.uniform(0.72, 0.98)),
            depth_factor=float(rng.uniform(1.0, 1.16)),
            wedge=(float(wedge[0]), float(wedge[1])) if is_wedged else (0.0, 0.0),
            endplates_hu=float(rng.uniform(450.0, 950.0)) if is_dense else 0.0,
            endplates_mm=float(rng.uniform(1.0, 3.5)),
            marrow_hu=float(rng.uniform(380.0, 650.0)) if rng.random() < 0.35 else 0.0,
        )
    return RemodelledBodies.of(shapes)
