"""The loop that every network but the baseline is trained by: on one processor, one GPU, or many by torchrun."""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from lightning_fabric import Fabric
from pydantic import Field
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from cspine.core.errors import InputError
from cspine.core.files import open_run_directory
from cspine.core.progress import Progress, silent
from cspine.core.settings import Settings
from cspine.training.checkpoint import load_state, save_state
from cspine.training.curves import write_curves

Batch = dict[str, torch.Tensor]
Loader = DataLoader[Batch]

Tell = Callable[[int, int], None]
"""Is told how many of an epoch's steps are done."""

MARKER: Final = "run.json"
"""In a run's folder, it tells which run that is."""

VAL_LOSS: Final = "val_loss"
"""What the best epoch has the least of."""


class TrainerSettings(Settings):
    """How a network is trained, whatever it is."""

    epochs: int = Field(12, ge=1, le=10_000, description="Passes over the training examples.")
    batch_size: int = Field(4, ge=1, le=4096, description="Examples per step and process.")
    grad_accumulation_steps: int = Field(
        1, ge=1, le=1024, description="Steps whose gradients are added up before weights move."
    )
    learning_rate: float = Field(2e-3, gt=0.0, le=1.0, description="AdamW's highest step size.")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="AdamW's decay.")
    warm_up: float = Field(0.05, ge=0.0, lt=1.0, description="Share of the run in which the step size rises.")
    ema_decay: float = Field(0.995, ge=0.0, lt=1.0, description="Decay of the running mean of weights; 0 for none.")
    max_grad_norm: float = Field(1.0, gt=0.0, description="Greatest norm of a gradient.")
    precision: str = Field("bf16-mixed", pattern=r"^(32-true|bf16-mixed)$", description="As Fabric names it.")
    workers: int = Field(1, ge=0, le=64, description="Processes that make examples.")
    seed: int = Field(0, ge=0, description="Decides first weights, order and chance.")


@dataclass(frozen=True)
class DataShard:
    """Which part of the training examples a process sees: the `rank`-th of `count`."""

    rank: int = 0
    count: int = 1


WHOLE: Final = DataShard()


class TrainingTask(Protocol):
    """What is learnt: where examples come from, and what is wrong with an answer."""

    def train_loader(self, epoch: int, shard: DataShard) -> Loader:
        """Return a share of the training examples of an epoch, counted from 0."""

    def val_loader(self) -> Loader:
        """Return the held-out examples."""

    def loss(self, outputs: Any, batch: Batch) -> torch.Tensor:  # noqa: ANN401 - a network's own kind of output
        """Return the mean loss of a batch."""

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return what the network is given."""

    def judge(self, answers: Iterable[tuple[Any, Batch]]) -> Mapping[str, float]:
        """Return figures about the answers to the held-out examples, `VAL_LOSS` among them."""


def load_batches(
    data: Dataset[Batch], settings: TrainerSettings, seed: int | None = None, shard: DataShard = WHOLE
) -> Loader:
    """Return a loader of examples.

    Parameters
    ----------
    data : Dataset
        All examples.
    settings : TrainerSettings
        Batch and workers.
    seed : int, optional
        Decides the order; the data's own where left out.
    shard : Share
        Which of them, of every epoch others.
    """
    if seed is None:
        return DataLoader(data, batch_size=settings.batch_size, num_workers=settings.workers)
    shared: DistributedSampler[Batch] | None = None
    if shard.count > 1:
        shared = DistributedSampler(data, shard.count, shard.rank, seed=seed, drop_last=True)
    return DataLoader(
        data,
        batch_size=settings.batch_size,
        shuffle=shared is None,
        sampler=shared,
        drop_last=True,
        num_workers=settings.workers,
        generator=torch.Generator().manual_seed(seed),
    )


@dataclass(frozen=True)
class Fitted:
    """How a run ended.

    Attributes
    ----------
    network : nn.Module
        As it was at its best epoch.
    best_epoch : int
        From 1.
    resumed_from : int
        Epochs that an earlier run had done.
    curve : list of dict
        One row per epoch.
    """

    network: nn.Module
    best_epoch: int
    resumed_from: int
    curve: list[dict[str, float]]


def open_fabric(settings: TrainerSettings) -> Fabric:
    """Start what a run computes on: one processor or GPU, or those that torchrun has started a process for each.

    Without torchrun it is one, on a machine with several GPUs too.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would tell of the precision
    fabric = Fabric(
        accelerator="auto",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
        precision=_known(settings),
    )
    fabric.launch()
    return fabric


def claim_run(fabric: Fabric, out: Path, identity: dict[str, Any]) -> None:
    """Take a run's folder, once for all processes; raises as `cspine.core.files.open_run_directory` does."""
    with fabric.rank_zero_first():
        open_run_directory(out, MARKER, identity, remedy="choose another --out, or delete it")


def fit(
    fabric: Fabric,
    build: Callable[[], nn.Module],
    task: TrainingTask,
    out: Path,
    settings: TrainerSettings,
    *,
    stage: str = "steps",
    progress: Progress = silent,
) -> Fitted | None:
    """Train a network; a run that was interrupted goes on where its last epoch ended.

    Parameters
    ----------
    fabric : Fabric
        Of `open_fabric`.
    build : callable
        Returns a new network.
    task : Lesson
        What is learnt.
    out : Path
        The run's folder: ``checkpoint.pt`` and ``curves.csv`` after each epoch.
    settings : TrainerSettings
        Epochs, step size and precision.
    stage : str
        What `progress` is told that is being counted.
    progress : Progress
        Told how many steps are done, of all epochs.

    Returns
    -------
    Fitted or None
        None in all processes but the first, which alone writes.

    Raises
    ------
    InputError
        The checkpoint is damaged, or the loss was no number in any epoch.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    torch.manual_seed(settings.seed)
    run = _Run(fabric, _laid_out(build()), settings)
    stored = load_state(out)
    if stored is not None:
        run.restore(stored)
    resumed_from = run.epoch
    fabric.barrier()  # before the first writes a checkpoint that a slower one would read

    def tell(done: int, of: int) -> None:
        progress(stage, run.epoch * of + done, settings.epochs * of)

    while run.epoch < settings.epochs:
        run.one_epoch(task, tell)
        if fabric.is_global_zero:
            save_state(out, run.state())
            write_curves(out, run.curve)
        fabric.barrier()
    if not fabric.is_global_zero:
        return None
    if not run.best_epoch:
        raise InputError(f"{out}: the held-out loss was no number in any epoch; train with a lower --learning-rate")
    network = build()
    network.load_state_dict(run.best)
    return Fitted(network, run.best_epoch, resumed_from, run.curve)


def _laid_out(network: nn.Module) -> nn.Module:
    """Lay the weights of convolutions out with channels last, in which processors take two thirds of the time."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])
    return network


def _known(settings: TrainerSettings) -> Any:  # noqa: ANN401 - Fabric's own literal type
    return settings.precision


class _Run:
    """A run under way."""

    def __init__(self, fabric: Fabric, network: nn.Module, settings: TrainerSettings) -> None:
        self.fabric, self.settings = fabric, settings
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.network = network
        self.model, self.optimizer = fabric.setup(network, optimizer)
        self.ema_decay = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True)  # type: ignore[no-untyped-call]
        self.epoch, self.steps, self.best_epoch, self.least = 0, 0, 0, float("inf")
        self.best: dict[str, Any] = _copy(network)
        self.curve: list[dict[str, float]] = []

    def state(self) -> dict[str, Any]:
        """Return all that a later process needs to go on."""
        return {
            "network": _copy(self.network),
            "average": _copy(self.ema_decay),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "curve": self.curve,
            "numbers": [self.epoch, self.steps, self.best_epoch, self.least],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from another process's state."""
        self.network.load_state_dict(state["network"])
        self.ema_decay.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.curve = state["best"], state["curve"]
        self.epoch, self.steps, self.best_epoch, self.least = state["numbers"]

    def one_epoch(self, task: TrainingTask, tell: Tell) -> None:
        """Pass over the examples once, and judge."""
        started = time.perf_counter()
        torch.manual_seed((self.settings.seed * 100_003 + self.epoch) * 1_009 + self.fabric.global_rank)
        shard = DataShard(self.fabric.global_rank, self.fabric.world_size)
        train_loader = task.train_loader(self.epoch, shard)
        loader = self.fabric.setup_dataloaders(train_loader, use_distributed_sampler=False)
        trained = self._train(task, loader, tell)
        judged = self.fabric.broadcast(self.judge(task) if self.fabric.is_global_zero else {})
        self.epoch += 1
        row = {"epoch": float(self.epoch), "train_loss": trained, **judged}
        row["seconds"] = time.perf_counter() - started
        self.curve.append(row)
        if judged[VAL_LOSS] < self.least:
            self.least, self.best_epoch, self.best = judged[VAL_LOSS], self.epoch, _copy(self._averaged())

    def _train(self, task: TrainingTask, loader: Any, tell: Tell) -> float:  # noqa: ANN401 - Fabric's wrapped loader
        self.model.train()
        total, count = 0.0, 0
        last, together = len(loader) - 1, self.settings.grad_accumulation_steps
        for number, batch in enumerate(loader):
            tell(number, len(loader))
            moves = (number + 1) % together == 0 or number == last
            of = min(together, last + 1 - number // together * together)  # the last steps may be fewer
            with self.fabric.no_backward_sync(self.model, enabled=not moves):
                loss = task.loss(self.model(*task.inputs(batch)), batch)
                self.fabric.backward(loss / of)
            total, count = total + float(loss.detach()), count + 1
            if moves:
                self._move((self.epoch + (number + 1) / len(loader)) / self.settings.epochs)
        tell(len(loader), len(loader))
        return total / max(count, 1)

    def _move(self, progress: float) -> None:
        """Take a step whose size rises and then falls along a cosine (Loshchilov and Hutter 2017)."""
        settings = self.settings
        rise = min(1.0, progress / settings.warm_up) if settings.warm_up else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = (
                settings.learning_rate * rise * 0.5 * (1.0 + float(torch.cos(torch.tensor(torch.pi * progress))))
            )
        self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=settings.max_grad_norm, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        self.ema_decay.update_parameters(self.network)

    def _averaged(self) -> nn.Module:
        return self.ema_decay.module if self.settings.ema_decay else self.network

    @torch.no_grad()
    def judge(self, task: TrainingTask) -> dict[str, float]:
        """Return the lesson's figures about the averaged network."""
        network = self.fabric.to_device(self._averaged()).eval()
        loader: Any = self.fabric.setup_dataloaders(task.val_loader(), use_distributed_sampler=False)

        def answers() -> Iterable[tuple[Any, Batch]]:
            for batch in loader:
                with self.fabric.autocast():
                    outputs = network(*task.inputs(batch))
                yield outputs, batch

        return dict(task.judge(answers()))


def _copy(network: nn.Module) -> dict[str, Any]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
