"""Training of the vertebra network: levels, offsets and positions in the vertebra's frame, at 3 mm."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import torch

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats
from cspine.localization.cascade.vertebrae import VERTEBRA_CLASSES
from cspine.localization.coarse import OFFSET_UNIT_MM
from cspine.models.metadata import COARSE_MM
from cspine.training.localizer.classes import VERTEBRA_TABLE
from cspine.training.localizer.examples import FRAMED_LEVELS, LocalizerSample
from cspine.training.localizer.geometry import random_geometry
from cspine.training.localizer.losses import SegmentationLoss, coordinate_loss
from cspine.training.localizer.network import SpineUNet
from cspine.training.localizer.patches import N_COORDINATES, sample_patch
from cspine.training.localizer.sample_task import DiceCounter, SampleDataset, SampleTask
from cspine.training.task import VAL_LOSS, Batch

CHANNELS: Final = (32, 64, 96, 128)

PATCH_SHAPE: Final = (96, 48, 48)
"""Voxels of a patch along k, j and i: 288 x 144 x 144 mm."""

N_CLASSES: Final = len(VERTEBRA_CLASSES)

_NECK: Final = (*VERTEBRAE, "T1", "T2")
_NECK_PROBABILITY: Final = 0.85
"""Fraction of patches about the neck, as the network sees it in use, where the scan holds one."""

_VERTEBRA_PROBABILITY: Final = 0.7
"""Fraction of the others that are about a thoracic or lumbar vertebra; the rest is anywhere."""

_MAX_SHIFT_MM: Final = np.array([40.0, 20.0, 20.0])
"""Distance of the middle of the neck, or of another vertebra, from that of the patch along k, j and i."""

_BEYOND_VOXELS: Final = 5
"""Vertebrae whose origins lie this far beyond the scan are looked at, too."""

_COORDINATE_WEIGHT: Final = 0.7


def build_vertebra_network() -> SpineUNet:
    """Return a new vertebra network: (n, 2, k, j, i) to the logits of `VERTEBRA_CLASSES` and six coordinates in cm."""
    return SpineUNet(N_CLASSES + N_COORDINATES, CHANNELS)


def draw_center(sample: LocalizerSample, rng: np.random.Generator) -> Floats:
    """Return the index of a sample, (3,), about which a patch is taken: mostly a vertebra of the neck."""
    low, high = sample.scanned
    indices: dict[str, Floats] = {}
    for level, frame in zip(FRAMED_LEVELS, sample.frames, strict=True):
        index = sample.index_of(frame[None, :3, 3])[0]
        if np.all((index >= low - _BEYOND_VOXELS) & (index < high + _BEYOND_VOXELS)):  # not where it is NaN
            indices[level] = index
    neck = [index for level, index in indices.items() if level in _NECK]
    others = [index for level, index in indices.items() if level not in _NECK]
    shift = rng.uniform(-1.0, 1.0, 3) * _MAX_SHIFT_MM / sample.spacing_mm
    if neck and rng.random() < _NECK_PROBABILITY:
        return np.asarray((np.min(neck, axis=0) + np.max(neck, axis=0)) / 2 + shift)
    if others and rng.random() < _VERTEBRA_PROBABILITY:
        return np.asarray(others[int(rng.integers(len(others)))] + shift)
    return np.asarray(rng.uniform(low, high))


class VertebraDataset(SampleDataset):
    """A patch of each sample, mostly about the neck."""

    def draw(self, sample: LocalizerSample, rng: np.random.Generator) -> Batch:
        """Return a `Patch` as tensors, and whether the head is labeled (knows_skull)."""
        geometry = random_geometry(sample, draw_center(sample, rng), PATCH_SHAPE, COARSE_MM, rng)
        patch = sample_patch(sample, geometry, VERTEBRA_TABLE, rng)
        return {
            "image": torch.from_numpy(patch.image),
            "classes": torch.from_numpy(patch.classes),
            "coordinates": torch.from_numpy(patch.coordinates),
            "has_coordinates": torch.from_numpy(patch.has_coordinates),
            "knows_skull": torch.tensor(sample.knows_skull),
        }


class VertebraTask(SampleTask):
    """Segmentation of vertebrae in coarse volumes, and regression of coordinates in their frames."""

    dataset = VertebraDataset
    _segmentation = SegmentationLoss(VERTEBRA_CLASSES)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        loss: torch.Tensor = self._segmentation(outputs[:, :N_CLASSES], batch)
        return loss + _COORDINATE_WEIGHT * coordinate_loss(outputs[:, N_CLASSES:], batch)

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the validation loss, the mean Dice of C1 to C7, and the median error of all origins in mm."""
        losses, errors_mm, dice = [], [], DiceCounter(range(1, 1 + len(VERTEBRAE)))
        for outputs, batch in predictions:
            losses.append(float(self.loss(outputs, batch)))
            dice.add(outputs[:, :N_CLASSES], batch["classes"])
            offsets = outputs[:, N_CLASSES : N_CLASSES + 3].float() - batch["coordinates"][:, :3]
            errors_mm.append(OFFSET_UNIT_MM * offsets.movedim(1, -1)[batch["has_coordinates"]].norm(dim=1).cpu())
        return {
            VAL_LOSS: sum(losses) / max(len(losses), 1),
            "dice": dice.mean,
            "origin_mm": float(torch.cat(errors_mm).median()),
        }
