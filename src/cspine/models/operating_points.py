"""Files of operating points: thresholds that were fixed on other studies, and the recalibration of a site."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self, get_args

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.errors import LabelError, WeightsError
from cspine.core.files import read_model, write_json
from cspine.core.findings import OperatingPointName, Probability, Threshold
from cspine.core.storage.locations import as_path
from cspine.core.typing import Floats
from cspine.metrics.calibration import recalibrate
from cspine.metrics.operating_points import POINT_CRITERIA

MAX_CHOSEN_ON_LENGTH: Final = 400

OPERATING_POINTS_VARIABLE: Final = "CSPINE_OPERATING_POINTS"
"""Environment variable that names the file of a site's operating points."""

OF_WEIGHTS: Final = "weights"
"""Name of the weights' own operating points, whatever the site's default is."""

_WRONG: Final = (
    "holds no operating points; give the operating-points.json of cspine calibrate, or the points.json of an"
)


class FixedOperatingPoint(BaseModel):
    """A threshold for patients and one for vertebrae."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=40)]
    patient: Probability
    level: Probability


class Recalibration(BaseModel):
    """Shifts of the log-odds of calibrated probabilities, by which those of a site are calibrated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level_shift_logit: Annotated[float, Field(allow_inf_nan=False, description="Added to the log-odds of levels.")]
    patient_shift_logit: Annotated[float, Field(allow_inf_nan=False, description="Added to those of patients.")]
    prevalence: Annotated[Probability, Field(description="Prevalence of fractured patients that is then assumed.")]

    def apply(self, levels: npt.ArrayLike, patients: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Return the recalibrated probabilities; parameters are those of `cspine.metrics.calibration.recalibrate`."""
        return recalibrate(
            levels,
            patients,
            level_shift_logit=self.level_shift_logit,
            patient_shift_logit=self.patient_shift_logit,
        )


class FixedOperatingPoints(BaseModel):
    """Operating points, with the studies that they were chosen on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chosen_on: Annotated[
        str, Field(max_length=MAX_CHOSEN_ON_LENGTH, description="Studies that the points were chosen on, or how.")
    ]
    studies_sha256: Annotated[str, Field(description="Hash of those studies; empty where it is not known.")] = ""
    points: Annotated[tuple[FixedOperatingPoint, ...], Field(min_length=1, max_length=8)]
    weights_sha256: Annotated[
        str, Field(description="Hash of the weights whose probabilities they are for; empty where it is not known.")
    ] = ""
    test_time_augmentation: Annotated[
        bool | None, Field(description="Whether those probabilities are of test-time augmentation; null: not known.")
    ] = None
    recalibration: Annotated[
        Recalibration | None,
        Field(description="Applied to probabilities before they are compared with the thresholds; none where null."),
    ] = None

    @model_validator(mode="after")
    def _check_names_differ(self) -> Self:
        if len({point.name for point in self.points}) != len(self.points):
            raise ValueError("two points have the same name")
        return self

    def write(self, path: Path) -> None:
        """Write the points to a JSON file that `read_operating_points` reads."""
        write_json(path, self.model_dump(mode="json"))


@dataclass(frozen=True)
class OperatingPointsFile:
    """A file of operating points that predictions use in place of those of the weights.

    Attributes
    ----------
    path : Path
        The file, for messages.
    sha256 : str
        Hash of the file, by which findings name it.
    content : FixedOperatingPoints
        The points, and the recalibration that they go with.
    """

    path: Path
    sha256: str
    content: FixedOperatingPoints

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; raises LabelError where it holds no operating points that predictions can use."""
        content = read_operating_points(path)
        known = get_args(OperatingPointName)
        other = [point.name for point in content.points if point.name not in known]
        if other:
            raise LabelError(
                f"{path}: has an operating point {other[0][:40]!r}, which predictions do not know; they use "
                f"{' and '.join(sorted(known))}"
            )
        return cls(path, hashlib.sha256(path.read_bytes()).hexdigest(), content)

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The points as findings hold them."""
        return tuple(
            Threshold(name=name, target=POINT_CRITERIA[name], level=point.level, patient=point.patient)
            for name in POINT_CRITERIA
            for point in self.content.points
            if point.name == name
        )

    def require(self, weights_sha256: str) -> None:
        """Raise WeightsError unless the points are for the probabilities of these weights, as far as the file says."""
        recorded = self.content.weights_sha256
        if recorded not in ("", weights_sha256):
            raise WeightsError(
                f"{self.path}: is for other weights (SHA-256 {recorded[:12]}, not {weights_sha256[:12]}); calibrate "
                f"again with these, or use --operating-points {OF_WEIGHTS}"
            )

    def warnings(self, *, tta: bool) -> tuple[str, ...]:
        """Return sentences on how predictions differ from those that the points were chosen on."""
        if not self.content.weights_sha256:
            return ("the file of operating points does not say which weights it is for",)
        if self.content.test_time_augmentation not in (None, tta):
            how = "without" if tta else "with"
            return (f"the operating points were chosen on predictions {how} test-time augmentation",)
        return ()


def read_operating_points(path: Path) -> FixedOperatingPoints:
    """Read operating points that were chosen on other studies; raises LabelError where there are none."""
    return read_model(path, FixedOperatingPoints, wrong=f"{_WRONG} evaluation")


def site_operating_points() -> str:
    """Return the site's default: the file that ``$CSPINE_OPERATING_POINTS`` names, or `OF_WEIGHTS`."""
    return os.environ.get(OPERATING_POINTS_VARIABLE) or OF_WEIGHTS


def find_operating_points(choice: str | Path | None) -> OperatingPointsFile | None:
    """Return the operating points that predictions use in place of the weights'; None for those of the weights.

    Parameters
    ----------
    choice : str, Path or None
        A file, or `OF_WEIGHTS`; `site_operating_points` where None.

    Raises
    ------
    LabelError
        The file cannot be read, or holds no operating points that predictions can use.
    """
    chosen = site_operating_points() if choice is None else str(choice)
    return None if chosen == OF_WEIGHTS else OperatingPointsFile.read(as_path(chosen))
