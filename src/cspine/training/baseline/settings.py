"""Hyperparameters of the baseline."""

from typing import Literal

from pydantic import Field

from cspine.training.settings import PRECISIONS, TrainerSettings


class BaselineTrainSettings(TrainerSettings):
    """Hyperparameters of the baseline: the notebook's, with Adam at a constant learning rate and early stopping."""

    model: Literal["baseline-cnn"] = Field("baseline-cnn", description="Which network.")
    image_size: int = Field(64, ge=64, le=64, description="Rows and columns that images are resampled to.")
    validation_fraction: float = Field(0.2, gt=0.0, lt=0.9, description="Fraction of patients in the validation set.")
    epochs: int = Field(40, ge=1, le=10_000, description="Passes over the training set, at most.")
    patience: int = Field(8, ge=1, description="Early stopping: epochs without a lower validation loss.")
    batch_size: int = Field(64, ge=2, le=4096, description="Images per step and process.")
    optimizer: Literal["adamw", "adam"] = "adam"
    schedule: Literal["cosine", "constant"] = "constant"
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0, description="Adam's learning rate.")
    ema_decay: float = Field(0.0, ge=0.0, lt=1.0, description="Decay of the weights' moving average; 0 for none.")
    max_grad_norm: float | None = Field(None, gt=0.0, description="Gradients are clipped to this norm; null: never.")
    precision: str = Field("32-true", pattern=PRECISIONS, description="Lightning Fabric's precision.")
    workers: int = Field(0, ge=0, le=64, description="Processes that load images; 0, since they are in memory.")
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="Dropout rate of the dense layers.")
    augment: bool = Field(False, description="Whether training images are shifted, rotated and scaled at random.")

    @property
    def early_stopping_patience(self) -> int:
        """Epochs without a lower validation loss after which training stops."""
        return self.patience
