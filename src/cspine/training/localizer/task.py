"""The localizer's network, loss and training task."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import torch
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from torch import nn

from cspine.localization.coarse import OFFSET_UNIT_MM
from cspine.training.localizer.patch_sampler import (
    HEAD,
    N_CLASSES,
    N_COORDINATES,
    THORACIC,
    UNKNOWN,
    LocalizerDataset,
)
from cspine.training.settings import TrainerSettings
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader, load_batches

_POSITIVE_WEIGHT: Final = 3.0
"""Weight of a labeled voxel relative to background in the cross-entropy."""

_COORDINATE_WEIGHT: Final = 0.5

_VALIDATION_SEED: Final = 424_242


def build_localizer(channels: tuple[int, ...] = (16, 32, 64, 96, 128)) -> UNet:
    """Return a new 3-D residual U-Net (Cicek et al. 2016; Kerfoot et al. 2018).

    It maps (n, 2, k, j, i) to (n, 16, k, j, i), whose channels are `N_CLASSES` logits and `N_COORDINATES` in cm; sides
    are multiples of 16.

    Parameters
    ----------
    channels : tuple of int
        Channels at each resolution, from the finest.
    """
    return UNet(
        spatial_dims=3,
        in_channels=2,
        out_channels=N_CLASSES + N_COORDINATES,
        channels=channels,
        strides=(2,) * (len(channels) - 1),
        num_res_units=2,
        norm="BATCH",
    )


class LocalizerLoss(nn.Module):
    """Cross-entropy and Dice loss of the classes, plus smooth L1 loss of the coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self._dice = DiceLoss(include_background=False, batch=True)

    def forward(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch of `LocalizerDataset`.

        Where the head is not labeled, the probabilities of head and background are summed: either is accepted.
        """
        logits, coordinates = outputs[:, :N_CLASSES].float(), outputs[:, N_CLASSES:].float()
        classes, known = batch["classes"].long(), batch["classes"] != UNKNOWN
        log_probability = torch.log_softmax(logits, dim=1)
        head_unlabeled = ~batch["knows_skull"].view(-1, 1, 1, 1)
        background = torch.where(
            head_unlabeled, torch.logaddexp(log_probability[:, 0], log_probability[:, HEAD]), log_probability[:, 0]
        )
        log_probability = torch.cat([background[:, None], log_probability[:, 1:]], dim=1)
        truth = torch.where(known, classes, 0)
        entropy = -log_probability.gather(1, truth[:, None])[:, 0]
        weight = torch.where(truth > 0, _POSITIVE_WEIGHT, 1.0) * known
        loss = (entropy * weight).sum() / weight.sum().clamp(min=1.0)
        in_dice = (known & (truth < HEAD))[:, None]  # the head, often cut off or unlabeled, has no Dice loss
        one_hot = nn.functional.one_hot(truth, N_CLASSES).movedim(-1, 1)
        dice: torch.Tensor = self._dice((log_probability.exp() * in_dice)[:, :HEAD], (one_hot * in_dice)[:, :HEAD])
        mask = batch["has_coordinates"]
        predicted, target = (values.movedim(1, -1)[mask] for values in (coordinates, batch["coordinates"]))
        distance = nn.functional.smooth_l1_loss(predicted, target, reduction="sum", beta=0.3)
        return loss + dice + _COORDINATE_WEIGHT * distance / max(predicted.numel(), 1)


class LocalizerTask:
    """Segmentation of vertebrae in coarse volumes, and regression of coordinates in their frames.

    Parameters
    ----------
    train, validation : sequence of Path
        Files of `LocalizerSample`, of different patients.
    settings : TrainerSettings
        Hyperparameters, of which batch size and seed are used.
    """

    def __init__(self, train: Sequence[Path], validation: Sequence[Path], settings: TrainerSettings) -> None:
        self._train, self._validation, self._settings = train, validation, settings
        self._loss = LocalizerLoss()

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        """Return a random patch of each training sample, drawn anew in each epoch."""
        seed = self._settings.seed * 100_003 + epoch + 1
        return load_batches(LocalizerDataset(self._train, seed), self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return a random patch of each validation sample, the same in every epoch."""
        return load_batches(LocalizerDataset(self._validation, _VALIDATION_SEED), self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the images, (n, 2, k, j, i)."""
        return (batch["image"],)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        loss: torch.Tensor = self._loss(outputs, batch)
        return loss

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the validation loss, the mean Dice of C1 to C7, and the median error of their origins in mm."""
        losses, errors_mm = [], []
        intersection, total = torch.zeros(N_CLASSES), torch.zeros(N_CLASSES)
        for outputs, batch in predictions:
            losses.append(float(self._loss(outputs, batch)))
            classes, truth = outputs[:, :N_CLASSES].argmax(dim=1), batch["classes"].long()
            for number in range(1, THORACIC):
                predicted, target = (classes == number) & (truth != UNKNOWN), truth == number
                intersection[number] += (predicted & target).sum().cpu()
                total[number] += (predicted.sum() + target.sum()).cpu()
            offsets = outputs[:, N_CLASSES : N_CLASSES + 3].float() - batch["coordinates"][:, :3]
            errors_mm.append(OFFSET_UNIT_MM * offsets.movedim(1, -1)[batch["has_coordinates"]].norm(dim=1).cpu())
        dice = (2 * intersection / total.clamp(min=1))[1:THORACIC].mean()
        return {
            VAL_LOSS: sum(losses) / max(len(losses), 1),
            "dice": float(dice),
            "origin_mm": float(torch.cat(errors_mm).median()),
        }
