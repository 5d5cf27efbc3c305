"""Settings of a phantom data set, and the two domains that studies are drawn from."""

from typing import Final, Literal

import numpy as np
from pydantic import Field

from cspine.core.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES
from cspine.core.settings import Settings
from cspine.phantom.disorders.settings import MORE_NECK_DISORDERS, NECK_DISORDERS, DisorderSettings
from cspine.phantom.mimics.settings import MORE_MIMICS, MimicSettings

Range = tuple[float, float]
"""Lower and upper limit."""


class PhantomSettings(Settings):
    """Distributions from which phantoms are drawn: ranges are of uniform distributions unless stated otherwise."""

    domain: Literal["source", "shifted"] = Field("source", description="Name of the domain; see `DOMAINS`.")
    prevalence: float = Field(
        CHALLENGE_POSITIVES["patient_overall"] / CHALLENGE_STUDIES,
        ge=0.0,
        le=1.0,
        description="Fraction of studies with a fracture; by default that of the challenge.",
    )
    p_additional_fracture: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Probability that each other vertebra of a study with a fracture is fractured too.",
    )
    age_years: Range = Field((18.0, 85.0), description="Age.")
    morphometry_sd_factor: float = Field(
        1.0, ge=0.0, le=2.0, description="Factor on the standard deviations of all measures."
    )
    posture_sd_factor: float = Field(
        1.0, ge=0.0, le=2.0, description="Factor on the standard deviations of all angles of the posture."
    )
    lateral_offset_mm: float = Field(
        15.0, ge=0.0, description="Largest lateral distance of the spine from the center of the field of view."
    )
    fracture_width_mm: Range = Field((0.15, 2.5), description="Width of a fracture gap; log-uniform.")
    displacement_mm: Range = Field((0.0, 4.0), description="Upper limit of the displacement of a fragment.")
    height_loss_mm: Range = Field((1.5, 5.0), description="Loss of anterior height of a compressed body.")
    bone_loss_fraction: float = Field(
        0.06,
        ge=0.0,
        le=1.0,
        description="Fraction of fractures through the bone, without impaction or burst, in which bone is lost.",
    )
    bone_loss_mm: Range = Field((3.0, 8.0), description="Width of the gap there, unless the fragment is small.")
    fracture_mix: dict[str, float] = Field(
        {}, description="Fracture type to a factor on its frequency relative to the literature."
    )
    disorders: DisorderSettings = Field(NECK_DISORDERS, description="Probability of each disorder of the neck.")
    mimics: MimicSettings = Field(MimicSettings(), description="Probability of each finding that mimics fractures.")
    remodelled_fraction: float = Field(
        0.0, ge=0.0, le=1.0, description="Fraction of necks with bodies that spondylosis has made low and dense."
    )
    bone_contrast: Range = Field((0.85, 1.15), description="Factor on the HU of bone.")
    matrix: int = Field(512, ge=64, le=768, description="Rows and columns of a slice.")
    odd_matrix_fraction: float = Field(0.02, ge=0.0, le=1.0, description="Fraction of studies with another matrix.")
    field_of_view_mm: Range = Field((98.0, 220.0), description="Width of a slice.")
    slice_spacing_mm: Range = Field((0.5, 1.25), description="Distance between slices.")
    thickness_to_spacing_ratio: Range = Field(
        (1.0, 1.7), description="Slice thickness over the distance between slices; slices overlap above 1."
    )
    mtf50_per_mm: Range = Field(
        (0.38, 0.65),
        description="Spatial frequency at which the MTF without edge enhancement is 0.5, in cycles per mm.",
    )
    edge_enhancement: Range = Field((0.0, 0.7), description="Gain of the kernel below that frequency.")
    noise_hu: Range = Field((15.0, 50.0), description="Standard deviation of the noise at C4.")
    soft_fraction: float = Field(0.35, ge=0.0, le=1.0, description="Fraction of studies with a soft kernel.")
    soft_mtf50_per_mm: Range = Field((0.25, 0.42), description="The kernel's 50 % MTF in these studies.")
    soft_pixel_mm: Range = Field(
        (0.35, 0.94), description="Their pixels, unless the smallest field of view has larger ones."
    )
    soft_spacing_mm: Range = Field((0.8, 2.5), description="Distance between their slices.")
    soft_noise_hu: Range = Field((6.0, 30.0), description="Their noise at C4.")
    sharp_fraction: float = Field(0.15, ge=0.0, le=1.0, description="Fraction of studies with a very sharp kernel.")
    sharp_mtf50_per_mm: Range = Field((0.55, 0.9), description="The kernel's 50 % MTF in these studies.")
    sharp_edge_enhancement: Range = Field((0.7, 2.0), description="Gain of the kernel below that frequency.")
    adaptive_fraction: float = Field(
        0.3, ge=0.0, le=1.0, description="Fraction of adaptive reconstructions, whose noise is blotchy."
    )
    quantized_fraction: float = Field(0.04, ge=0.0, le=1.0, description="Fraction with steps of 16 HU, as of 8 bits.")
    jpeg2000_fraction: float = Field(0.05, ge=0.0, le=1.0, description="Fraction with lossy compression in the past.")
    photon_starvation: Range = Field(
        (0.4, 1.0), description="Fraction of the noise and streaks of the shoulders left after corrections."
    )
    beam_hardening: Range = Field(
        (0.0, 1.0), description="Fraction of the dark bands between dense bones left after corrections."
    )
    tilt_fraction: float = Field(0.03, ge=0.0, le=1.0, description="Fraction of studies with a tilted gantry.")
    motion_fraction: float = Field(0.08, ge=0.0, le=1.0, description="Fraction of studies with patient motion.")
    truncated_fraction: float = Field(
        0.08, ge=0.0, le=1.0, description="Fraction of studies that do not cover C1 to C7 completely."
    )
    round_field_fraction: float = Field(
        0.5, ge=0.0, le=1.0, description="Fraction of studies with padding outside a circular field of view."
    )
    full_header_fraction: float = Field(0.2, ge=0.0, le=1.0, description="Fraction of studies with full DICOM headers.")
    jpeg_lossless_fraction: float = Field(
        0.1, ge=0.0, le=1.0, description="Fraction of studies compressed as JPEG Lossless."
    )
    upward_fraction: float = Field(
        197 / CHALLENGE_STUDIES, ge=0.0, le=1.0, description="Fraction with instance numbers that increase cranially."
    )


GENERATOR: Final = 9
"""Version of the generator: increased whenever the same seed and settings give other phantoms.

A data set that was begun by another version is not resumed.
"""

_STREAMS: Final = {"source": 0, "shifted": 100}
"""Offsets that make the random streams of the domains independent."""


def random_stream(seed: int, index: int, settings: PhantomSettings, purpose: int = 0) -> np.random.Generator:
    """Return a random generator for one study.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    index : int
        Index of the study.
    settings : PhantomSettings
        Whose domain selects the stream.
    purpose : int
        0 to 99; the streams of different purposes are independent.
    """
    return np.random.default_rng([seed, index, _STREAMS[settings.domain] + purpose])


DOMAINS: Final = {
    "source": PhantomSettings(),
    "shifted": PhantomSettings(
        domain="shifted",
        age_years=(30.0, 95.0),
        morphometry_sd_factor=1.15,
        posture_sd_factor=1.3,
        fracture_width_mm=(0.12, 2.0),
        displacement_mm=(0.0, 3.0),
        fracture_mix={"facet": 1.6, "lamina": 1.4, "body compression": 1.6, "dens type II": 0.7, "hangman": 1.5},
        field_of_view_mm=(130.0, 360.0),
        slice_spacing_mm=(0.6, 2.0),
        thickness_to_spacing_ratio=(1.0, 1.5),
        mtf50_per_mm=(0.33, 0.75),
        edge_enhancement=(0.0, 1.2),
        noise_hu=(20.0, 75.0),
        soft_fraction=0.45,
        adaptive_fraction=0.45,
        quantized_fraction=0.06,
        jpeg2000_fraction=0.08,
        disorders=MORE_NECK_DISORDERS,
        mimics=MORE_MIMICS,
        bone_contrast=(0.8, 1.2),
        photon_starvation=(0.7, 1.5),
        motion_fraction=0.15,
        tilt_fraction=0.06,
        truncated_fraction=0.12,
        full_header_fraction=0.5,
    ),
}
"""Source studies are for training and validation, those of the shifted domain for testing only.

The shifted domain has other scanners, people and fractures.
"""
