"""What the trainer is given: a training set, a validation set and a loss, behind one protocol."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from cspine.training.settings import TrainerSettings

Batch = dict[str, torch.Tensor]
Loader = DataLoader[Batch]

VAL_LOSS: Final = "val_loss"
"""The validation metric by which the best epoch is selected: the lowest."""


_PREFETCHED: Final = 4
"""Batches that each loading process holds ready."""


@dataclass(frozen=True)
class DataShard:
    """The part of an epoch's training examples that one process takes.

    Attributes
    ----------
    rank : int
        Number of the process, from 0.
    n_shards : int
        Number of processes that share the examples.
    """

    rank: int = 0
    n_shards: int = 1


ALL_DATA: Final = DataShard()


class TrainingTask(Protocol):
    """What a network is trained on, and by which loss."""

    def train_loader(self, epoch: int, shard: DataShard) -> Loader:
        """Return a shard of the training set for an epoch, counted from 0."""

    def val_loader(self) -> Loader:
        """Return the validation set."""

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the arguments of the network's ``forward``."""

    def loss(self, outputs: Any, batch: Batch) -> torch.Tensor:  # noqa: ANN401 - each network has its own outputs
        """Return the mean training loss of a batch."""

    def validate(self, predictions: Iterable[tuple[Any, Batch]]) -> Mapping[str, float]:
        """Return metrics of the outputs on the validation set, `VAL_LOSS` among them."""


class _RemainingBatches:
    """The batches of a sampler but the first ones, which are drawn and not loaded."""

    def __init__(self, sampler: Iterable[list[int]], n_skipped: int, count: int) -> None:
        self._sampler, self._n_skipped, self._count = sampler, n_skipped, count

    def __iter__(self) -> Iterator[list[int]]:
        return islice(iter(self._sampler), self._n_skipped, None)

    def __len__(self) -> int:
        return self._count


def skip_batches(loader: Loader, count: int) -> Loader:
    """Return a loader without its first batches, in the same order; the examples of these are not loaded.

    Parameters
    ----------
    loader : DataLoader
        As of `load_batches`.
    count : int
        Number of batches to leave out.
    """
    if not count:
        return loader
    remaining: Any = _RemainingBatches(loader.batch_sampler or (), count, max(len(loader) - count, 0))
    return DataLoader(
        loader.dataset,
        batch_sampler=remaining,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        generator=loader.generator,
        pin_memory=loader.pin_memory,
    )


def load_batches(
    data: Dataset[Batch],
    settings: TrainerSettings,
    seed: int | None = None,
    shard: DataShard = ALL_DATA,
    *,
    drop_last: bool = True,
) -> Loader:
    """Return a loader of a data set's examples in batches.

    Parameters
    ----------
    data : Dataset
        The examples; each is a dict of tensors.
    settings : TrainerSettings
        Batch size and number of worker processes.
    seed : int, optional
        Seed of a random order, for training; in the data set's order and complete where None, for validation.
    shard : DataShard
        The process's part of the examples; each epoch's seed assigns them anew.
    drop_last : bool
        Whether a smaller last batch in random order is left out.
    """
    if seed is None:
        return DataLoader(data, batch_size=settings.batch_size, num_workers=settings.workers)
    sampler: DistributedSampler[Batch] | None = None
    if shard.n_shards > 1:
        sampler = DistributedSampler(data, shard.n_shards, shard.rank, seed=seed, drop_last=True)
    return DataLoader(
        data,
        batch_size=settings.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=settings.workers,
        prefetch_factor=_PREFETCHED if settings.workers else None,
        pin_memory=torch.cuda.is_available(),  # copied to the GPU while it computes
        generator=torch.Generator().manual_seed(seed),
    )
