"""Operating points that were fixed on other studies, and the performance of a model at them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.errors import LabelError
from cspine.core.files import read_model, write_json
from cspine.core.typing import Bools
from cspine.evaluation.cases import Cases
from cspine.metrics.bootstrap import (
    Interval,
    bootstrap_ratio,
    patient_weights,
    percentile_interval,
    proportion_interval,
)
from cspine.metrics.operating_points import choose_operating_points
from cspine.metrics.scores import confusion
from cspine.models.metadata import BaselineMetadata, LevelsMetadata

PREVALENCES: Final = (0.04, 0.09)
"""Lower and upper end of the reported prevalence of fractures among scanned patients."""

ThresholdValue = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class FixedOperatingPoint(BaseModel):
    """A threshold for patients and one for vertebrae."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=40)]
    patient: ThresholdValue
    level: ThresholdValue


class FixedOperatingPoints(BaseModel):
    """Operating points, with the studies that they were chosen on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chosen_on: Annotated[str, Field(max_length=400, description="Studies that the points were chosen on, or how.")]
    studies_sha256: Annotated[str, Field(description="Hash of those studies; empty where it is not known.")] = ""
    points: Annotated[tuple[FixedOperatingPoint, ...], Field(min_length=1, max_length=8)]

    @model_validator(mode="after")
    def _check_names_differ(self) -> Self:
        if len({point.name for point in self.points}) != len(self.points):
            raise ValueError("two points have the same name")
        return self

    def write(self, path: Path) -> None:
        """Write the points to a JSON file that `read_operating_points` reads."""
        write_json(path, self.model_dump(mode="json"))


DEFAULT_OPERATING_POINT: Final = FixedOperatingPoints(
    chosen_on="not tuned (default threshold 0.5)",
    points=(FixedOperatingPoint(name="default", patient=0.5, level=0.5),),
)
"""Threshold 0.5 on patients and levels, used if no operating points are given. It was not chosen on any data;
sensitivity and specificity at this threshold are reported for orientation only."""


def read_operating_points(path: Path) -> FixedOperatingPoints:
    """Read the operating points that an evaluation of other studies wrote; raises LabelError where there are none."""
    return read_model(
        path, FixedOperatingPoints, wrong="holds no operating points; give the points.json of an evaluation"
    )


def operating_points_of_weights(metadata: BaselineMetadata | LevelsMetadata) -> FixedOperatingPoints | None:
    """Return the operating points stored in a network's metadata; None where there are none.

    Parameters
    ----------
    metadata : BaselineMetadata or LevelsMetadata
        Metadata of the weights. Only those of level classifiers hold operating points.
    """
    if not isinstance(metadata, LevelsMetadata):
        return None
    level_thresholds = {point.name: point.threshold for point in metadata.operating_points_level}
    points = tuple(
        FixedOperatingPoint(name=point.name, patient=point.threshold, level=level_thresholds[point.name])
        for point in metadata.operating_points_overall
        if point.name in level_thresholds
    )
    chosen_on = f"{metadata.calibration_data}, as the weights say"
    return FixedOperatingPoints(chosen_on=chosen_on, points=points) if points else None


def choose_fixed_operating_points(
    patients: Cases, levels: Cases, *, chosen_on: str, studies_sha256: str = ""
) -> FixedOperatingPoints:
    """Choose operating points on these cases, for use on others.

    Parameters
    ----------
    patients, levels : Cases
        Patients, and vertebrae of all levels, of one model.
    chosen_on : str
        Description of the studies and the model.
    studies_sha256 : str
        Hash of the studies, by which in-sample use of the points is detected.

    Raises
    ------
    LabelError
        All patients or all vertebrae are of one class.
    """
    patient_points, level_points = (
        choose_operating_points(cases.truth, cases.probability) for cases in (patients, levels)
    )
    if not patient_points or not level_points:
        raise LabelError(f"{chosen_on}: operating points need cases with and without fractures; give more studies")
    points = tuple(
        FixedOperatingPoint(name=patient.name, patient=patient.threshold, level=level.threshold)
        for patient, level in zip(patient_points, level_points, strict=True)
    )
    return FixedOperatingPoints(chosen_on=chosen_on[:400], studies_sha256=studies_sha256, points=points)


@dataclass(frozen=True)
class PredictiveValues:
    """Positive and negative predictive value at a stated prevalence."""

    prevalence: float
    ppv: Interval
    npv: Interval


@dataclass(frozen=True)
class OperatingPointMetrics:
    """Performance at a threshold.

    Attributes
    ----------
    name : str
        Name of the operating point.
    threshold : float
        Cases with a probability at or above it count as fractured.
    tp, fn, tn, fp : int
        Counts of the confusion matrix: true positives, false negatives, true negatives, false positives.
    sensitivity, specificity, ppv, npv : Interval
        With Wilson's interval, or that of the patient bootstrap where patients have several cases.
    at_prevalence : tuple of PredictiveValues
        Predictive values at `PREVALENCES`, with intervals of the patient bootstrap; empty for vertebrae.
    """

    name: str
    threshold: float
    tp: int
    fn: int
    tn: int
    fp: int
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    at_prevalence: tuple[PredictiveValues, ...]


def operating_point_metrics(
    cases: Cases, name: str, threshold: float, *, n_resamples: int, seed: int = 0
) -> OperatingPointMetrics:
    """Return the performance of a model at a threshold.

    Parameters
    ----------
    cases : Cases
        Patients or vertebrae with their labels and probabilities.
    name : str
        Name of the operating point.
    threshold : float
        Cases with a probability at or above it count as fractured.
    n_resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the bootstrap.
    """
    is_fractured, is_called = cases.truth > 0, cases.probability >= threshold
    tp, fn, tn, fp = confusion(cases.truth, cases.probability, threshold)

    def proportion(is_success: Bools, is_included: Bools) -> Interval:
        return proportion_interval(is_success, is_included, cases.patients, n_resamples=n_resamples, seed=seed)

    return OperatingPointMetrics(
        name=name,
        threshold=threshold,
        tp=tp,
        fn=fn,
        tn=tn,
        fp=fp,
        sensitivity=proportion(is_called, is_fractured),
        specificity=proportion(~is_called, ~is_fractured),
        ppv=proportion(is_fractured, is_called),
        npv=proportion(~is_fractured, ~is_called),
        at_prevalence=_at_prevalences(cases, is_called, n_resamples, seed) if cases.is_patient else (),
    )


def _at_prevalences(cases: Cases, is_called: Bools, n_resamples: int, seed: int) -> tuple[PredictiveValues, ...]:
    """Return predictive values at `PREVALENCES` by Bayes' theorem, in each resample of patients."""
    is_fractured = cases.truth > 0
    resamples = patient_weights(cases.patients, n_resamples=n_resamples, seed=seed)
    weights = np.vstack([np.ones(len(is_called), np.int32), resamples])  # the first row is the data themselves
    rows = []
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = bootstrap_ratio(is_called & is_fractured, is_fractured, weights)
        specificity = bootstrap_ratio(~is_called & ~is_fractured, ~is_fractured, weights)
        for prevalence in PREVALENCES:
            tp, fp = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
            fn, tn = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
            values = (tp / (tp + fp), tn / (tn + fn))
            rows.append(PredictiveValues(prevalence, *(percentile_interval(float(v[0]), v[1:]) for v in values)))
    return tuple(rows)
