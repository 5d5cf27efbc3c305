"""Training of the region network: where head, neck, thorax and abdomen of the spine are in a whole scan, at 6 mm."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch.utils.data import Dataset

from cspine.localization.cascade.region import REGION_CLASSES
from cspine.localization.coarse import REGION_MM
from cspine.training.localizer.classes import REGION_TABLE, UNKNOWN
from cspine.training.localizer.examples import LocalizerSample
from cspine.training.localizer.geometry import random_geometry
from cspine.training.localizer.losses import SegmentationLoss
from cspine.training.localizer.network import SpineUNet
from cspine.training.localizer.patches import sample_patch
from cspine.training.settings import TrainerSettings
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader, load_batches

CHANNELS: Final = (24, 48, 64, 96)

PATCH_SHAPE: Final = (80, 48, 64)
"""Voxels of a patch along k, j and i: 480 x 288 x 384 mm."""

N_CLASSES: Final = len(REGION_CLASSES)

_VALIDATION_SEED: Final = 424_243


def build_region_network() -> SpineUNet:
    """Return a new region network: (n, 2, k, j, i) to the logits of `REGION_CLASSES`."""
    return SpineUNet(N_CLASSES, CHANNELS)


class RegionDataset(Dataset[Batch]):
    """One patch of each sample on disk, anywhere in its scan.

    Parameters
    ----------
    paths : sequence of Path
        Files that hold one `LocalizerSample` each.
    seed : int
        Draws the patches of one epoch.
    """

    def __init__(self, paths: Sequence[Path], seed: int) -> None:
        self.paths = paths
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.paths)

    def __getitem__(self, number: int) -> Batch:
        """Return a `Patch` as tensors, without coordinates, and whether the head is labeled (knows_skull)."""
        sample = LocalizerSample.load(self.paths[number])
        rng = np.random.default_rng([self.seed, number])
        low, high = sample.scanned
        center = low + (high - low) * rng.uniform(0.2, 0.8, 3)
        geometry = random_geometry(sample, center, PATCH_SHAPE, REGION_MM, rng)
        patch = sample_patch(sample, geometry, REGION_TABLE, rng, has_coordinates=False)
        return {
            "image": torch.from_numpy(patch.image),
            "classes": torch.from_numpy(patch.classes),
            "knows_skull": torch.tensor(sample.knows_skull),
        }


class RegionTask:
    """Segmentation of the parts of the spine in whole scans.

    Parameters
    ----------
    train, validation : sequence of Path
        Files of `LocalizerSample`, of different patients.
    settings : TrainerSettings
        Hyperparameters, of which batch size and seed are used.
    """

    def __init__(self, train: Sequence[Path], validation: Sequence[Path], settings: TrainerSettings) -> None:
        self._train, self._validation, self._settings = train, validation, settings
        self._segmentation = SegmentationLoss(REGION_CLASSES)

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        """Return a random patch of each training sample, drawn anew in each epoch."""
        seed = self._settings.seed * 100_003 + epoch + 1
        return load_batches(RegionDataset(self._train, seed), self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return a random patch of each validation sample, the same in every epoch."""
        return load_batches(RegionDataset(self._validation, _VALIDATION_SEED), self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the images, (n, 2, k, j, i)."""
        return (batch["image"],)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        loss: torch.Tensor = self._segmentation(outputs, batch)
        return loss

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the validation loss, and the mean Dice of the parts of the spine."""
        losses = []
        intersection, total = torch.zeros(N_CLASSES), torch.zeros(N_CLASSES)
        for outputs, batch in predictions:
            losses.append(float(self.loss(outputs, batch)))
            classes, truth = outputs.argmax(dim=1), batch["classes"].long()
            for number in range(2, N_CLASSES):
                predicted, target = (classes == number) & (truth != UNKNOWN), truth == number
                intersection[number] += (predicted & target).sum().cpu()
                total[number] += (predicted.sum() + target.sum()).cpu()
        dice = (2 * intersection / total.clamp(min=1))[2:].mean()
        return {VAL_LOSS: sum(losses) / max(len(losses), 1), "dice": float(dice)}
