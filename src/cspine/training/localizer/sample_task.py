"""What the training of the localizer's networks has in common: examples drawn at random from samples on disk."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
from torch.utils.data import Dataset

from cspine.training.localizer.classes import UNKNOWN
from cspine.training.localizer.examples import LocalizerSample
from cspine.training.settings import TrainerSettings
from cspine.training.task import ALL_DATA, Batch, DataShard, Loader, load_batches

_VALIDATION_SEED: Final = 424_242


class SampleDataset(Dataset[Batch], ABC):
    """One random example of each sample on disk.

    Parameters
    ----------
    paths : sequence of Path
        Files that hold one `LocalizerSample` each.
    seed : int
        Draws the examples of one epoch.
    """

    def __init__(self, paths: Sequence[Path], seed: int) -> None:
        self.paths = paths
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.paths)

    def __getitem__(self, number: int) -> Batch:
        """Return an example of a sample as tensors; the same seed and number give the same one."""
        rng = np.random.default_rng([self.seed, number])
        return self.draw(LocalizerSample.load(self.paths[number]), rng)

    @abstractmethod
    def draw(self, sample: LocalizerSample, rng: np.random.Generator) -> Batch:
        """Return a random example of a sample as tensors."""


class SampleTask(ABC):
    """Loaders of training and validation examples.

    Parameters
    ----------
    train, validation : sequence of Path
        Files of `LocalizerSample`, of different patients.
    settings : TrainerSettings
        Hyperparameters, of which batch size and seed are used.
    """

    dataset: ClassVar[type[SampleDataset]]

    def __init__(self, train: Sequence[Path], validation: Sequence[Path], settings: TrainerSettings) -> None:
        self._train, self._validation, self._settings = train, validation, settings

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        """Return a random example of each training sample, drawn anew in each epoch."""
        seed = self._settings.seed * 100_003 + epoch + 1
        return load_batches(self.dataset(self._train, seed), self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return a random example of each validation sample, the same in every epoch."""
        return load_batches(self.dataset(self._validation, _VALIDATION_SEED), self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the images, (n, 2, k, j, i)."""
        return (batch["image"],)


class DiceCounter:
    """Counts voxels by class, for the Dice coefficient over a validation set.

    Parameters
    ----------
    classes : range
        The classes that are counted.
    """

    def __init__(self, classes: range) -> None:
        self._classes = classes
        self._overlap, self._total = torch.zeros(len(classes)), torch.zeros(len(classes))

    def add(self, logits: torch.Tensor, truth: torch.Tensor) -> None:
        """Count a batch: logits, (n, classes, k, j, i), and true classes, (n, k, j, i), some of them `UNKNOWN`."""
        predicted = logits.argmax(dim=1)
        for row, number in enumerate(self._classes):
            is_predicted, is_true = (predicted == number) & (truth != UNKNOWN), truth == number
            self._overlap[row] += (is_predicted & is_true).sum().cpu()
            self._total[row] += (is_predicted.sum() + is_true.sum()).cpu()

    @property
    def mean(self) -> float:
        """Mean Dice coefficient of the classes; 0 of one that occurs nowhere."""
        return float((2 * self._overlap / self._total.clamp(min=1)).mean())
