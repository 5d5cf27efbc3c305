"""Settings of body phantoms, and the two domains that they are drawn from."""

from typing import Final, Literal, get_args

import numpy as np
from pydantic import Field

from cspine.core.settings import Settings
from cspine.phantom.disorders.settings import DisorderSettings
from cspine.phantom.settings import Range

ScanKind = Literal[
    "head",
    "head to C2",
    "head to C3",
    "head to C4",
    "neck",
    "head and neck",
    "neck cut above",
    "neck cut below",
    "C5 and below",
    "C3 to C6",
    "chest",
    "chest from C7",
    "abdomen",
    "pan-scan",
    "pan-scan from skull base",
    "C6 and below",
    "T3 and below",
    "lumbar spine",
]
"""What a scan covers."""

SCAN_KINDS: Final[tuple[ScanKind, ...]] = get_args(ScanKind)

OTHER_KINDS: Final[tuple[ScanKind, ...]] = ("C6 and below", "T3 and below", "lumbar spine")
"""Kinds that neither domain has, for testing. Those from C6 and from T3 overlap with kinds of the domains, that of the
lumbar spine does not."""


class BodySettings(Settings):
    """Distributions from which body phantoms and their scans are drawn; ranges are uniform unless stated otherwise."""

    domain: Literal["source", "shifted"] = Field("source", description="Name of the domain; see `BODY_DOMAINS`.")
    kinds: dict[ScanKind, float] = Field(
        {
            "head": 0.06,
            "head to C2": 0.04,
            "head to C3": 0.05,
            "head to C4": 0.05,
            "neck": 0.22,
            "head and neck": 0.16,
            "neck cut above": 0.05,
            "neck cut below": 0.06,
            "C5 and below": 0.06,
            "C3 to C6": 0.04,
            "chest": 0.05,
            "chest from C7": 0.05,
            "abdomen": 0.04,
            "pan-scan": 0.04,
            "pan-scan from skull base": 0.03,
        },
        description="Kind of scan to its frequency; frequencies need not sum to 1.",
    )
    age_years: Range = Field((16.0, 90.0), description="Age.")
    morphometry_sd_factor: float = Field(
        1.15, ge=0.0, le=2.0, description="Factor on the standard deviations of all measures."
    )
    posture_sd_factor: float = Field(
        1.2, ge=0.0, le=2.0, description="Factor on the standard deviations of all angles of the posture."
    )
    disorders: DisorderSettings = Field(DisorderSettings(), description="Probabilities of disorders of the neck.")
    field_of_view_mm: Range = Field((150.0, 700.0), description="Limits of the width of a slice.")
    off_center_fraction: float = Field(
        0.12, ge=0.0, le=0.4, description="Largest distance of the spine from where it belongs in the field of view."
    )
    coarse_matrix_fraction: float = Field(
        0.3, ge=0.0, le=1.0, description="Fraction of scans with 128, 192 or 256 rows and columns instead of 512."
    )
    slice_spacing_mm: Range = Field((0.3, 5.0), description="Distance between slices; log-uniform.")
    thickness_to_spacing_ratio: Range = Field((0.8, 1.7), description="Slice thickness over the distance of slices.")
    mtf50_per_mm: Range = Field(
        (0.25, 0.75), description="Spatial frequency at which the MTF is 0.5, in cycles per mm."
    )
    noise_hu: Range = Field((8.0, 60.0), description="Standard deviation of the noise in the neck.")
    shoulder_noise: Range = Field((0.0, 1.5), description="Additional noise at the shoulders, relative to the neck.")
    hu_scale_sd: float = Field(0.03, ge=0.0, description="Standard deviation of the factor on all HU, about 1.")
    hu_offset_sd_hu: float = Field(10.0, ge=0.0, description="Standard deviation of what is added to all HU.")
    round_field_fraction: float = Field(
        0.4, ge=0.0, le=1.0, description="Fraction of scans with padding outside a circular field of view."
    )
    tilt_fraction: float = Field(0.04, ge=0.0, le=0.25, description="Fraction of scans with a tilted gantry.")
    roll_sd_deg: float = Field(
        2.5, ge=0.0, description="Standard deviation of the rotation of the person on the table."
    )


BODY_GENERATOR: Final = 6
"""Version of the generator: increased whenever the same seed and settings give something else."""

_STREAMS: Final = {"source": 1000, "shifted": 1100}
"""Offsets that make the random streams of the domains independent of each other and of the neck phantom's."""


def body_stream(seed: int, index: int, settings: BodySettings, purpose: int = 0) -> np.random.Generator:
    """Return a random generator for one body phantom.

    Parameters
    ----------
    seed : int
        Seed of the data set.
    index : int
        Index of the phantom.
    settings : BodySettings
        Whose domain selects the stream.
    purpose : int
        0 to 99; the streams of different purposes are independent.
    """
    return np.random.default_rng([seed, index, _STREAMS[settings.domain] + purpose])


BODY_DOMAINS: Final = {
    "source": BodySettings(),
    "shifted": BodySettings(
        domain="shifted",
        kinds={
            "head": 0.07,
            "head to C2": 0.05,
            "head to C3": 0.06,
            "head to C4": 0.05,
            "neck": 0.16,
            "head and neck": 0.14,
            "neck cut above": 0.06,
            "neck cut below": 0.07,
            "C5 and below": 0.06,
            "C3 to C6": 0.05,
            "chest": 0.06,
            "chest from C7": 0.05,
            "abdomen": 0.05,
            "pan-scan": 0.04,
            "pan-scan from skull base": 0.03,
        },
        age_years=(20.0, 95.0),
        morphometry_sd_factor=1.25,
        posture_sd_factor=1.35,
        field_of_view_mm=(150.0, 700.0),
        slice_spacing_mm=(0.4, 5.0),
        thickness_to_spacing_ratio=(0.9, 1.5),
        mtf50_per_mm=(0.28, 0.85),
        noise_hu=(10.0, 75.0),
        shoulder_noise=(0.2, 2.0),
        hu_scale_sd=0.04,
        hu_offset_sd_hu=12.0,
        round_field_fraction=0.6,
        coarse_matrix_fraction=0.25,
        tilt_fraction=0.06,
        roll_sd_deg=3.5,
    ),
}
"""Source phantoms are for training and validation, those of the shifted domain for testing only.

The shifted domain has other people, postures, scanners and another mix of kinds.
"""
