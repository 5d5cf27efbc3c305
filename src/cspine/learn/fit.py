"""The loop that every network but the baseline is trained by: one processor, one GPU, or many, without a change."""

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
from torch.utils.data import DataLoader

from cspine.learn.checkpoint import load_state, save_state
from cspine.learn.curves import write_curves
from cspine.progress import Progress, silent
from cspine.settings import Settings

Batch = dict[str, torch.Tensor]
Loader = DataLoader[Batch]

TUNE_LOSS: Final = "tune_loss"
"""What the best epoch has the least of."""


class FitSettings(Settings):
    """How a network is trained, whatever it is."""

    epochs: int = Field(12, ge=1, le=10_000, description="Passes over the training examples.")
    batch: int = Field(4, ge=1, le=4096, description="Examples per step and process.")
    accumulate: int = Field(1, ge=1, le=1024, description="Steps whose gradients are added up before weights move.")
    learning_rate: float = Field(2e-3, gt=0.0, le=1.0, description="AdamW's highest step size.")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="AdamW's decay.")
    warm_up: float = Field(0.05, ge=0.0, lt=1.0, description="Share of the run in which the step size rises.")
    average: float = Field(0.995, ge=0.0, lt=1.0, description="Decay of the running mean of weights; 0 for none.")
    clip: float = Field(1.0, gt=0.0, description="Greatest norm of a gradient.")
    precision: str = Field("bf16-mixed", pattern=r"^(32-true|bf16-mixed|16-mixed)$", description="As Fabric names it.")
    workers: int = Field(1, ge=0, le=64, description="Processes that make examples.")
    seed: int = Field(0, ge=0, description="Decides first weights, order and chance.")


class Lesson(Protocol):
    """What is learnt: where examples come from, and what is wrong with an answer."""

    def examples(self, epoch: int) -> Loader:
        """Return the training examples of an epoch, counted from 0."""

    def tuning(self) -> Loader:
        """Return the held-out examples."""

    def loss(self, outputs: Any, batch: Batch) -> torch.Tensor:  # noqa: ANN401 - a network's own kind of output
        """Return the mean loss of a batch."""

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return what the network is given."""

    def judge(self, answers: Iterable[tuple[Any, Batch]]) -> Mapping[str, float]:
        """Return figures about the answers to the held-out examples, `TUNE_LOSS` among them."""


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


def fit(
    build: Callable[[], nn.Module], lesson: Lesson, out: Path, settings: FitSettings, *, progress: Progress = silent
) -> Fitted:
    """Train a network; a run that was interrupted goes on where its last epoch ended.

    Parameters
    ----------
    build : callable
        Returns a new network.
    lesson : Lesson
        What is learnt.
    out : Path
        The run's folder: ``checkpoint.pt`` and ``curves.csv`` after each epoch.
    settings : FitSettings
        Epochs, step size and precision.
    progress : Progress
        Told how many epochs are done.

    Raises
    ------
    InputError
        The checkpoint is damaged.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    fabric = Fabric(accelerator="auto", devices="auto" if torch.cuda.is_available() else 1, precision=_known(settings))
    fabric.launch()
    torch.manual_seed(settings.seed)
    run = _Run(fabric, _laid_out(build()), settings)
    stored = load_state(out)
    if stored is not None:
        run.restore(stored)
    resumed_from = run.epoch
    while run.epoch < settings.epochs:
        progress("epochs", run.epoch, settings.epochs)
        run.one_epoch(lesson)
        if fabric.is_global_zero:
            save_state(out, run.state())
            write_curves(out, run.curve)
        fabric.barrier()
    progress("epochs", settings.epochs, settings.epochs)
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


def _known(settings: FitSettings) -> Any:  # noqa: ANN401 - Fabric's own literal type
    return settings.precision


class _Run:
    """A run under way."""

    def __init__(self, fabric: Fabric, network: nn.Module, settings: FitSettings) -> None:
        self.fabric, self.settings = fabric, settings
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.network = network
        self.model, self.optimizer = fabric.setup(network, optimizer)
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average), use_buffers=True)  # type: ignore[no-untyped-call]
        self.epoch, self.steps, self.best_epoch, self.least = 0, 0, 0, float("inf")
        self.best: dict[str, Any] = _copy(network)
        self.curve: list[dict[str, float]] = []

    def state(self) -> dict[str, Any]:
        """Return all that a later process needs to go on."""
        return {
            "network": _copy(self.network),
            "average": _copy(self.average),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "curve": self.curve,
            "numbers": [self.epoch, self.steps, self.best_epoch, self.least],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from another process's state."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.curve = state["best"], state["curve"]
        self.epoch, self.steps, self.best_epoch, self.least = state["numbers"]

    def one_epoch(self, lesson: Lesson) -> None:
        """Pass over the examples once, and judge."""
        started = time.perf_counter()
        torch.manual_seed(self.settings.seed * 100_003 + self.epoch)
        loader = self.fabric.setup_dataloaders(lesson.examples(self.epoch))
        trained = self._train(lesson, loader)
        judged = self.judge(lesson)
        self.epoch += 1
        row = {"epoch": float(self.epoch), "train_loss": trained, **judged}
        row["seconds"] = time.perf_counter() - started
        self.curve.append(row)
        if judged[TUNE_LOSS] < self.least:
            self.least, self.best_epoch, self.best = judged[TUNE_LOSS], self.epoch, _copy(self._averaged())

    def _train(self, lesson: Lesson, loader: Any) -> float:  # noqa: ANN401 - Fabric's wrapped loader
        self.model.train()
        total, count = 0.0, 0
        last = len(loader) - 1
        for number, batch in enumerate(loader):
            moves = (number + 1) % self.settings.accumulate == 0 or number == last
            with self.fabric.no_backward_sync(self.model, enabled=not moves):
                loss = lesson.loss(self.model(*lesson.inputs(batch)), batch)
                self.fabric.backward(loss / self.settings.accumulate)
            total, count = total + float(loss.detach()), count + 1
            if moves:
                self._move((self.epoch + (number + 1) / len(loader)) / self.settings.epochs)
        return total / max(count, 1)

    def _move(self, share: float) -> None:
        """Take a step whose size rises and then falls along a cosine (Loshchilov and Hutter 2017)."""
        settings = self.settings
        rise = min(1.0, share / settings.warm_up) if settings.warm_up else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * rise * 0.5 * (1.0 + float(torch.cos(torch.tensor(torch.pi * share))))
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        self.average.update_parameters(self.network)

    def _averaged(self) -> nn.Module:
        return self.average.module if self.settings.average else self.network

    @torch.no_grad()
    def judge(self, lesson: Lesson) -> dict[str, float]:
        """Return the lesson's figures about the averaged network."""
        network = self.fabric.to_device(self._averaged()).eval()
        loader: Any = self.fabric.setup_dataloaders(lesson.tuning())

        def answers() -> Iterable[tuple[Any, Batch]]:
            for batch in loader:
                with self.fabric.autocast():
                    outputs = network(*lesson.inputs(batch))
                yield outputs, batch

        return dict(lesson.judge(answers()))


def _copy(network: nn.Module) -> dict[str, Any]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
