"""The training task of the baseline: the challenge's loss on each image."""

from collections.abc import Iterable

import torch

from cspine.training.baseline.dataset import BaselineDataset
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.losses import challenge_log_loss
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader, load_batches


class BaselineTask:
    """Classification of single sagittal images by the labels of their study.

    Parameters
    ----------
    train, validation : BaselineDataset
        Images of different patients.
    settings : BaselineTrainSettings
        Batch size, seed and whether training images are augmented.
    """

    def __init__(self, train: BaselineDataset, validation: BaselineDataset, settings: BaselineTrainSettings) -> None:
        self._train, self._validation, self._settings = train, validation, settings

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        """Return the training images of an epoch in random order."""
        seed = self._settings.seed * 100_003 + epoch
        data = self._train.augment(seed) if self._settings.augment else self._train
        # Batch normalization has no variance over a single image.
        is_single_left = len(data) // shard.n_shards % self._settings.batch_size == 1
        return load_batches(data, self._settings, seed, shard, drop_last=is_single_left)

    def val_loader(self) -> Loader:
        """Return the validation images."""
        return load_batches(self._validation, self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the images, (n, 1, size, size)."""
        return (batch["images"],)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean challenge loss of a batch."""
        return challenge_log_loss(outputs, batch["truth"]).mean()

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the mean challenge loss over the validation images."""
        losses = [challenge_log_loss(outputs.float(), batch["truth"]) for outputs, batch in predictions]
        return {VAL_LOSS: float(torch.cat(losses).mean())}
