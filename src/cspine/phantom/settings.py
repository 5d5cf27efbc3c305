"""The choices of a phantom data set, and the two domains that studies are drawn from."""

from typing import Final, Literal

import numpy as np
from pydantic import Field

from cspine.core.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES
from cspine.core.settings import Settings

Range = tuple[float, float]


class PhantomSettings(Settings):
    """How phantom necks and their scans are drawn; uniformly from ranges but for those that say otherwise."""

    domain: Literal["source", "shifted"] = Field("source", description="Which row of the table of domains this is.")
    prevalence: float = Field(
        CHALLENGE_POSITIVES["patient_overall"] / CHALLENGE_STUDIES,
        ge=0.0,
        le=1.0,
        description="Fraction of studies with a fracture; the challenge's by default.",
    )
    p_additional_fracture: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Chance of each other vertebra of a fractured neck to be broken too.",
    )
    age_years: Range = Field((18.0, 85.0), description="Age of the people.")
    morphometry_sd_factor: float = Field(
        1.0, ge=0.0, le=2.0, description="How many times as much as in people measures differ."
    )
    posture: float = Field(
        1.0, ge=0.0, le=2.0, description="How many times as much as usual necks are bent and turned."
    )
    lateral_offset_mm: float = Field(15.0, ge=0.0, description="The spine lies up to this far off the field's middle.")
    gap_mm: Range = Field((0.15, 2.5), description="Width of a crack, in mm; its logarithm is drawn.")
    displacement_mm: Range = Field((0.0, 4.0), description="How far a fragment is moved at most, in mm.")
    crush_mm: Range = Field((1.5, 5.0), description="Height a compressed body has lost in front, in mm.")
    fracture_mix: dict[str, float] = Field({}, description="How many times as frequent a kind is as in the literature.")
    matrix: int = Field(512, ge=64, le=768, description="Rows and columns of a slice.")
    odd_matrix: float = Field(0.02, ge=0.0, le=1.0, description="Fraction of studies with other numbers of pixels.")
    field_mm: Range = Field((98.0, 220.0), description="Side of a slice, in mm.")
    slice_spacing_mm: Range = Field((0.5, 1.25), description="Between slices, in mm.")
    thickness_to_spacing_ratio: Range = Field(
        (1.0, 1.7), description="Thickness of a slice over the distance between slices."
    )
    resolution_per_mm: Range = Field((0.38, 0.65), description="Where the kernel passes half, in line pairs per mm.")
    edge: Range = Field((0.0, 0.7), description="How much the kernel lifts what lies below that.")
    noise_hu: Range = Field((15.0, 50.0), description="Standard deviation of the noise amid the neck, in HU.")
    shoulders: Range = Field((0.4, 1.0), description="How much of the shoulders' noise and streaks is left.")
    beam_hardening: Range = Field((0.0, 1.0), description="How much of the shadow between dense bones is left.")
    tilted: float = Field(0.03, ge=0.0, le=1.0, description="Fraction of studies with a tilted gantry.")
    moved: float = Field(0.08, ge=0.0, le=1.0, description="Fraction of studies in which the patient moved.")
    shortened: float = Field(0.08, ge=0.0, le=1.0, description="Fraction of studies that miss a part of C1 to C7.")
    round_field: float = Field(0.5, ge=0.0, le=1.0, description="Fraction of studies with padding about a round field.")
    full_headers: float = Field(0.2, ge=0.0, le=1.0, description="Fraction of studies with full DICOM headers.")
    jpeg_lossless: float = Field(0.1, ge=0.0, le=1.0, description="Fraction of studies compressed losslessly.")
    upward: float = Field(
        197 / CHALLENGE_STUDIES, ge=0.0, le=1.0, description="Fraction with instance numbers rising towards the head."
    )


GENERATOR: Final = 5
"""Counts how phantoms of the same seed and settings were drawn; sets that another began are not gone on with."""

_STREAMS: Final = {"source": 0, "shifted": 100}
"""So that study 3 of one domain is another person than study 3 of the other."""


def stream(seed: int, index: int, settings: PhantomSettings, purpose: int = 0) -> np.random.Generator:
    """Return where the chance of one study comes from; purposes 0 to 99 are independent of each other."""
    return np.random.default_rng([seed, index, _STREAMS[settings.domain] + purpose])


DOMAINS: Final = {
    "source": PhantomSettings(),
    "shifted": PhantomSettings(
        domain="shifted",
        age_years=(30.0, 95.0),
        morphometry_sd_factor=1.15,
        posture=1.3,
        gap_mm=(0.12, 2.0),
        displacement_mm=(0.0, 3.0),
        fracture_mix={"facet": 1.6, "lamina": 1.4, "body compression": 1.6, "dens type II": 0.7, "hangman": 1.5},
        field_mm=(130.0, 360.0),
        slice_spacing_mm=(0.6, 2.0),
        thickness_to_spacing_ratio=(1.0, 1.5),
        resolution_per_mm=(0.33, 0.75),
        edge=(0.0, 1.2),
        noise_hu=(20.0, 75.0),
        shoulders=(0.7, 1.5),
        moved=0.15,
        tilted=0.06,
        shortened=0.12,
        full_headers=0.5,
    ),
}
"""Source studies are for training and choosing; hidden ones (other scanners, people, fractures) only for judging."""
