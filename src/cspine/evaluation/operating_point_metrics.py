"""Operating points that were frozen before, and what they do to cases."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.errors import LabelError
from cspine.core.files import read_model, write_json
from cspine.evaluation.cases import Cases
from cspine.metrics.bootstrap import Interval, bootstrap_ratio, patient_weights, percentile_interval, proportion
from cspine.metrics.operating_points import choose_points
from cspine.metrics.scores import confusion

PREVALENCES: Final = (0.04, 0.09)
"""Of fractures among those who are scanned for one: predictive values are told for both ends of what is reported."""

Threshold = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class FrozenPoint(BaseModel):
    """A threshold for patients and one for vertebrae."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=40)]
    patient: Threshold
    level: Threshold


class FixedOperatingPoints(BaseModel):
    """Operating points, and what they were chosen on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chosen_on: Annotated[str, Field(max_length=400, description="Studies that these points were chosen on, or how.")]
    studies_sha256: Annotated[str, Field(description="Hash of those studies; empty where that is not known.")] = ""
    points: Annotated[tuple[FrozenPoint, ...], Field(min_length=1, max_length=8)]

    @model_validator(mode="after")
    def _named_apart(self) -> Self:
        if len({point.name for point in self.points}) != len(self.points):
            raise ValueError("two points have the same name")
        return self

    def write(self, path: Path) -> None:
        """Write them to a file, to be read by `read_points`."""
        write_json(path, self.model_dump(mode="json"))


HALF: Final = FixedOperatingPoints(
    chosen_on="nothing: half is where a probability turns from unlikely to likely",
    points=(FrozenPoint(name="half", patient=0.5, level=0.5),),
)
"""Where no points are given."""


def read_points(path: Path) -> FixedOperatingPoints:
    """Read operating points that an evaluation on other studies has frozen; raises LabelError."""
    return read_model(
        path, FixedOperatingPoints, wrong="holds no operating points; give the points.json of an evaluation"
    )


def freeze_points(patients: Cases, levels: Cases, *, chosen_on: str, studies_sha256: str = "") -> FixedOperatingPoints:
    """Choose operating points on these cases, to be used on others.

    Parameters
    ----------
    patients, levels : Cases
        Of one system.
    chosen_on : str
        Which studies these are, and whose answers.
    studies_sha256 : str
        Hash of the studies, by which it shows where points are used on the very studies that they were chosen on.

    Raises
    ------
    LabelError
        All patients or all vertebrae are of one class.
    """
    of_patients, of_levels = (choose_points(cases.truth, cases.said) for cases in (patients, levels))
    if not of_patients or not of_levels:
        raise LabelError(f"{chosen_on}: fractured and whole ones are both needed to choose operating points; give more")
    points = tuple(
        FrozenPoint(name=one.name, patient=one.threshold, level=other.threshold)
        for one, other in zip(of_patients, of_levels, strict=True)
    )
    return FixedOperatingPoints(chosen_on=chosen_on[:400], studies_sha256=studies_sha256, points=points)


@dataclass(frozen=True)
class AtPrevalence:
    """What answers are worth where so many are fractured."""

    prevalence: float
    positive: Interval
    negative: Interval


@dataclass(frozen=True)
class PointRow:
    """What a threshold does to cases.

    Attributes
    ----------
    hit, missed, cleared, alarmed : int
        True positives, false negatives, true negatives, false positives.
    sensitivity, specificity, positive_value, negative_value : Interval
        Wilson's, and of patients with several cases by the bootstrap over patients.
    reweighted : tuple of AtPrevalence
        Predictive values at stated prevalences, with intervals of the bootstrap over patients.
    """

    name: str
    threshold: float
    hit: int
    missed: int
    cleared: int
    alarmed: int
    sensitivity: Interval
    specificity: Interval
    positive_value: Interval
    negative_value: Interval
    reweighted: tuple[AtPrevalence, ...]


def operating_point_metrics(cases: Cases, name: str, threshold: float, *, draws: int, seed: int = 0) -> PointRow:
    """Return what a threshold does to cases; probabilities that reach it count as fractured."""
    broken, called = cases.truth > 0, cases.said >= threshold
    hit, missed, cleared, alarmed = confusion(cases.truth, cases.said, threshold)

    def told(of: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Interval:
        return proportion(of, among, cases.patients, draws=draws, seed=seed)

    return PointRow(
        name,
        threshold,
        hit,
        missed,
        cleared,
        alarmed,
        told(called, broken),
        told(~called, ~broken),
        told(broken, called),
        told(~broken, ~called),
        _reweighted(cases, called, draws, seed) if cases.is_patient else (),
    )


def _reweighted(cases: Cases, called: npt.NDArray[np.bool_], draws: int, seed: int) -> tuple[AtPrevalence, ...]:
    """Return predictive values at stated prevalences, with intervals of the bootstrap over patients."""
    broken = cases.truth > 0
    weights = np.vstack([np.ones(len(called), np.int32), patient_weights(cases.patients, draws=draws, seed=seed)])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = bootstrap_ratio(called & broken, broken, weights)
        cleared = bootstrap_ratio(~called & ~broken, ~broken, weights)
        rows = []
        for prevalence in PREVALENCES:
            hit, alarm = found * prevalence, (1 - cleared) * (1 - prevalence)
            miss, rest = (1 - found) * prevalence, cleared * (1 - prevalence)
            positive, negative = hit / (hit + alarm), rest / (rest + miss)
            values = (percentile_interval(float(part[0]), part[1:]) for part in (positive, negative))
            rows.append(AtPrevalence(prevalence, *values))
    return tuple(rows)
