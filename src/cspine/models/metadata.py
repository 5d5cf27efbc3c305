"""What weights say of themselves; kept inside the ONNX file."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from cspine.core.anatomy import TARGETS, Level
from cspine.core.findings import Probability
from cspine.core.settings import digest
from cspine.metrics.calibration import Calibration
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.views.level_views import LevelViewSettings
from cspine.views.sagittal import SagittalSettings
from cspine.views.settings import CompileSettings

UNNAMED: Final = "unnamed"
"""Stands for kinds of fracture where none is named."""

_MARK: Final = 10
"""Letters by which patients are known again: two of a million have the same once in two."""

COARSE_MM: Final = 3.0
"""Side of a voxel of the localizer's input, in mm: a vertebral body is four voxels high, a disc one."""

PADDING: Final = (8, 2, 2)
"""Voxels of padding before and after a scan along k, j and i, so that vertebrae that it cuts off are kept."""

METADATA_KEY: Final = "cspine"
"""Where in the ONNX file's metadata the card lies."""


def patient_fingerprint(patient: str) -> str:
    """Return by what a patient, as a compiled data set names them, is known again: see `LevelsMetadata.training_patients`."""
    return digest(patient)[:_MARK]


class ModelMetadata(BaseModel):
    """What every network's weights say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    name: str = Field(description="The network's name, such as baseline-cnn.")
    trained_on: str = Field(description="What the weights have seen, for people.")
    phantom_only: bool = Field(description="Whether they have seen nothing but phantoms.")
    software: str = Field(description="Version of cspine that trained them.")
    training: dict[str, Any] = Field(description="Settings of the training.")
    settings_hash: str = Field(description="Hash of the training's and the compiling's settings.")
    data_hash: str = Field(description="Hash of what was trained on.")
    statement: str = Field(description="What they may be used for.")


class BaselineMetadata(ModelMetadata):
    """Of the notebook's network."""

    name: Literal["baseline-cnn"] = "baseline-cnn"
    image_size: int = Field(ge=16, le=1024, description="Rows and columns of the input.")
    sagittal: SagittalSettings = Field(description="How the images they saw were compiled.")
    spine_aligned: bool = Field(False, description="Whether those images followed the spine.")
    targets: tuple[str, ...] = Field(TARGETS, description="What the outputs are, in order.")
    positive_weight: float = Field(
        2.0, gt=0.0, description="Weight of positives in training; taken out again to give plain probabilities."
    )
    prevalence: tuple[float, ...] = Field(description="Fraction of positive studies per target in training.")
    best_constants: tuple[float, ...] = Field(description="Per target, the constant with the least loss in training.")

    @property
    def images(self) -> CompileSettings:
        """What is compiled for them."""
        return CompileSettings(spine_aligned=self.spine_aligned, sagittal=self.sagittal, levels=None)

    def matches(self, settings: CompileSettings) -> bool:
        """Tell whether images compiled in this way are those that they saw."""
        return (settings.spine_aligned, settings.sagittal) == (self.spine_aligned, self.sagittal)


class OperatingPoint(BaseModel):
    """A threshold with what it did on the patients that it was chosen on, whom the weights were not trained on.

    The calibration and, of a single fold, the epoch were chosen on the same patients: on others it does a little worse.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["rule-out", "triage"]
    target: str = Field(description="What was asked of it.")
    threshold: Probability = Field(description="Calibrated probability from which on it says 'suspicious'.")
    sensitivity: Probability
    specificity: Probability


class LevelsMetadata(ModelMetadata):
    """Of the network that looks at each vertebra through its views."""

    name: Literal["levels"] = "levels"
    sagittal: SagittalSettings = Field(description="How the sagittal images beside them are compiled.")
    views: LevelViewSettings = Field(description="How the views they saw were compiled.")
    inference_views: tuple[int, int, int] = Field(
        description="Sagittal, coronal and axial views of each vertebra they look at."
    )
    fracture_types: tuple[str, ...] = Field(description="Kinds of fracture told apart, in order.")
    fracture_types_by_level: dict[Level, tuple[str, ...]] = Field(
        default_factory=dict, description="Of each level, the kinds that it was broken in; any where it is not listed."
    )
    localizer_sha256: str = Field(description="Of the localizer that found the vertebrae they saw.")
    training_patients: tuple[str, ...] = Field(
        (), description="By what patients are known again whom they learnt from."
    )
    pretrained_sha256: str = Field(
        "", description="Hash of the weights that their training started from; empty for none."
    )
    positive_weight: float = Field(2.0, gt=0.0, description="Weight of positives in training; taken out again.")
    prevalence: tuple[float, ...] = Field(description="Fraction of positive studies per target in training.")
    best_constants: tuple[float, ...] = Field(description="Per target, the constant with the least loss in training.")
    calibration_level: Calibration = Field(description="From raw to calibrated probability of a level.")
    calibration_overall: Calibration = Field(description="And of the patient.")
    calibration_prevalence: Probability = Field(description="Fraction of fractured patients that calibration supposes.")
    calibration_data: str = Field(description="Which patients it was fitted on.")
    calibration_underpowered: bool = Field(
        False, description="Whether there were too few patients to calibrate all probabilities on."
    )
    not_found_fracture_rate: Probability = Field(
        description="How often a vertebra that was not found was fractured by label."
    )
    operating_points_level: tuple[OperatingPoint, ...] = Field(description="Operating points of levels.")
    operating_points_overall: tuple[OperatingPoint, ...] = Field(description="Operating points of patients.")

    @property
    def images(self) -> CompileSettings:
        """What is compiled for them."""
        return CompileSettings(sagittal=self.sagittal, levels=self.views)

    def matches(self, settings: CompileSettings) -> bool:
        """Tell whether images compiled in this way are those that they saw."""
        return settings.levels == self.views


class LocalizerMetadata(ModelMetadata):
    """Of the network that finds vertebrae."""

    name: Literal["localizer"] = "localizer"
    spacing_mm: float = Field(COARSE_MM, gt=0.0, description="Side of a voxel of the input.")
    padding: tuple[int, int, int] = Field(PADDING, description="Voxels of nothing about the scan, along z, y and x.")
    occupancy_templates: dict[str, OccupancyTemplate] = Field(
        description="How vertebrae that they saw fill their frames, by level."
    )
