"""What is different about a neck, drawn once and applied to person, posture, frames and neck in turn.

A sampler of necks or bodies calls the hooks at these points, each of which returns what it was given where nothing is
disordered::

    disorders = draw_disorders(rng, settings)
    person = disorders.person(draw_person(rng))  # measures, traits, bone
    posture = disorders.posture(draw_posture(rng))
    frames = disorders.frames(place_vertebrae(person, posture, rng), person)  # before anything is placed along it
    neck = disorders.neck(Neck(person=person, ...))  # last: children are drawn in the size of an adult and then resized

`Disorders.frames` moves vertebrae above T2 and the head only, and puts the origin in the body of C4 again; frames of
vertebrae below T2 may be added before or after. `Disorders.neck` changes the size of everything in a neck, so that what
is drawn in its real size (a table, the scan range, the truth) follows the frames of the neck that it returns. The
generator is the caller's; existing phantoms draw nothing here.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cspine.phantom.anatomy.mimic import named_levels
from cspine.phantom.anatomy.person import Person
from cspine.phantom.anatomy.posture import Frame, Posture
from cspine.phantom.disorders import (
    anterior_implants,
    blocks,
    bone,
    congenital,
    degeneration,
    growth,
    posterior_implants,
)
from cspine.phantom.disorders import posture as abnormal_posture
from cspine.phantom.disorders.base import Disorder, Frames, NeckT
from cspine.phantom.disorders.remodelling import RemodelledBodies
from cspine.phantom.disorders.settings import DisorderSettings

DRAW: Final[Mapping[str, Callable[[np.random.Generator], Disorder]]] = {
    "child": growth.draw_child,
    "small_adult": growth.draw_small_adult,
    "tall_adult": growth.draw_tall_adult,
    "kyphosis": abnormal_posture.draw_kyphosis,
    "hyperlordosis": abnormal_posture.draw_hyperlordosis,
    "torticollis": abnormal_posture.draw_torticollis,
    "lateral_bend": abnormal_posture.draw_lateral_bend,
    "cervicothoracic_scoliosis": abnormal_posture.draw_cervicothoracic_scoliosis,
    "high_pillow": abnormal_posture.draw_high_pillow,
    "extended_head": abnormal_posture.draw_extended_head,
    "listhesis": abnormal_posture.draw_listhesis,
    "congenital_block": blocks.draw_congenital_block,
    "ankylosing_spondylitis": blocks.draw_ankylosing_spondylitis,
    "anterior_fusion": anterior_implants.draw_anterior_fusion,
    "disc_prosthesis": anterior_implants.draw_disc_prosthesis,
    "corpectomy": anterior_implants.draw_corpectomy,
    "posterior_fusion": posterior_implants.draw_posterior_fusion,
    "occipitocervical_fusion": posterior_implants.draw_occipitocervical_fusion,
    "wiring": posterior_implants.draw_wiring,
    "laminectomy": posterior_implants.draw_laminectomy,
    "collapsed_discs": degeneration.draw_collapsed_discs,
    "vacuum_discs": degeneration.draw_vacuum_discs,
    "large_osteophytes": degeneration.draw_large_osteophytes,
    "worn_facets": degeneration.draw_worn_facets,
    "dish": degeneration.draw_dish,
    "osteoporosis": bone.draw_osteoporosis,
    "dense_bone": bone.draw_dense_bone,
    "bone_contrast": bone.draw_bone_contrast,
    "metastases": bone.draw_metastases,
    "assimilated_atlas": congenital.draw_assimilated_atlas,
    "os_odontoideum": congenital.draw_os_odontoideum,
    "missing_arch": congenital.draw_missing_arch,
    "cervical_ribs": congenital.draw_cervical_ribs,
    "long_transverse_processes": congenital.draw_long_transverse_processes,
    "transitional_t1": congenital.draw_transitional_t1,
}
"""Name of a disorder, as in `DisorderSettings`, to the function that draws it."""

_AGED: Final = frozenset({
    "collapsed_discs", "vacuum_discs", "large_osteophytes", "worn_facets", "dish", "osteoporosis",
    "ankylosing_spondylitis", "anterior_fusion", "disc_prosthesis", "corpectomy", "laminectomy", "metastases",
})  # fmt: skip
"""Disorders of adults."""

_EXCLUSIVE: Final = (
    frozenset({"child", "small_adult", "tall_adult"}),
    frozenset({"kyphosis", "hyperlordosis", "high_pillow", "extended_head"}),
    frozenset({"torticollis", "lateral_bend", "cervicothoracic_scoliosis"}),
    frozenset({"congenital_block", "anterior_fusion", "disc_prosthesis", "corpectomy", "ankylosing_spondylitis"}),
    frozenset({"anterior_fusion", "disc_prosthesis", "corpectomy", "collapsed_discs", "vacuum_discs"}),
    frozenset({"posterior_fusion", "occipitocervical_fusion", "wiring"}),
    frozenset({"laminectomy", "wiring"}),
    frozenset({"dish", "ankylosing_spondylitis", "anterior_fusion", "corpectomy"}),
    frozenset({"osteoporosis", "dense_bone"}),
    frozenset({"missing_arch", "occipitocervical_fusion"}),
    frozenset({"cervical_ribs", "long_transverse_processes", "transitional_t1"}),
    *(frozenset({"child", name}) for name in sorted(_AGED)),
)
"""Disorders of which a person has one at most."""


_TAKING_BONE: Final = (
    anterior_implants.AnteriorFusion, anterior_implants.DiscProsthesis, anterior_implants.Corpectomy,
    posterior_implants.PosteriorFusion, posterior_implants.Wiring, posterior_implants.Laminectomy, bone.Metastases,
    congenital.AssimilatedAtlas, congenital.OsOdontoideum, congenital.MissingArch,
)  # fmt: skip
"""Disorders that take bone of their levels away or cover it."""


_FUSING: Final = (blocks.CongenitalBlock, blocks.AnkylosingSpondylitis)
"""Disorders that join the bodies of their levels."""


def _concerns(disorder: Disorder, levels: Collection[str]) -> bool:
    return any(set(named_levels(name)) & set(levels) for name in disorder.names)


@dataclass(frozen=True)
class Disorders:
    """The disorders of one person; applied in their order, but for the size of the body, which is last."""

    disorders: tuple[Disorder, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all disorders, for the truth."""
        return tuple(name for disorder in self.disorders for name in disorder.names)

    def sparing(self, levels: Collection[str]) -> "Disorders":
        """Return disorders that leave the bone of some levels where it is, as fractures of these need it.

        Parameters
        ----------
        levels : collection of str
            Where there are any, people keep the size of adults too, in which fractures are drawn.
        """
        if not levels:
            return self
        kept = (each for each in self.disorders if not (isinstance(each, _TAKING_BONE) and _concerns(each, levels)))
        return Disorders(tuple(each for each in kept if not isinstance(each, growth.BodySize)))

    def with_remodelled(self, bodies: RemodelledBodies, spared: Collection[str]) -> "Disorders":
        """Return disorders with remodelled bodies, too; children have none.

        Parameters
        ----------
        bodies : RemodelledBodies
            Left out at levels that another disorder fuses or takes bone of.
        spared : collection of str
            Levels without any, as fractured ones, whose fractures were drawn for other bodies.
        """
        if any(isinstance(disorder, growth.Child) for disorder in self.disorders):
            return self
        others = (each for each in self.disorders if isinstance(each, (*_TAKING_BONE, *_FUSING)))
        taken = {level for disorder in others for name in disorder.names for level in named_levels(name)}
        left = bodies.sparing(taken | set(spared))
        return Disorders((*self.disorders, left)) if left.shapes else self

    def person(self, person: Person) -> Person:
        """Return the person with disorders."""
        for disorder in self.disorders:
            person = disorder.person(person)
        return person

    def posture(self, posture: Posture) -> Posture:
        """Return the posture with disorders."""
        for disorder in self.disorders:
            posture = disorder.posture(posture)
        return posture

    def frames(self, frames: Frames, person: Person) -> dict[str, Frame]:
        """Return the frames of the vertebrae with disorders, with the origin in the body of C4.

        Parameters
        ----------
        frames : dict
            Level to frame, as of `cspine.phantom.anatomy.posture.place_vertebrae`.
        person : Person
            With disorders.
        """
        for disorder in self.disorders:
            frames = disorder.frames(frames, person)
        origin = frames["C4"].center_mm
        return {level: replace(frame, center_mm=frame.center_mm - origin) for level, frame in frames.items()}

    def neck(self, neck: NeckT) -> NeckT:
        """Return the neck with disorders, whose names are added to its variants; its frames are the truth."""
        ordered = sorted(self.disorders, key=lambda disorder: isinstance(disorder, growth.BodySize))
        for disorder in ordered:
            neck = disorder.neck(neck)
        return replace(neck, variants=replace(neck.variants, names=(*neck.variants.names, *self.names)))


def draw_disorders(rng: np.random.Generator, settings: DisorderSettings | None = None) -> Disorders:
    """Draw the disorders of a person, each by its probability: children first, then rare ones before frequent ones.

    Parameters
    ----------
    rng : numpy Generator
        Random number generator; it is advanced.
    settings : DisorderSettings, optional
        Probabilities; the default ones by default.
    """
    settings = settings or DisorderSettings()
    probabilities = settings.model_dump()
    present: list[str] = []
    for name in sorted(DRAW, key=lambda name: (name != "child", probabilities[name])):
        excluded = any(name in group and group & set(present) for group in _EXCLUSIVE)
        if rng.random() < probabilities[name] and not excluded:
            present.append(name)
    return Disorders(tuple(DRAW[name](rng) for name in DRAW if name in present))
