"""The choices of a training run."""

from typing import Literal

from pydantic import Field

from cspine.core.settings import Settings

ModelName = Literal["baseline-cnn"]


class TrainSettings(Settings):
    """How a network is trained."""

    model: ModelName = Field("baseline-cnn", description="Which network.")
    image_size: int = Field(64, ge=64, le=64, description="Rows and columns that images are shrunk to.")
    seed: int = Field(0, ge=0, description="Decides the split, the first weights and the order of images.")
    validation_fraction: float = Field(0.2, gt=0.0, lt=0.9, description="Share of patients held out to stop early.")
    epochs: int = Field(40, ge=1, le=10_000, description="Most passes over the training images.")
    patience: int = Field(8, ge=1, description="Epochs without a better loss on the held-out patients before stopping.")
    batch_size: int = Field(64, ge=2, le=4096, description="Images per step.")
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0, description="Adam's first step size.")
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="Share of hidden units dropped in the dense layers.")
    augment: bool = Field(False, description="Whether images are shifted, turned and rescaled at random in training.")
