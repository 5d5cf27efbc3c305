"""Training of the region network: where head, neck, thorax and abdomen of the spine are in a whole scan, at 6 mm."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import torch

from cspine.localization.cascade.region import REGION_CLASSES
from cspine.localization.coarse import REGION_MM
from cspine.training.localizer.classes import REGION_TABLE
from cspine.training.localizer.examples import LocalizerSample
from cspine.training.localizer.geometry import random_geometry
from cspine.training.localizer.losses import SegmentationLoss
from cspine.training.localizer.network import SpineUNet
from cspine.training.localizer.patches import sample_patch
from cspine.training.localizer.sample_task import DiceCounter, SampleDataset, SampleTask
from cspine.training.task import VAL_LOSS, Batch

CHANNELS: Final = (24, 48, 64, 96)

PATCH_SHAPE: Final = (80, 48, 64)
"""Voxels of a patch along k, j and i: 480 x 288 x 384 mm."""

N_CLASSES: Final = len(REGION_CLASSES)


def build_region_network() -> SpineUNet:
    """Return a new region network: (n, 2, k, j, i) to the logits of `REGION_CLASSES`."""
    return SpineUNet(N_CLASSES, CHANNELS)


class RegionDataset(SampleDataset):
    """A patch of each sample, anywhere in its scan."""

    def draw(self, sample: LocalizerSample, rng: np.random.Generator) -> Batch:
        """Return a `Patch` as tensors, without coordinates, and whether the head is labeled (knows_skull)."""
        low, high = sample.scanned
        center = low + (high - low) * rng.uniform(0.2, 0.8, 3)
        geometry = random_geometry(sample, center, PATCH_SHAPE, REGION_MM, rng)
        patch = sample_patch(sample, geometry, REGION_TABLE, rng, has_coordinates=False)
        return {
            "image": torch.from_numpy(patch.image),
            "classes": torch.from_numpy(patch.classes),
            "knows_skull": torch.tensor(sample.knows_skull),
        }


class RegionTask(SampleTask):
    """Segmentation of the parts of the spine in whole scans."""

    dataset = RegionDataset
    _segmentation = SegmentationLoss(REGION_CLASSES)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        loss: torch.Tensor = self._segmentation(outputs, batch)
        return loss

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the validation loss, and the mean Dice of the parts of the spine."""
        losses, dice = [], DiceCounter(range(2, N_CLASSES))
        for outputs, batch in predictions:
            losses.append(float(self.loss(outputs, batch)))
            dice.add(outputs, batch["classes"])
        return {VAL_LOSS: sum(losses) / max(len(losses), 1), "dice": dice.mean}
