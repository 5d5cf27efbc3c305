"""The curve from raw to calibrated probability."""

from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.typing import Floats

Method = Literal["none", "temperature", "platt", "isotonic"]

EPSILON: Final = 1e-4
"""No calibrated probability is nearer to 0 or 1: fewer patients than one in ten thousand were ever asked."""


class Calibration(BaseModel):
    """A rising curve from raw to calibrated probability.

    Of ``temperature`` (Guo et al. 2017) and ``platt`` (Platt 1999) the logit is scaled and moved; of ``isotonic``
    (Zadrozny and Elkan 2002) the curve is given by its corners.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "none"
    slope: float = Field(1.0, gt=0.0, allow_inf_nan=False, description="Of the logit.")
    intercept: float = Field(0.0, allow_inf_nan=False, description="Added to the logit.")
    raw: tuple[float, ...] = Field((), description="Corners of an isotonic curve: raw probabilities, rising.")
    calibrated: tuple[float, ...] = Field((), description="And what they become.")

    @model_validator(mode="after")
    def _whole_and_rising(self) -> Self:
        if len(self.raw) != len(self.calibrated) or (self.method == "isotonic") != bool(self.raw):
            raise ValueError("an isotonic curve, and no other, has as many raw as calibrated corners")
        if any(np.diff(self.raw) <= 0) or any(np.diff(self.calibrated) < 0):
            raise ValueError("an isotonic curve must rise")
        return self

    def apply(self, probability: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities of raw ones, of any shape; NaN stays NaN."""
        raw = np.asarray(probability, np.float64)
        if self.method == "isotonic":
            found = np.where(np.isnan(raw), np.nan, np.interp(raw, self.raw, self.calibrated))
        else:
            found = sigmoid(self.slope * logit(raw) + self.intercept)
        return np.asarray(np.clip(found, EPSILON, 1 - EPSILON))


def calibrate_cases(
    level: Calibration, overall: Calibration, levels: npt.ArrayLike, patients: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Return calibrated probabilities of levels and of patients; no patient's is below any of the levels'.

    Parameters
    ----------
    level, overall : Calibration
        Each fitted by itself.
    levels : (n, 7)
        Raw; NaN where a vertebra is absent.
    patients : (n,)
        Raw.
    """
    of_levels = level.apply(levels)
    worst = np.max(np.nan_to_num(of_levels, nan=0.0), axis=-1)
    return of_levels, np.maximum(overall.apply(patients), worst)


def logit(probability: Floats) -> Floats:
    """Return ln p/(1 - p), of probabilities kept 1e-7 from 0 and 1."""
    inner = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(inner) - np.log1p(-inner))


def sigmoid(value: Floats) -> Floats:
    """Return the probability of a logit."""
    return np.asarray(1.0 / (1.0 + np.exp(-value)))
