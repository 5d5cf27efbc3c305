"""Draws the mimics of a neck."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.mimics import arches, atlas, axis, bodies, marrow, vessels
from cspine.phantom.mimics.change import MimicChange
from cspine.phantom.mimics.settings import MimicSettings

DRAW: Final[Mapping[str, Callable[[Neck, np.random.Generator], Iterator[MimicChange]]]] = {
    "coarse_trabeculae": marrow.coarse_trabeculae,
    "thin_laminae": arches.thin_laminae,
    "subdental_synchondrosis": axis.subdental_synchondrosis,
    "dens_canals": axis.dens_canals,
    "dens_cysts": axis.dens_cysts,
    "atlantoaxial_arthrosis": axis.atlantoaxial_arthrosis,
    "narrow_atlantoaxial_joint": axis.narrow_atlantoaxial_joint,
    "atlas_groove": atlas.atlas_groove,
    "lateral_mass_canal": atlas.lateral_mass_canal,
    "basivertebral_foramen": bodies.basivertebral_foramen,
    "endplate_pits": bodies.endplate_pits,
    "schmorl_node": bodies.schmorl_node,
    "vacuum_disc": bodies.vacuum_disc,
    "uncovertebral_arthrosis": bodies.uncovertebral_arthrosis,
    "narrow_facet_joint": arches.narrow_facet_joint,
    "facet_arthrosis": arches.facet_arthrosis,
    "dark_spots": marrow.dark_spots,
    "bone_island": marrow.bone_island,
    "nutrient_canals": marrow.nutrient_canals,
    "transverse_foramina": arches.transverse_foramina,
    "enthesophytes": arches.enthesophytes,
    "ossified_flavum": arches.ossified_flavum,
    "ossified_dens_ligaments": axis.ossified_dens_ligaments,
    "contrast_medium": vessels.contrast_medium,
}
"""Name of a mimic, as in `MimicSettings`, to the function that draws it at some or all levels."""


def draw_mimics(neck: Neck, settings: MimicSettings, rng: np.random.Generator) -> tuple[MimicChange, ...]:
    """Draw the mimics of a neck; none of them lies where the neck is fractured.

    Parameters
    ----------
    neck : Neck
        With its fractures. Necks of children get none.
    settings : MimicSettings
        Probability of each.
    rng : numpy Generator
        Random number generator; it is advanced by as much whatever the probabilities are.
    """
    if neck.size_factor != 1.0:
        return ()
    probabilities, seeds = settings.model_dump(), rng.integers(2**63, size=len(DRAW))
    is_present = rng.random(len(DRAW))
    changes: list[MimicChange] = []
    for (name, draw), seed, value in zip(DRAW.items(), seeds.tolist(), is_present.tolist(), strict=True):
        if value < probabilities[name]:
            drawn = draw(neck, np.random.default_rng(seed))
            changes += [each for each in drawn if each.level in VERTEBRAE]
    return tuple(each for each in changes if each.is_clear_of(neck.fractures.get(each.level, ())))
