"""Hyperparameters of the level network."""

from typing import Final

from pydantic import Field, field_validator

from cspine.core.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES, OVERALL
from cspine.training.settings import TrainerSettings
from cspine.views.level_views import LevelViewSettings

PREVALENCE: Final = CHALLENGE_POSITIVES[OVERALL] / CHALLENGE_STUDIES

_PRETRAINING_BATCH_FACTOR: Final = 4
"""Fractured vertebrae whose patches take the memory and time of one case."""


class LevelTrainSettings(TrainerSettings):
    """Hyperparameters of the level network: trainer, curriculum, views, folds and calibration."""

    model: str = Field("levels", pattern="^levels$", description="Which network.")
    epochs: int = Field(30, ge=1, le=10_000, description="Passes over the training cases, pretraining not counted.")
    batch_size: int = Field(2, ge=1, le=4096, description="Cases per step and process.")
    learning_rate: float = Field(1.5e-3, gt=0.0, le=1.0, description="Peak learning rate.")
    weight_decay: float = Field(0.02, ge=0.0, le=1.0, description="AdamW's decoupled weight decay.")
    train_views: tuple[int, int, int] = Field(
        (3, 3, 3), description="Sagittal, coronal and axial views of each vertebra, drawn anew for each training step."
    )
    eval_views: tuple[int, int, int] | None = Field(
        None, description="Views of each vertebra in validation and inference; all compiled ones where null."
    )
    pretrain_epochs: int = Field(
        12, ge=0, le=10_000, description="Patch pretraining: passes over the fractured vertebrae; 0 for none."
    )
    resampled_epoch_fraction: float = Field(
        0.7, ge=0.0, le=1.0, description="Fraction of the epochs, the first ones, that train on resampled vertebrae."
    )
    auxiliary_fraction: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Fraction of complete cases and of resampled vertebrae that are auxiliary. Where 0, complete cases "
        "are not, and vertebrae of all cases are drawn alike.",
    )
    folds: int = Field(5, ge=2, le=50, description="Cross-validation folds that patients are split into.")
    fold: int | None = Field(
        0, ge=0, description="The fold held out for validation and calibration; each in turn where null."
    )
    only_fold: int | None = Field(
        None,
        ge=0,
        exclude=True,  # any job of the ensemble is the same run
        description="Of all folds, the one that this job trains; another call calibrates and exports all.",
    )
    prevalence: float = Field(PREVALENCE, gt=0.0, lt=1.0, description="Fraction of fractured patients calibrated for.")

    def eval_views_of(self, views: LevelViewSettings) -> tuple[int, int, int]:
        """Return the sagittal, coronal and axial views of validation and inference, out of the compiled ones."""
        return self.eval_views or (views.sagittal, views.coronal, views.axial)

    @field_validator("train_views", "eval_views")
    @classmethod
    def _check_any_view(cls, counts: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if counts is not None and (min(counts) < 0 or not any(counts)):
            raise ValueError("numbers of sagittal, coronal and axial views are 0 or more, and at least one is positive")
        return counts

    @property
    def pretraining(self) -> "LevelTrainSettings":
        """The settings of patch pretraining: more vertebrae per batch, since patches are small."""
        batch_size = _PRETRAINING_BATCH_FACTOR * self.batch_size
        return self.model_copy(update={"epochs": self.pretrain_epochs, "batch_size": batch_size})

    @property
    def folds_to_train(self) -> tuple[int, ...]:
        """Folds that this job trains: the one held out, each in turn, or the only one of these."""
        if self.fold is not None:
            return (self.fold,)
        return tuple(range(self.folds)) if self.only_fold is None else (self.only_fold,)

    @property
    def resampled_epochs(self) -> int:
        """Number of epochs, the first ones, that train on resampled vertebrae."""
        return round(self.resampled_epoch_fraction * self.epochs)
