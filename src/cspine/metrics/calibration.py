"""Recalibration maps from raw to calibrated probability."""

from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.typing import Floats

Method = Literal["none", "temperature", "platt", "isotonic"]

EPSILON: Final = 1e-4
"""Calibrated probabilities are clipped to [EPSILON, 1 - EPSILON].

Calibration sets hold fewer than 10,000 patients, so a rarer event cannot be estimated from them.
"""

_LOGIT_EPSILON: Final = 1e-7


class Calibration(BaseModel):
    """A monotonic map from raw to calibrated probability.

    ``temperature`` (Guo et al. 2017) scales the logit, ``platt`` (Platt 1999) scales and shifts it. ``isotonic``
    (Zadrozny and Elkan 2002) is piecewise linear and given by its breakpoints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    method: Method = "none"
    slope: float = Field(1.0, gt=0.0, allow_inf_nan=False, description="Factor applied to the logit.")
    intercept: float = Field(0.0, allow_inf_nan=False, description="Offset added to the scaled logit.")
    raw: tuple[float, ...] = Field(
        (), description="Raw probabilities at the breakpoints of an isotonic map, ascending."
    )
    calibrated: tuple[float, ...] = Field((), description="Calibrated probabilities at the breakpoints.")

    @model_validator(mode="after")
    def _check_breakpoints(self) -> Self:
        if len(self.raw) != len(self.calibrated) or (self.method == "isotonic") != bool(self.raw):
            raise ValueError("an isotonic map, and no other, has as many raw as calibrated breakpoints")
        if any(np.diff(self.raw) <= 0) or any(np.diff(self.calibrated) < 0):
            raise ValueError("an isotonic map must be increasing")
        return self

    def apply(self, probability: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities.

        Parameters
        ----------
        probability : array_like
            Raw probabilities of any shape. NaN stays NaN.

        Returns
        -------
        float array of the same shape
        """
        raw = np.asarray(probability, np.float64)
        if self.method == "isotonic":
            mapped = np.where(np.isnan(raw), np.nan, np.interp(raw, self.raw, self.calibrated))
        else:
            mapped = sigmoid(self.slope * logit(raw) + self.intercept)
        return np.asarray(np.clip(mapped, EPSILON, 1 - EPSILON))


def calibrate_cases(
    level_calibration: Calibration,
    patient_calibration: Calibration,
    levels: npt.ArrayLike,
    patients: npt.ArrayLike,
) -> tuple[Floats, Floats]:
    """Return calibrated probabilities of levels and of patients.

    Both maps are fitted independently, so the probability of a patient is raised to the highest of the levels where it
    would fall below: a fractured vertebra implies a fractured patient.

    Parameters
    ----------
    level_calibration, patient_calibration : Calibration
        Maps for vertebrae and for patients.
    levels : (n, 7) array_like
        Raw probabilities of C1 to C7; NaN where a vertebra is not assessable.
    patients : (n,) array_like
        Raw probabilities of any fracture.

    Returns
    -------
    (n, 7) float, (n,) float
    """
    calibrated_levels = level_calibration.apply(levels)
    highest = np.max(np.nan_to_num(calibrated_levels, nan=0.0), axis=-1)
    return calibrated_levels, np.maximum(patient_calibration.apply(patients), highest)


def recalibrate(
    levels: npt.ArrayLike, patients: npt.ArrayLike, *, level_shift_logit: float, patient_shift_logit: float
) -> tuple[Floats, Floats]:
    """Return probabilities after shifts of their log-odds; a patient's is kept at or above those of its levels.

    Parameters
    ----------
    levels : (..., 7) array_like
        Calibrated probabilities of C1 to C7; NaN stays NaN.
    patients : (...) array_like
        Calibrated probabilities of any fracture.
    level_shift_logit, patient_shift_logit : float
        Added to the log-odds of levels and of patients.

    Returns
    -------
    (..., 7) float, (...) float

    Examples
    --------
    >>> levels, patient = recalibrate([0.5, 0.1], 0.5, level_shift_logit=0.0, patient_shift_logit=-2.0)
    >>> levels.round(2).tolist(), round(float(patient), 2)
    ([0.5, 0.1], 0.5)
    """
    shifted = sigmoid(logit(np.asarray(levels, np.float64)) + level_shift_logit)
    highest = np.max(np.nan_to_num(shifted, nan=0.0), axis=-1)
    return shifted, np.maximum(sigmoid(logit(np.asarray(patients, np.float64)) + patient_shift_logit), highest)


def logit(probability: Floats) -> Floats:
    """Return ln p / (1 - p), with probabilities clipped to [1e-7, 1 - 1e-7]."""
    inner = np.clip(probability, _LOGIT_EPSILON, 1 - _LOGIT_EPSILON)
    return np.asarray(np.log(inner) - np.log1p(-inner))


def sigmoid(value: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), the inverse of `logit`."""
    return np.asarray(1.0 / (1.0 + np.exp(-value)))
