"""The outcome of a training run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainingSummary:
    """The outcome of a training run; of several folds, of the last one.

    Attributes
    ----------
    epochs : int
        Epochs that were run before the limit or early stopping.
    best_epoch : int
        Epoch whose weights were exported, from 1.
    best_loss : float
        Its loss on the validation set.
    resumed_from : int
        Epochs that an earlier, interrupted run had finished.
    weights : tuple of Path
        The exported ONNX files; one per fold where every fold was trained.
    calibrated : bool
        Whether the validation set was large enough to calibrate all probabilities.
    """

    epochs: int
    best_epoch: int
    best_loss: float
    resumed_from: int
    weights: tuple[Path, ...]
    calibrated: bool = True
