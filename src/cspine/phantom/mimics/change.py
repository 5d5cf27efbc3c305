"""What a mimic changes in a neck, and how it is applied."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from cspine.phantom.anatomy.head import HardTissue
from cspine.phantom.anatomy.inserts import Insert, Lesion, sclerosis
from cspine.phantom.anatomy.mimic import Mimic
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.person import Bone
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.points import PointCloud, Vector

_CLEARANCE_MM: Final = 2.5
"""Least distance of what takes bone away from the surface of a fracture."""


@dataclass(frozen=True, kw_only=True)
class MimicChange:
    """A mimic and what it changes at its vertebra.

    Attributes
    ----------
    name, level : str
        As of `cspine.phantom.anatomy.mimic.Mimic`.
    points_mm : tuple of (3,)
        Where it lies, in the frame of the vertebra.
    reach_mm : float
        How far it extends from its points.
    parts : tuple of Part
        Solids added to the vertebra or cut out of it, and then covered by cortex.
    canals : tuple of Part
        Solids cut out of it without a cortex of their own.
    lesions : tuple of Lesion
        Where its bone has another density.
    gaps : tuple of Fracture
        Gaps lined by cortex.
    inserts, hard_tissues : tuple
        Gas, calcifications, vessels.
    traits : dict
        Traits of the vertebra that are set, which change its shape.
    bone : Bone or None
        The bone of the whole person, where it changes.
    """

    name: str
    level: str
    points_mm: tuple[Vector, ...] = ()
    reach_mm: float = 2.0
    parts: tuple[Part, ...] = ()
    canals: tuple[Part, ...] = ()
    lesions: tuple[Lesion, ...] = ()
    gaps: tuple[Fracture, ...] = ()
    inserts: tuple[Insert, ...] = ()
    hard_tissues: tuple[HardTissue, ...] = ()
    traits: Mapping[str, float] = field(default_factory=dict)
    bone: Bone | None = None

    @property
    def takes_bone(self) -> bool:
        """Whether it takes bone away, displaces it, or makes it another density."""
        return bool(self.canals or self.gaps or self.lesions or any(part.is_cutout for part in self.parts))

    def is_clear_of(self, fractures: Iterable[Fracture]) -> bool:
        """Return whether it leaves fractures of its vertebra, whose truth must stay exact, as they are."""
        if not self.takes_bone:
            return True
        if self.gaps and tuple(fractures):
            return False
        return not any(self._meets(surface) for surface in fractures)

    def _meets(self, surface: Fracture) -> bool:
        points = np.asarray(self.points_mm, np.float32).reshape(-1, 3)
        margin = self.reach_mm + _CLEARANCE_MM
        near = np.all(np.abs(points - surface.center_mm) <= surface.half_extent_mm + margin, axis=1)
        if surface.height_loss_mm:  # what is impacted moves all that is in its box
            return bool(near.any())
        distance = surface.surface_distance(PointCloud(*points.T))
        return bool(np.any(near & (np.abs(distance) < margin + surface.gap_mm)))


def cyst(center: Vector, radius_mm: float, rng: np.random.Generator) -> Iterator[Lesion]:
    """Draw a cyst or a pocket of marrow, mostly with a sclerotic rim."""
    radii = radius_mm * rng.uniform(0.75, 1.3, 3)
    if rng.random() < 0.7:
        yield sclerosis(center, radii + rng.uniform(0.5, 1.0), float(rng.uniform(450.0, 950.0)), edge_mm=0.8)
    yield Lesion(center, radii, float(rng.uniform(10.0, 110.0)), edge_mm=float(rng.uniform(0.4, 1.0)))


def add_mimics(neck: Neck, changes: Iterable[MimicChange]) -> Neck:
    """Return a neck with mimics."""
    changes = tuple(changes)
    if not changes:
        return neck
    variants, person = neck.variants, neck.person
    parts, canals = dict(variants.parts), dict(variants.vascular_canals)
    gaps, lesions = dict(variants.corticated_gaps), dict(neck.lesions)
    traits, bone = {level: dict(of_level) for level, of_level in person.traits.items()}, person.bone
    for change in changes:
        level = change.level
        parts[level] = (*parts.get(level, ()), *change.parts)
        canals[level] = (*canals.get(level, ()), *change.canals)
        gaps[level] = (*gaps.get(level, ()), *change.gaps)
        lesions[level] = (*lesions.get(level, ()), *change.lesions)
        traits[level].update(change.traits)
        bone = change.bone or bone
    return replace(
        neck,
        person=replace(person, traits=traits, bone=bone),
        variants=replace(variants, parts=parts, vascular_canals=canals, corticated_gaps=gaps),
        lesions=lesions,
        inserts=(*neck.inserts, *(insert for change in changes for insert in change.inserts)),
        hard_tissues=(*neck.hard_tissues, *(tissue for change in changes for tissue in change.hard_tissues)),
        mimics=(*neck.mimics, *(Mimic(change.name, change.level, change.points_mm) for change in changes)),
    )
