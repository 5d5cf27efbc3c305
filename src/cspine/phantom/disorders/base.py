"""What a disorder is: hooks that change a person, a posture, frames and a neck, and functions that several need."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from scipy.spatial.transform import Rotation

from cspine.core.typing import Floats
from cspine.phantom.anatomy.axis import AXIS_WIDTH_MM
from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.inserts import Insert, Lesion
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.person import STACK, Person
from cspine.phantom.anatomy.posture import Frame, Posture
from cspine.phantom.anatomy.subaxial import landmarks_of
from cspine.phantom.anatomy.variants import Variants
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import vector
from cspine.phantom.geometry.solids import Ellipsoid

NeckT = TypeVar("NeckT", bound=Neck)
"""A neck, or a class derived from it: hooks return what they are given."""

Frames = Mapping[str, Frame]

BELOW: Final[dict[str, str]] = dict(zip(STACK[1:], STACK[:-1], strict=True)) | {"C0": "C1"}
"""Level to the next level caudally, C0 to T1."""


@dataclass(frozen=True, kw_only=True)
class Disorder:
    """Something that is different about a neck. Hooks that a disorder does not need return their argument.

    Attributes
    ----------
    names : tuple of str
        Names for the truth, with levels where it has any.
    """

    names: tuple[str, ...]

    def person(self, person: Person) -> Person:
        """Return a person with the disorder: measures, traits, bone."""
        return person

    def posture(self, posture: Posture) -> Posture:
        """Return the posture with the disorder."""
        return posture

    def frames(self, frames: Frames, person: Person) -> Frames:  # noqa: ARG002 - others need it
        """Return the frames of the vertebrae with the disorder."""
        return frames

    def neck(self, neck: NeckT) -> NeckT:
        """Return a neck with the disorder: bone, implants, lesions."""
        return neck


def levels_between(upper: str, lower: str) -> tuple[str, ...]:
    """Return the levels from an upper to a lower one.

    >>> levels_between("C3", "C5")
    ('C3', 'C4', 'C5')
    """
    return STACK[STACK.index(lower) : STACK.index(upper) + 1][::-1]


def draw_levels(rng: np.random.Generator, among: tuple[str, ...], n_levels: tuple[int, int]) -> tuple[str, ...]:
    """Draw consecutive levels; `n_levels` are the smallest and the largest number of them."""
    count = int(rng.integers(n_levels[0], n_levels[1] + 1))
    first = int(rng.integers(0, len(among) - count + 1))
    return among[first : first + count]


def draw_within(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from a uniform distribution with a random sign."""
    return float(rng.uniform(low, high) * rng.choice([-1.0, 1.0]))


def scale_measures(person: Person, factors: Mapping[str, float], levels: Iterable[str] | None = None) -> Person:
    """Return a person with measures multiplied by factors, by default at all levels that have them."""
    chosen = set(person.measures if levels is None else levels)
    measures = {
        level: {name: value * factors.get(name, 1.0) if level in chosen else value for name, value in of_level.items()}
        for level, of_level in person.measures.items()
    }
    return replace(person, measures=measures)


def front_y(person: Person, level: str) -> float:
    """Return the y of the anterior wall of a body, C2 and below, in the frame of the vertebra."""
    measures = person.measures[level]
    return -(measures.get("body depth above", measures["body depth below"]) + measures["body depth below"]) / 4


def body_width(person: Person, level: str) -> float:
    """Return the width of a body, C2 and below, in mm."""
    return person.measures[level].get("body width", AXIS_WIDTH_MM)


def anterior_wedge(person: Person, level: str, above: float, below: float) -> Iterator[Part]:
    """Yield what the anterior corners of a body lack, C3 and below, so that it is a wedge.

    Size, place and lean of what is cut out are typical values without one source.

    Parameters
    ----------
    person : Person
        Whose measures place it.
    level : str
        Name of the vertebra.
    above, below : float
        How much of the upper and of the lower corner: 0 (nothing) to 1 (about 2 mm, as in a small child above).

    Yields
    ------
    Part
        To be cut out, in the frame of the vertebra.
    """
    half, front = person.measures[level]["body height"] / 2, -landmarks_of(person, level).body_back_y
    for up, amount in ((1.0, above), (-1.0, below)):
        if amount > 0:
            lean = Rotation.from_euler("x", up * 28.0, degrees=True).as_matrix()
            center = vector(0.0, front - 0.5, up * (half + 2.6 - 2.2 * amount))
            yield Part(Ellipsoid(center, (20.0, 9.0, 2.6), lean), 1.2, is_cutout=True)


def in_frame(frame: Frame, point: Floats) -> Floats:
    """Return a point in LPS in the frame of a vertebra, (3,)."""
    return np.asarray(frame.axes.T @ (point - frame.center_mm))


def disc_ends(frames: Frames, person: Person, upper: str) -> tuple[Floats, Floats]:
    """Return the centers of the endplates above and below the disc below a level, in LPS."""
    lower = BELOW[upper]
    top = frames[upper].to_lps([0.0, 0.0, -person.measures[upper]["body height"] / 2])
    bottom = frames[lower].to_lps([0.0, 0.0, person.measures[lower]["body height"] / 2])
    return top, bottom


def disc_frame(frames: Frames, person: Person, upper: str) -> Floats:
    """Return the frame in the middle of the disc below a level, along the axes of the upper vertebra, (4, 4)."""
    affine = frames[upper].affine
    affine[:3, 3] = np.mean(disc_ends(frames, person, upper), axis=0)
    return affine


def _merge(one: Mapping[str, tuple[Part, ...]], other: Mapping[str, Iterable[Part]]) -> dict[str, tuple[Part, ...]]:
    return {level: (*one.get(level, ()), *other.get(level, ())) for level in {**one, **other}}


def add_parts(neck: NeckT, parts: Mapping[str, Iterable[Part]]) -> NeckT:
    """Return a neck with solids added to vertebrae or cut out of them, by level, in their frames."""
    variants: Variants = replace(neck.variants, parts=_merge(neck.variants.parts, parts))
    return replace(neck, variants=variants)


def add_inserts(neck: NeckT, inserts: Iterable[Insert]) -> NeckT:
    """Return a neck with more inserts."""
    return replace(neck, inserts=(*neck.inserts, *inserts))


def add_hard_tissues(neck: NeckT, tissues: Iterable[HardTissue]) -> NeckT:
    """Return a neck with more bone that belongs to no vertebra."""
    return replace(neck, hard_tissues=(*neck.hard_tissues, *tissues))


def add_lesions(neck: NeckT, lesions: Mapping[str, Iterable[Lesion]]) -> NeckT:
    """Return a neck with more lesions, by level, in the frames of the vertebrae."""
    levels = {**neck.lesions, **lesions}
    merged = {level: (*neck.lesions.get(level, ()), *lesions.get(level, ())) for level in levels}
    return replace(neck, lesions=merged)
