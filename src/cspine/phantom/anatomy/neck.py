"""A neck: a person in a posture with all bones and tissues, intact or fractured, ready to be rendered."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, Self

import numpy as np

from cspine.core.typing import Floats
from cspine.phantom.anatomy.atlas import atlas
from cspine.phantom.anatomy.axis import AXIS_WIDTH_MM, axis
from cspine.phantom.anatomy.devices import draw_devices
from cspine.phantom.anatomy.head import HardTissue, crowns, larynx, skull
from cspine.phantom.anatomy.inserts import Insert, Lesion
from cspine.phantom.anatomy.mimic import Mimic
from cspine.phantom.anatomy.organs import draw_body, draw_organs, layout_along_spine, neck_half_width_mm
from cspine.phantom.anatomy.person import STACK, Person, draw_person
from cspine.phantom.anatomy.posture import Frame, Posture, disc_space, draw_posture, pillar_space, place_vertebrae
from cspine.phantom.anatomy.resize import head_scale, resized_neck
from cspine.phantom.anatomy.soft_tissue import SoftTissue, coarse_grid
from cspine.phantom.anatomy.subaxial import subaxial
from cspine.phantom.anatomy.texture import Texture, draw_texture
from cspine.phantom.anatomy.variants import Variants, draw_variants
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.sites import BLEEDING_TYPES
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.scaled import scale_parts
from cspine.phantom.geometry.solids import Ellipsoid

_MIN_BLEEDING_MM: Final = 1.5
"""Displacement, or loss of height, from which on a fracture causes visible prevertebral swelling."""


@dataclass(frozen=True)
class Neck:
    """A neck.

    Attributes
    ----------
    person : Person
        Sex, age, bone and measures.
    posture : Posture
        Angles between the vertebrae.
    frames : dict
        Level to the frame of the vertebra; ``C0`` is the skull.
    pillar_spacing_mm : dict
        Level to the distance from its neighbors at the articular pillars.
    soft_tissue : SoftTissue
        All that is not bone, rasterized when first needed.
    hard_tissues : tuple of HardTissue
        Bones other than vertebrae, and calcifications.
    discs : tuple of (Ellipsoid, (4, 4))
        Intervertebral discs, each with the affine from its frame to LPS.
    texture : Texture
        Random texture of trabecular bone and of the septa between muscles.
    variants : Variants
        Findings that mimic fractures.
    fillings : tuple of (3,)
        Positions of dental fillings, in LPS.
    devices : tuple of str
        Names of the devices in the scan.
    swelling : tuple of Ellipsoid
        Prevertebral hematomas, in LPS.
    fractures : dict
        Level to its fractures.
    inserts : tuple of Insert
        Implants and gas, drawn over the vertebrae.
    lesions : dict
        Level to where its bone has another density.
    mimics : tuple of Mimic
        What `cspine.phantom.mimics` has added, for the truth.
    size_factor : float
        Size of the vertebrae relative to `person` and `variants`, whose measures are those of an adult. Frames and all
        else are of the size of the neck.
    """

    person: Person
    posture: Posture
    frames: Mapping[str, Frame]
    pillar_spacing_mm: Mapping[str, float]
    soft_tissue: SoftTissue
    hard_tissues: tuple[HardTissue, ...]
    discs: tuple[tuple[Ellipsoid, Floats], ...]
    texture: Texture
    variants: Variants = field(default_factory=Variants)
    fillings: tuple[Floats, ...] = ()
    devices: tuple[str, ...] = ()
    swelling: tuple[Ellipsoid, ...] = ()
    fractures: Mapping[str, tuple[Fracture, ...]] = field(default_factory=dict)
    inserts: tuple[Insert, ...] = ()
    lesions: Mapping[str, tuple[Lesion, ...]] = field(default_factory=dict)
    mimics: tuple[Mimic, ...] = ()
    size_factor: float = 1.0

    @property
    def levels(self) -> tuple[str, ...]:
        """The vertebrae from C1 down to T2."""
        return STACK[::-1]

    def with_fractures(self, fractures: Mapping[str, tuple[Fracture, ...]]) -> "Neck":
        """Return the neck with these fractures, by level, and with the prevertebral swelling that they cause."""
        swelling = []
        for level, surfaces in fractures.items():
            bleeding = [surface for surface in surfaces if surface.fracture_type in BLEEDING_TYPES]
            severity_mm = max(
                (float(np.linalg.norm(surface.translation_mm)) + surface.height_loss_mm for surface in bleeding),
                default=0.0,
            )
            center = self.frames[level].to_lps([0.0, -11.0 if level != "C1" else -15.0, 0.0])
            if severity_mm > _MIN_BLEEDING_MM:
                swelling.append(Ellipsoid(center, (15.0, 2.5 + 1.2 * min(severity_mm, 6.0), 19.0)))
        return replace(self, fractures=dict(fractures), swelling=tuple(swelling))

    def resized(self, factor: float, head_factor: float) -> Self:
        """Return the neck in another size, about the body of C4; see `cspine.phantom.anatomy.resize`.

        Parameters
        ----------
        factor, head_factor : float
            Size of neck and trunk, and of the head, relative to the present one.
        """
        return resized_neck(self, head_scale(self.frames["C0"], factor, head_factor))

    def vertebra_parts(self, level: str) -> list[Part]:
        """Return the parts of a vertebra with its variants, in its frame."""
        parts = [*vertebra_parts(self.person, level, self.pillar_spacing_mm), *self.variants.parts.get(level, ())]
        return parts if self.size_factor == 1.0 else list(scale_parts(parts, self.size_factor))


def vertebra_parts(person: Person, level: str, pillar_spacing_mm: Mapping[str, float]) -> list[Part]:
    """Return the parts of a normal vertebra of a person, in its frame; `pillar_spacing_mm` as in `Neck`."""
    measures, traits = person.measures[level], person.traits[level]
    if level == "C1":
        return list(atlas(measures, traits, dens_depth=person.measures["C2"]["dens depth"]))
    if level == "C2":
        return list(axis(measures, traits))
    return list(subaxial(level, measures, traits, pillar_spacing_mm[level]))


class NeckChanges(Protocol):
    """What makes a neck different from a drawn one, step by step, as `cspine.phantom.disorders` does."""

    def person(self, person: Person) -> Person:
        """Return the changed person."""

    def posture(self, posture: Posture) -> Posture:
        """Return the changed posture."""

    def frames(self, frames: Mapping[str, Frame], person: Person) -> dict[str, Frame]:
        """Return the changed frames."""

    def neck(self, neck: Neck) -> Neck:
        """Return the changed neck."""


def draw_neck(
    rng: np.random.Generator,
    *,
    age_years: tuple[float, float] = (18.0, 92.0),
    morphometry_sd_factor: float = 1.0,
    posture_sd_factor: float = 1.0,
    changes: NeckChanges | None = None,
) -> Neck:
    """Draw a person, a posture, variants, devices and all soft tissue.

    Soft tissue is rasterized only when the neck is rendered or its noise is computed.

    Parameters
    ----------
    rng, age_years, morphometry_sd_factor
        As of `cspine.phantom.anatomy.person.draw_person`.
    posture_sd_factor : float
        Factor on the standard deviations of all angles of the posture.
    changes : NeckChanges, optional
        Applied to person, posture, frames and neck.
    """
    person = draw_person(rng, age_years=age_years, morphometry_sd_factor=morphometry_sd_factor)
    posture = draw_posture(rng, posture_sd_factor=posture_sd_factor)
    if changes:
        person, posture = changes.person(person), changes.posture(posture)
    frames, texture = place_vertebrae(person, posture, rng), draw_texture(rng)
    if changes:
        frames = changes.frames(frames, person)
    layout = layout_along_spine(person, frames)
    body, organs = tuple(draw_body(person, layout, rng)), tuple(draw_organs(layout, rng))
    teeth = [crown for crown, _, _ in crowns(person)]
    devices = draw_devices(layout, teeth, neck_half_width_mm(person), rng)
    variants = draw_variants(person, frames, rng)
    head = frames["C0"]
    neck = Neck(
        person=person,
        posture=posture,
        frames=frames,
        pillar_spacing_mm={level: pillar_space(frames, level) for level in STACK if level not in {"C1", "C2"}},
        soft_tissue=SoftTissue(
            body, (*organs, *devices.organs), person.girth, float(layout.canal["C4"][1]), texture, coarse_grid()
        ),
        hard_tissues=(
            *(replace(bone, frame=head.affine, is_skull=True) for bone in skull(person)),
            *larynx(person, layout.front["C3"], layout.front["C6"]),
            *variants.hard_tissues,
        ),
        discs=tuple(disc_below(person, frames, level) for level in STACK[1:-1]),
        texture=texture,
        variants=variants,
        fillings=tuple(head.to_lps(filling) for filling in devices.fillings),
        devices=devices.names,
    )
    return changes.neck(neck) if changes else neck


def disc_below(person: Person, frames: Mapping[str, Frame], level: str) -> tuple[Ellipsoid, Floats]:
    """Return the disc below a level, C2 to T1, and the affine of its frame.

    It overlaps the endplates, which are drawn over it.
    """
    measures = person.measures[level]
    half = measures.get("body width", AXIS_WIDTH_MM) / 2
    affine = frames[level].affine
    affine[:3, 3] = frames[level].to_lps([0, 0, -(measures["body height"] + disc_space(person, level)) / 2])
    radii = (half * 1.05, measures["body depth below"] / 2 * 1.05, disc_space(person, level) + 3.5)
    return Ellipsoid((0.0, 0.0, 0.0), radii), affine
