"""The numbers of the level assignment, and the levels that it distinguishes.

Fitted values travel with the localizer's weights (`cspine.models.metadata.LocalizerMetadata`).
"""

from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.anatomy import VERTEBRAE

LEVELS: Final[tuple[str, ...]] = (
    *VERTEBRAE,
    *(f"T{number}" for number in range(1, 13)),
    *(f"L{number}" for number in range(1, 6)),
    "S1",
)
"""C1 to S1: the states of the hidden Markov model; detections below S1 count as S1."""

REGIONS: Final = ("T", "L")
"""Names of vertebrae below the neck whose number is unknown: thoracic, and lumbar or sacral."""

SPACING_MM: Final = (
    *(18.6, 17.6, 14.5, 14.5, 14.5, 15.0, 17.0),
    *(19.0, 20.0, 21.0, 22.0, 22.5, 23.0, 23.5, 24.5, 26.0, 28.0, 30.0, 32.5),
    *(34.5, 36.0, 36.5, 36.0, 33.0, 25.0),
)
"""Mean distance from the origin of each of `LEVELS` to that of the next in adults. C1 to T1: over phantoms and one real
neck. Below: the sum of body and disc heights of Busscher, Ploegmakers, Verkerke and Veldhuizen (Eur Spine J 19, 2010,
1104), rounded to half a millimeter; the last is from S1 to S2."""

PositiveNumber = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class LevelAssignmentSettings(BaseModel):
    """Numbers of the hidden Markov model that assigns levels (`cspine.localization.level_assignment`).

    The defaults are those of the shipped localizer. Weight, skip and cap were chosen by likelihood among a few values
    each, on 70 phantoms of the source domain and 31 real scans by networks trained without them; the distance of the
    skull is the median there. The temperature was chosen among three by the calibration error on 40 other phantoms.
    `cspine.training.localizer.fit_level_assignment` fits other numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    spacing_mm: tuple[PositiveNumber, ...] = Field(
        SPACING_MM, description="Mean distance from the origin of each level, C1 to S1, to that of the next."
    )
    spacing_log_sd: PositiveNumber = Field(
        0.12, description="Standard deviation of the logarithm of a distance, given the patient's size."
    )
    size_log_sd: PositiveNumber = Field(0.15, description="Standard deviation of the logarithm of the patient's size.")
    direction_sd_deg: PositiveNumber = Field(
        10.0,
        description="Standard deviation of the angle between the way to the next vertebra and a vertebra's own axis.",
    )
    rotation_sd_deg: PositiveNumber = Field(
        15.0, description="Standard deviation of the angle by which neighbors are rotated against each other."
    )
    outlier_log_odds: float = Field(
        -8.0,
        lt=0.0,
        description="Floor of the log-odds of a distance, and of those of a direction with a rotation. It limits the "
        "penalty of neighbors unlike all others, as in small children, scoliosis and dislocation, so that a vertebra "
        "that both networks recognize is not left out (truncated quadratic of Blake and Zisserman 1987).",
    )
    skip_log_odds: float = Field(-6.0, lt=0.0, description="Log-odds that a vertebra of the scan was not detected.")
    min_class_probability: float = Field(
        0.05,
        gt=0.0,
        lt=1.0,
        description="Floor of the class probabilities of a vertebra before decoding. It limits the penalty of a level "
        "that the network excludes, so that neighbors can override a confident but wrong classification.",
    )
    voxels_per_vote: PositiveNumber = Field(
        40.0, description="Voxels of one vertebra that count as one independent observation of its level."
    )
    max_votes: PositiveNumber = Field(6.0, description="Independent observations of the largest vertebrae.")
    crop_weight: float = Field(
        1.5, ge=0.0, description="Factor of the log-probabilities of the network that looks at each vertebra closely."
    )
    temperature: PositiveNumber = Field(
        5.0, description="The posterior log-probabilities are divided by it; above 1 they become less certain."
    )
    first_level_log_prior: tuple[float, ...] = Field(
        (),
        description="Log-probability that a column begins with each level, C1 to S1; where empty, all classes of "
        "levels are equally likely.",
    )
    skull_distance_mm: PositiveNumber = Field(
        10.7, description="Distance in adults from the origin of C1 up to the lowest part of the skull base."
    )
    skull_log_sd: PositiveNumber = Field(
        0.25, description="Standard deviation of the logarithm of the distance of a vertebra from the skull."
    )
    sums_over_columns: bool = Field(
        False, description="Whether confidence also sums over which detections form the column."
    )
    min_certain: float = Field(
        0.8, ge=0.0, le=1.0, description="Posterior probability below which a level is uncertain."
    )
    min_certain_without_anchor: float = Field(
        0.95, ge=0.0, le=1.0, description="The same in a column without C1, C2, T1 or skull, from which levels count."
    )

    @model_validator(mode="after")
    def _check_lengths(self) -> "LevelAssignmentSettings":
        if len(self.spacing_mm) != len(LEVELS) or len(self.first_level_log_prior) not in (0, len(LEVELS)):
            raise ValueError(f"there is one distance and one prior for each of {len(LEVELS)} levels")
        return self


def expected_distance_mm(above: str, below: str) -> float:
    """Return the mean distance between the origins of two levels in adults, in mm.

    >>> round(expected_distance_mm("C3", "C5"), 1)
    29.0
    """
    return float(np.sum(SPACING_MM[LEVELS.index(above) : LEVELS.index(below)]))
