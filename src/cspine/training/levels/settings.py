"""The choices of a level network's training."""

from typing import Final

from pydantic import Field, field_validator

from cspine.core.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES, OVERALL
from cspine.training.trainer import TrainerSettings
from cspine.views.level_views import LevelViewSettings

PREVALENCE: Final = CHALLENGE_POSITIVES[OVERALL] / CHALLENGE_STUDIES

_VERTEBRAE: Final = 4
"""Broken ones whose pieces are looked at in the time of one neck."""


class LevelTrainSettings(TrainerSettings):
    """How a level network is trained."""

    model: str = Field("levels", pattern="^levels$", description="Which network.")
    epochs: int = Field(30, ge=1, le=10_000, description="Passes over the training necks.")
    batch_size: int = Field(2, ge=1, le=4096, description="Necks per step and process.")
    learning_rate: float = Field(1.5e-3, gt=0.0, le=1.0, description="AdamW's highest step size.")
    weight_decay: float = Field(0.02, ge=0.0, le=1.0, description="AdamW's decay.")
    train_views: tuple[int, int, int] = Field(
        (3, 3, 3), description="Sagittal, coronal and axial views of each vertebra: in training drawn anew each time."
    )
    eval_views: tuple[int, int, int] | None = Field(
        None, description="Views that held-out and later necks are looked at through; all there are where null."
    )
    pretrain_epochs: int = Field(
        12,
        ge=0,
        le=10_000,
        description="Passes over broken vertebrae that come first: the encoder sees pieces of planes.",
    )
    resampled_epoch_fraction: float = Field(
        0.7,
        ge=0.0,
        le=1.0,
        description="Share of the epochs, the first ones, in which vertebrae of many necks are put together.",
    )
    folds: int = Field(5, ge=2, le=50, description="Parts that patients are split into.")
    fold: int | None = Field(
        0,
        ge=0,
        description="The part that is not trained on but calibrated; all in turn where null.",
    )
    prevalence: float = Field(PREVALENCE, gt=0.0, lt=1.0, description="Fraction of fractured patients calibrated for.")

    def eval_views_of(self, views: LevelViewSettings) -> tuple[int, int, int]:
        """Return sagittal, coronal and axial views that held-out and later necks are looked at through."""
        return self.eval_views or (views.sagittal, views.coronal, views.axial)

    @field_validator("train_views", "eval_views")
    @classmethod
    def _some(cls, counts: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if counts is not None and (min(counts) < 0 or not any(counts)):
            raise ValueError("sagittal, coronal and axial views are counted from 0, and some must be looked at")
        return counts

    @property
    def pretraining(self) -> "LevelTrainSettings":
        """How the encoder is trained on pieces: of more vertebrae at a time, since pieces are small."""
        return self.model_copy(update={"epochs": self.pretrain_epochs, "batch": _VERTEBRAE * self.batch_size})

    @property
    def resampled_epochs(self) -> int:
        """So many of the first epochs learn from necks put together."""
        return round(self.resampled_epoch_fraction * self.epochs)
