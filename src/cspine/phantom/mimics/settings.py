"""Probabilities of findings that mimic fractures."""

from typing import Final

from pydantic import Field

from cspine.core.settings import Settings


def _probability(value: float, description: str) -> float:
    probability: float = Field(value, ge=0.0, le=1.0, description=description)
    return probability


class MimicSettings(Settings):
    """Probability that a person has each mimic; how many vertebrae show it is drawn with it.

    Most are far more frequent than in people, so that a network learns them.
    """

    subdental_synchondrosis: float = _probability(0.5, "A scar or rest of the synchondrosis at the base of the dens.")
    dens_canals: float = _probability(0.35, "Canals of vessels at the base of the dens.")
    dens_cysts: float = _probability(0.25, "Cysts of the dens, behind the arch of the atlas.")
    atlantoaxial_arthrosis: float = _probability(0.3, "Spurs and sclerosis about the dens and the lateral joints.")
    narrow_atlantoaxial_joint: float = _probability(0.6, "Lateral joints of 0.5 to 1.8 mm.")
    atlas_groove: float = _probability(0.5, "Grooves of the vertebral arteries, which thin the arch of the atlas.")
    lateral_mass_canal: float = _probability(0.35, "Canals or pits of the lateral masses of the atlas.")
    basivertebral_foramen: float = _probability(0.6, "Wide foramina of basivertebral veins with branching channels.")
    endplate_pits: float = _probability(0.4, "Small pits of endplates.")
    schmorl_node: float = _probability(0.25, "Schmorl's nodes with sclerotic rims.")
    vacuum_disc: float = _probability(0.2, "Slits of gas in discs.")
    uncovertebral_arthrosis: float = _probability(0.45, "Spurs, sclerosis and cysts of uncovertebral joints.")
    narrow_facet_joint: float = _probability(0.5, "Facet joints of 0.4 to 1.3 mm.")
    facet_arthrosis: float = _probability(0.4, "Lumps, sclerosis, cysts and gas of facet joints.")
    dark_spots: float = _probability(0.5, "Dark spots between trabeculae, of bodies, lateral masses and laminae.")
    bone_island: float = _probability(0.2, "Dense spots.")
    nutrient_canals: float = _probability(0.45, "Canals of vessels of lateral masses, laminae and spinous processes.")
    coarse_trabeculae: float = _probability(0.3, "Osteopenia with coarse trabeculae.")
    thin_laminae: float = _probability(0.5, "Thin sloping laminae whose upper edge tapers.")
    transverse_foramina: float = _probability(0.45, "Transverse foramina that are irregular, double or open.")
    enthesophytes: float = _probability(0.3, "Spurs at attachments of ligaments.")
    ossified_flavum: float = _probability(0.12, "Ossified yellow ligaments.")
    ossified_dens_ligaments: float = _probability(0.12, "Calcified ligaments about the dens.")
    contrast_medium: float = _probability(0.35, "Contrast medium in vertebral and carotid arteries, and in veins.")


MORE_MIMICS: Final = MimicSettings(
    subdental_synchondrosis=0.7,
    dens_canals=0.5,
    dens_cysts=0.4,
    atlantoaxial_arthrosis=0.45,
    narrow_atlantoaxial_joint=0.75,
    atlas_groove=0.65,
    lateral_mass_canal=0.5,
    basivertebral_foramen=0.75,
    endplate_pits=0.55,
    schmorl_node=0.35,
    vacuum_disc=0.3,
    uncovertebral_arthrosis=0.6,
    narrow_facet_joint=0.65,
    facet_arthrosis=0.55,
    dark_spots=0.65,
    bone_island=0.3,
    nutrient_canals=0.6,
    coarse_trabeculae=0.45,
    thin_laminae=0.65,
    transverse_foramina=0.6,
    enthesophytes=0.45,
    ossified_flavum=0.2,
    ossified_dens_ligaments=0.2,
    contrast_medium=0.45,
)
"""Mimics of the shifted domain."""

NO_MIMICS: Final = MimicSettings(**dict.fromkeys(MimicSettings.model_fields, 0.0))
"""Settings of the plain phantom."""
