"""The localiser: its network, its loss, and what it learns from."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import torch
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from torch import nn

from cspine.localization.coarse import UNIT_MM
from cspine.training.localizer.patch_sampler import CLASSES, HEAD, THORACIC, UNKNOWN, CoarseData
from cspine.training.trainer import VAL_LOSS, WHOLE, Batch, DataShard, Loader, TrainerSettings, load_batches

PLACES: Final = 6
"""The way to a vertebra's origin, and the place in its frame."""

_PLACE_WEIGHT: Final = 0.5

_VALIDATION_SEED: Final = 424_242


def build_localizer(channels: tuple[int, ...] = (16, 32, 64, 96, 128)) -> UNet:
    """Return a new 3-D U-Net: (n, 2, k, j, i) to (n, 16, k, j, i), sides multiples of 16.

    The outputs are ten class logits and six places in cm.
    """
    return UNet(
        spatial_dims=3,
        in_channels=2,
        out_channels=CLASSES + PLACES,
        channels=channels,
        strides=(2,) * (len(channels) - 1),
        num_res_units=2,
        norm="BATCH",
    )


class LocalizerLoss(nn.Module):
    """Cross-entropy and Dice of the classes, and the distance of the places."""

    def __init__(self) -> None:
        super().__init__()
        self._dice = DiceLoss(include_background=False, batch=True)

    def forward(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch of `CoarseData`; where the head is not labelled, it counts as background."""
        logits, places = outputs[:, :CLASSES].float(), outputs[:, CLASSES:].float()
        classes, known = batch["classes"].long(), batch["classes"] != UNKNOWN
        chances = torch.log_softmax(logits, dim=1)
        ignorant = ~batch["knows_skull"].view(-1, 1, 1, 1)
        nothing = torch.where(ignorant, torch.logaddexp(chances[:, 0], chances[:, HEAD]), chances[:, 0])
        chances = torch.cat([nothing[:, None], chances[:, 1:]], dim=1)
        truth = torch.where(known, classes, 0)
        entropy = -chances.gather(1, truth[:, None])[:, 0]
        weight = torch.where(truth > 0, 3.0, 1.0) * known
        loss = (entropy * weight).sum() / weight.sum().clamp(min=1.0)
        shown = (known & (truth < HEAD))[:, None]  # the head's overlap counts by its entropy alone
        hot = nn.functional.one_hot(truth, CLASSES).movedim(-1, 1)
        dice: torch.Tensor = self._dice((chances.exp() * shown)[:, :HEAD], (hot * shown)[:, :HEAD])
        at = batch["placed"]
        found, true = (values.movedim(1, -1)[at] for values in (places, batch["places"]))
        off = nn.functional.smooth_l1_loss(found, true, reduction="sum", beta=0.3)
        return loss + dice + _PLACE_WEIGHT * off / max(found.numel(), 1)


class LocalizerTask:
    """Finding vertebrae in coarse volumes.

    Parameters
    ----------
    train, validation : sequence of Path
        Files of `LocalizerSample`, of different patients.
    settings : TrainerSettings
        Batch and seed.
    """

    def __init__(self, train: Sequence[Path], validation: Sequence[Path], settings: TrainerSettings) -> None:
        self._train, self._validation, self._settings = train, validation, settings
        self._loss = LocalizerLoss()

    def train_loader(self, epoch: int, shard: DataShard = WHOLE) -> Loader:
        """Return training examples of an epoch, each turned and cut in its own way."""
        seed = self._settings.seed * 100_003 + epoch + 1
        return load_batches(CoarseData(self._train, seed), self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return the held-out examples, turned and cut alike in every epoch."""
        return load_batches(CoarseData(self._validation, _VALIDATION_SEED), self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return what the network is given."""
        return (batch["image"],)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch."""
        loss: torch.Tensor = self._loss(outputs, batch)
        return loss

    def judge(self, answers: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the held-out loss, the mean Dice of C1 to C7, and by how many mm their origins are missed."""
        losses, both, either, misses = [], torch.zeros(CLASSES), torch.zeros(CLASSES), []
        for outputs, batch in answers:
            losses.append(float(self._loss(outputs, batch)))
            classes, truth = outputs[:, :CLASSES].argmax(dim=1), batch["classes"].long()
            for number in range(1, THORACIC):
                found, true = (classes == number) & (truth != UNKNOWN), truth == number
                both[number] += (found & true).sum().cpu()
                either[number] += (found.sum() + true.sum()).cpu()
            at = batch["placed"]
            off = (outputs[:, CLASSES : CLASSES + 3].float() - batch["places"][:, :3]).movedim(1, -1)[at]
            misses.append(UNIT_MM * off.norm(dim=1).cpu())
        dice = (2 * both / either.clamp(min=1))[1:THORACIC].mean()
        return {
            VAL_LOSS: sum(losses) / max(len(losses), 1),
            "dice": float(dice),
            "origin_mm": float(torch.cat(misses).median()),
        }
