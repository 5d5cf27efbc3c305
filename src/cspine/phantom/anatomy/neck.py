"""A neck: a person in a posture with all that is in it, whole or broken, ready to be rendered."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.phantom.anatomy.atlas import atlas
from cspine.phantom.anatomy.axis import AXIS_WIDTH_MM, axis
from cspine.phantom.anatomy.devices import draw_additions
from cspine.phantom.anatomy.grid import Grid, Part
from cspine.phantom.anatomy.head import Hard, crowns, larynx, skull
from cspine.phantom.anatomy.person import STACK, Person, draw_person
from cspine.phantom.anatomy.posture import Frame, Posture, disc_space, draw_posture, pillar_space, stand
from cspine.phantom.anatomy.solids import Ellipsoid, Field, Place
from cspine.phantom.anatomy.subaxial import subaxial
from cspine.phantom.anatomy.texture import Texture, draw_texture
from cspine.phantom.anatomy.tissue import lay_out, neck_half_mm, paint, soft_tissue
from cspine.phantom.anatomy.variants import Variants, draw_variants
from cspine.phantom.fractures.fracture import BLEEDING, Fracture

_SOFT_MM: Final = 1.7
_SWELLING_FROM_MM: Final = 1.5
"""Fragments that have moved this far, and bodies that have sunk, bleed visibly."""

_SOFT_BOX: Final = np.array([[-180.0, -135.0, -120.0], [180.0, 110.0, 125.0]])
"""What is laid out, in LPS about C4: more than a field of view, so that the shoulders' shadow is known."""


@dataclass(frozen=True)
class Soft:
    """Soft tissue, laid out coarsely once and interpolated wherever it is wanted."""

    hu: Field
    grid: Grid

    def on(self, grid: Grid) -> Field:
        """Return HU on a lattice; beyond the layout, as at its border."""
        k, j, i = Grid(np.linalg.inv(self.grid.affine) @ grid.affine, grid.shape).points().coordinates((0, 0, 0))
        if k.shape[1:] == (1, 1) and j.shape[::2] == (1, 1) and i.shape[:2] == (1, 1):
            hu = self.hu
            for along, places in ((0, k), (2, i), (1, j)):  # whole rows last, while there are most
                hu = _interpolate(hu, along, np.broadcast_to(places.ravel(), (grid.shape[along],)))
            return hu
        places = np.stack(np.broadcast_arrays(k, j, i))
        return np.asarray(ndimage.map_coordinates(self.hu, places, order=1, mode="nearest"), np.float32)

    def paths_mm(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return what a beam through the spine meets in each plane, as mm of water: from the side, from the front."""
        _, j, i = (np.linalg.inv(self.grid.affine) @ [0.0, 0.0, 0.0, 1.0])[:3].round().astype(int)
        water = np.maximum(self.hu / 1000 + 1, 0)
        across, along = slice(i - 8, i + 9), slice(j - 8, j + 9)
        sideways, forwards = water[:, along].mean(axis=1), water[:, :, across].mean(axis=2)
        return sideways.sum(axis=1) * _SOFT_MM, forwards.sum(axis=1) * _SOFT_MM


@dataclass(frozen=True)
class Neck:
    """One neck.

    Attributes
    ----------
    frames : dict
        Level to where it stands; ``C0`` is the skull.
    spaces_mm : dict
        Level to the distance to its neighbours.
    soft : Soft
        What is not bone.
    hard : tuple of Hard
        Bones that are no vertebrae.
    discs : tuple of (Ellipsoid, affine)
        The space between bodies, each in its own frame.
    variants : Variants
        What may be taken for a fracture and is none.
    fillings : tuple of (3,)
        Where metal is, LPS.
    additions : tuple of str
        Foreign things.
    swelling : tuple of Ellipsoid
        Blood before broken vertebrae, in LPS.
    fractures : dict
        Level to its fractures.
    """

    person: Person
    posture: Posture
    frames: Mapping[str, Frame]
    spaces_mm: Mapping[str, float]
    soft: Soft
    hard: tuple[Hard, ...]
    discs: tuple[tuple[Ellipsoid, npt.NDArray[np.float64]], ...]
    texture: Texture
    variants: Variants = field(default_factory=Variants)
    fillings: tuple[Place, ...] = ()
    additions: tuple[str, ...] = ()
    swelling: tuple[Ellipsoid, ...] = ()
    fractures: Mapping[str, tuple[Fracture, ...]] = field(default_factory=dict)

    @property
    def levels(self) -> tuple[str, ...]:
        """The vertebrae, from the head down."""
        return STACK[::-1]

    def broken(self, fractures: Mapping[str, tuple[Fracture, ...]]) -> "Neck":
        """Return the neck with these fractures, and with what they do to the tissue before them."""
        swelling = []
        for level, found in fractures.items():
            bleeding = [fracture for fracture in found if fracture.kind in BLEEDING]
            force = max(
                (float(np.linalg.norm(fracture.shift_mm)) + fracture.crush_mm for fracture in bleeding), default=0.0
            )
            before = self.frames[level].to_lps([0.0, -11.0 if level != "C1" else -15.0, 0.0])
            if force > _SWELLING_FROM_MM:
                swelling.append(Ellipsoid(before, (15.0, 2.5 + 1.2 * min(force, 6.0), 19.0)))
        return replace(self, fractures=dict(fractures), swelling=tuple(swelling))

    def bone(self, level: str) -> list[Part]:
        """Return the parts of a vertebra, in its frame."""
        return [*bone_parts(self.person, level, self.spaces_mm), *self.variants.parts.get(level, ())]


def bone_parts(person: Person, level: str, spaces_mm: Mapping[str, float]) -> list[Part]:
    """Return the parts of a person's vertebra, in its frame; `spaces_mm` as in `Neck`."""
    measures, traits = person.measures[level], person.traits[level]
    if level == "C1":
        return list(atlas(measures, traits, dens_depth=person.measures["C2"]["dens depth"]))
    if level == "C2":
        return list(axis(measures, traits))
    return list(subaxial(level, measures, traits, spaces_mm[level]))


def draw_neck(
    rng: np.random.Generator,
    *,
    age_years: tuple[float, float] = (18.0, 92.0),
    morphometry_sd_factor: float = 1.0,
    posture: float = 1.0,
) -> Neck:
    """Draw a person, a posture and all soft tissue.

    Parameters
    ----------
    rng : numpy Generator
        Where chance comes from.
    age_years : (float, float)
        The youngest and oldest.
    morphometry_sd_factor : float
        How many times as much as in people the measures differ.
    posture : float
        How many times as much as usual the neck is bent and turned.
    """
    person, held = (
        draw_person(rng, age=age_years, morphometry_sd_factor=morphometry_sd_factor),
        draw_posture(rng, morphometry_sd_factor=posture),
    )
    frames, texture = stand(person, held, rng), draw_texture(rng)
    layout = lay_out(person, frames)
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = _SOFT_MM
    affine[:, 3] = [*_SOFT_BOX[0], 1.0]
    counts = ((_SOFT_BOX[1] - _SOFT_BOX[0]) / _SOFT_MM).astype(int)[::-1]
    grid = Grid(affine, (int(counts[0]), int(counts[1]), int(counts[2])))
    hu = soft_tissue(person, layout, grid, texture, rng)
    teeth = [crown for crown, _, _ in crowns(person)]
    additions = draw_additions(layout, teeth, neck_half_mm(person), rng)
    for organ in additions.organs:
        paint(hu, organ, grid)
    variants = draw_variants(person, frames, rng)
    fillings = tuple(frames["C0"].to_lps(place) for place in additions.fillings)
    bones = [replace(hard, frame=frames["C0"].affine, of_skull=True) for hard in skull(person)]
    bones += [*larynx(person, layout.front["C3"], layout.front["C6"]), *variants.hard]
    spaces = {level: pillar_space(frames, level) for level in STACK if level not in {"C1", "C2"}}
    discs = tuple(_disc(person, frames, level) for level in STACK[1:-1])
    return Neck(
        person, held, frames, spaces, Soft(hu, grid), tuple(bones), discs, texture,
        variants, fillings, additions.names,
    )  # fmt: skip


def _disc(person: Person, frames: Mapping[str, Frame], level: str) -> tuple[Ellipsoid, npt.NDArray[np.float64]]:
    """Return the disc below a level and its frame; it reaches into the endplates, which cover it."""
    measures = person.measures[level]
    half = measures.get("body width", AXIS_WIDTH_MM) / 2
    affine = frames[level].affine
    affine[:3, 3] = frames[level].to_lps([0, 0, -(measures["body height"] + disc_space(person, level)) / 2])
    radii = (half * 1.05, measures["body depth below"] / 2 * 1.05, disc_space(person, level) + 3.5)
    return Ellipsoid((0.0, 0.0, 0.0), radii), affine


def _interpolate(values: Field, along: int, at: Field) -> Field:
    """Interpolate linearly along one axis."""
    count = values.shape[along]
    low = np.clip(np.floor(at).astype(np.intp), 0, count - 2)
    shape = [1, 1, 1]
    shape[along] = -1
    share = np.clip(at - low, 0, 1).reshape(shape).astype(np.float32)
    below = values.take(low, axis=along)
    below += (values.take(low + 1, axis=along) - below) * share
    return below
