"""Options of fine-tuning: fixed batch norms keep their statistics; the last epoch may be kept whatever its loss."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from cspine.training.devices import open_fabric
from cspine.training.settings import TrainerSettings
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader
from cspine.training.trainer import fit


class ShiftedTask:
    """Regression of inputs whose mean is far from 0."""

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:  # noqa: ARG002 - always the same
        return DataLoader([{"x": torch.full((2,), 5.0) + index} for index in range(4)], batch_size=2)  # type: ignore[arg-type]

    def val_loader(self) -> Loader:
        return self.train_loader(0)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        return (batch["x"],)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:  # noqa: ARG002 - a constant target
        return ((outputs - 3.0) ** 2).mean()

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        return {VAL_LOSS: float(torch.stack([self.loss(*each) for each in predictions]).mean())}


@pytest.mark.parametrize(("batch_norm", "moves"), [("batch", True), ("fixed", False)])
def test_statistics_move_only_where_they_are_not_fixed(tmp_path: Path, batch_norm: str, moves: bool) -> None:
    settings = TrainerSettings.model_validate({"epochs": 2, "precision": "32-true", "batch_norm": batch_norm})

    result = fit(open_fabric(settings), lambda: nn.Sequential(nn.BatchNorm1d(2)), ShiftedTask(), tmp_path, settings)

    assert result is not None
    norm: Any = result.network[0]
    assert bool((norm.running_mean != 0).all()) == moves
    assert bool((norm.weight != 1).all())


@pytest.mark.parametrize(("selection", "kept"), [("best", 1), ("last", 3)])
def test_kept_epoch_is_the_best_or_the_last(tmp_path: Path, selection: str, kept: int) -> None:
    class WorseningTask(ShiftedTask):
        losses = iter((1.0, 2.0, 3.0))

        def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:  # noqa: ARG002
            return {VAL_LOSS: next(self.losses)}

    settings = TrainerSettings.model_validate({"epochs": 3, "precision": "32-true", "selection": selection})

    result = fit(open_fabric(settings), lambda: nn.Sequential(nn.BatchNorm1d(2)), WorseningTask(), tmp_path, settings)

    assert result is not None
    assert result.best_epoch == kept
