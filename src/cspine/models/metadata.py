"""Metadata of weights, one model per network; stored as JSON inside the ONNX file.

Field names are part of the file format. Format 1 was written by cspine 0.1.
"""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from cspine.core.anatomy import TARGETS, Level
from cspine.core.findings import OperatingPointName, Probability, Threshold
from cspine.core.settings import digest
from cspine.metrics.calibration import Calibration
from cspine.metrics.operating_points import is_useful_point
from cspine.spine.level_settings import LevelAssignmentSettings
from cspine.spine.occupancy_template import OccupancyTemplate
from cspine.views.level_views import LevelViewSettings
from cspine.views.sagittal import SagittalSettings
from cspine.views.settings import CompileSettings

UNSPECIFIED_TYPE: Final = "unnamed"
"""Fracture type of training data that name none."""

OLD_FRACTURE_TYPE: Final = "old fracture or non-union"
"""Output of the network beside the fracture types, which says nothing of an acute fracture."""

_FINGERPRINT_HEX_DIGITS: Final = 10
"""40 bits of the SHA-256 of the pseudonymous patient ID, enough to detect leakage between training and test data. For a
million training patients the probability that any two collide is about 0.37; that a given test patient is wrongly
reported as one of them is about one in a million."""

COARSE_MM: Final = 3.0
"""Side of a voxel of the localizer's input: a vertebral body is four voxels high, a disc one."""

PADDING: Final = (8, 2, 2)
"""Voxels by which the localizer's input is padded before and after a scan along k, j and i, so that the origins of
truncated vertebrae lie inside."""

METADATA_KEY: Final = "cspine"
"""Key of the JSON among the metadata properties of the ONNX file."""


def patient_fingerprint(patient: str) -> str:
    """Return the fingerprint of a patient of a compiled data set, as in `LevelsMetadata.training_patients`.

    Parameters
    ----------
    patient : str
        The pseudonymous patient ID.
    """
    return digest(patient)[:_FINGERPRINT_HEX_DIGITS]


class ModelMetadata(BaseModel):
    """Metadata that the weights of every network have."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    format: Literal[2] = 2
    name: str = Field(description="Name of the network, such as baseline-cnn.")
    trained_on: str = Field(description="Training data, for people.")
    phantom_only: bool = Field(description="Whether the training data were phantoms alone.")
    synthetic_only: bool = Field(
        False,
        description="Whether all fractures of the training data were of phantoms, or virtual ones in real CT.",
    )
    software: str = Field(description="Version of cspine that trained the weights.")
    training: dict[str, Any] = Field(description="Training settings.")
    settings_hash: str = Field(description="Hash of the settings of training and compilation.")
    data_hash: str = Field(description="Hash of the training data.")
    statement: str = Field(description="Intended use.")


class ClassifierMetadata(ModelMetadata):
    """Metadata that the weights of every fracture classifier have."""

    positive_weight: float = Field(
        2.0, gt=0.0, description="Weight of positives in the training loss; its effect on probabilities is inverted."
    )
    prevalence: tuple[float, ...] = Field(description="Fraction of positive training studies per target.")
    best_constants: tuple[float, ...] = Field(description="Constant prediction of least training loss per target.")


class BaselineMetadata(ClassifierMetadata):
    """Metadata of the notebook's network, which classifies sagittal images."""

    name: Literal["baseline-cnn"] = "baseline-cnn"
    image_size: int = Field(ge=16, le=1024, description="Rows and columns of the input.")
    sagittal: SagittalSettings = Field(description="Settings of the training images.")
    spine_aligned: bool = Field(False, description="Whether the training images were curved along the spine.")
    targets: tuple[str, ...] = Field(TARGETS, description="Targets of the outputs, in order.")

    @property
    def images(self) -> CompileSettings:
        """Settings of compilation for inference."""
        return CompileSettings(spine_aligned=self.spine_aligned, sagittal=self.sagittal, levels=None)

    def matches(self, settings: CompileSettings) -> bool:
        """Return whether images of these settings are like the training images."""
        return (settings.spine_aligned, settings.sagittal) == (self.spine_aligned, self.sagittal)


class OperatingPoint(BaseModel):
    """An operating point: a threshold and its performance on the patients that it was chosen on.

    The weights were not trained on these patients. Calibration and, of a single fold, the epoch were chosen on them, so
    that the performance on others is slightly lower.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: OperatingPointName
    target: str = Field(description="The criterion by which the threshold was chosen.")
    threshold: Probability = Field(description="The point is reached by calibrated probabilities at or above it.")
    sensitivity: Probability
    specificity: Probability


class LevelsMetadata(ClassifierMetadata):
    """Metadata of the level network, which classifies each vertebra by its views."""

    name: Literal["levels"] = "levels"
    sagittal: SagittalSettings = Field(description="Settings of the sagittal images for reports.")
    views: LevelViewSettings = Field(description="Settings of the views that predictions are made from.")
    inference_views: tuple[int, int, int] = Field(
        description="Sagittal, coronal and axial views of each vertebra for inference."
    )
    fracture_types: tuple[str, ...] = Field(description="Fracture types that are distinguished, in order.")
    fracture_types_by_level: dict[Level, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Fracture types that occurred at each level; all where a level is absent.",
    )
    localizer_sha256: str = Field(description="SHA-256 of the localizer that made the training views.")
    evaluated_localizers: tuple[str, ...] = Field(
        (), description="SHA-256 of later localizers with which the accuracy was measured, and had not fallen."
    )
    training_patients: tuple[str, ...] = Field((), description="Fingerprints of the training patients.")
    pretrained_sha256: str = Field(
        "", description="SHA-256 of the weights that training was initialized with; empty for none."
    )
    calibration_level: Calibration = Field(description="Calibration of the probabilities of levels.")
    calibration_overall: Calibration = Field(description="Calibration of the probability of the patient.")
    calibration_prevalence: Probability = Field(description="Prevalence of fractured patients that was calibrated to.")
    calibration_data: str = Field(description="Patients that the calibration was fitted on.")
    calibration_underpowered: bool = Field(
        False, description="Whether there were too few patients to calibrate all probabilities."
    )
    not_found_fracture_rate: Probability = Field(
        description="Fraction of vertebrae that were not localized and are fractured by their label."
    )
    operating_points_level: tuple[OperatingPoint, ...] = Field(description="Operating points of levels.")
    operating_points_overall: tuple[OperatingPoint, ...] = Field(description="Operating points of patients.")

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The operating points that are used, of levels and patients; a rule-out point only where it rules out much."""
        patients = {point.name: point for point in self.operating_points_overall}
        return tuple(
            Threshold(name=level.name, target=level.target, level=level.threshold, patient=patient.threshold)
            for level in self.operating_points_level
            if (patient := patients.get(level.name)) is not None
            and is_useful_point(level.name, min(level.specificity, patient.specificity))
        )

    @property
    def images(self) -> CompileSettings:
        """Settings of compilation for inference."""
        return CompileSettings(sagittal=self.sagittal, levels=self.views)

    def matches(self, settings: CompileSettings) -> bool:
        """Return whether images of these settings are those that predictions are made from."""
        return settings.levels == self.views


class LocalizerMetadata(ModelMetadata):
    """Metadata of the localizer."""

    name: Literal["localizer"] = "localizer"
    spacing_mm: float = Field(COARSE_MM, gt=0.0, description="Side of a voxel of the input.")
    padding: tuple[int, int, int] = Field(
        PADDING, description="Voxels of padding on either side of a scan, along k, j, i."
    )
    occupancy_templates: dict[str, OccupancyTemplate] = Field(
        description="Mean occupancy of the training vertebrae, by level."
    )
    level_assignment: LevelAssignmentSettings | None = Field(
        None, description="Fitted numbers of the level assignment; the defaults where null."
    )
