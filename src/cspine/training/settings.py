"""Hyperparameters that all networks have."""

from typing import Final, Literal

from pydantic import Field

from cspine.core.settings import Settings

PRECISIONS: Final = r"^(32-true|bf16-mixed|16-mixed)$"
"""Pattern of the precisions: 32 bits, or a mixture with bfloat16 or half precision."""


class TrainerSettings(Settings):
    """Hyperparameters that all networks have."""

    epochs: int = Field(12, ge=1, le=10_000, description="Passes over the training set, at most.")
    batch_size: int = Field(4, ge=1, le=4096, description="Examples per step and process.")
    grad_accumulation_steps: int = Field(
        1, ge=1, le=1024, description="Batches whose gradients are averaged before the optimizer steps."
    )
    optimizer: Literal["adamw", "adam"] = Field("adamw", description="Optimizer; adam has no weight decay.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="Learning rate over the run: linear warm-up times a cosine decay to 0, or constant."
    )
    learning_rate: float = Field(2e-3, gt=0.0, le=1.0, description="Peak learning rate.")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="AdamW's decoupled weight decay.")
    warm_up: float = Field(0.05, ge=0.0, lt=1.0, description="Fraction of the run over which the rate rises from 0.")
    ema_decay: float = Field(0.995, ge=0.0, lt=1.0, description="Decay of the weights' moving average; 0 for none.")
    max_grad_norm: float | None = Field(1.0, gt=0.0, description="Gradients are clipped to this norm; null: never.")
    batch_norm: Literal["batch", "fixed"] = Field(
        "batch", description="Statistics that batch norms use in training: those of the batch, or fixed initial ones."
    )
    selection: Literal["best", "last"] = Field(
        "best", description="Epoch whose weights are kept: of the lowest validation loss, or the last one."
    )
    precision: str = Field("bf16-mixed", pattern=PRECISIONS, description="Lightning Fabric's precision.")
    workers: int = Field(1, ge=0, le=64, description="Processes that load examples; 0 loads in the main process.")
    seed: int = Field(0, ge=0, description="Seed of initial weights, order and augmentation.")

    @property
    def early_stopping_patience(self) -> int | None:
        """Epochs without a lower validation loss after which training stops; None to run all epochs."""
        return None
