"""The trainer of every network: on one processor, one GPU, or many by torchrun.

A network is described by a `cspine.training.task.TrainingTask`: training set, validation set and loss. `fit` runs the
epochs with mixed precision, gradient accumulation, an exponential moving average of the weights (EMA), model selection
on the validation set, and early stopping. A checkpoint is written after each epoch, and after the next step where a
signal announces that the machine is taken away; an interrupted run is resumed from it.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cspine.core.errors import InputError, PreemptedError
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.training.checkpoint import load_checkpoint, save_checkpoint
from cspine.training.curves import write_curves
from cspine.training.epoch_observers import MAIN_STAGE, notify_observers
from cspine.training.preemption import STOPPED_BETWEEN, StopRequest, signals_caught
from cspine.training.settings import TrainerSettings
from cspine.training.task import VAL_LOSS, Batch, DataShard, Loader, TrainingTask, skip_batches

MARKER: Final = "run.json"
"""File in a run's folder that records the run's identity: settings and data."""

NetworkT = TypeVar("NetworkT", bound=nn.Module)

_PREEMPTED: Final = "stopped by a signal, a checkpoint is written; run the same command again to continue"


@dataclass(frozen=True)
class TrainingResult(Generic[NetworkT]):
    """A finished run.

    Attributes
    ----------
    network : nn.Module
        With the weights of its best epoch.
    best_epoch : int
        Epoch whose weights were kept, from 1: that of the lowest validation loss, or the last.
    resumed_from : int
        Epochs that an earlier, interrupted run had finished.
    curve : list of dict
        Learning curve, one row per epoch.
    """

    network: NetworkT
    best_epoch: int
    resumed_from: int
    curve: list[dict[str, float]]

    @property
    def best_loss(self) -> float:
        """Validation loss of the best epoch."""
        return self.curve[self.best_epoch - 1][VAL_LOSS]


def open_run(fabric: Fabric, out: Path, identity: dict[str, Any]) -> None:
    """Take a run's folder, once for all processes; raises as `cspine.core.jobs.ResumableJob.open` does."""
    with fabric.rank_zero_first():
        ResumableJob(out, MARKER, identity).open()


def fit(
    fabric: Fabric,
    build_network: Callable[[], NetworkT],
    task: TrainingTask,
    out: Path,
    settings: TrainerSettings,
    *,
    stage: str = MAIN_STAGE,
    progress: Progress = silent,
) -> TrainingResult[NetworkT] | None:
    """Train a network; an interrupted run is resumed after its last finished epoch.

    Parameters
    ----------
    fabric : Fabric
        Devices and precision, from `cspine.training.devices.open_fabric`.
    build_network : callable
        Returns a new network with initial weights.
    task : TrainingTask
        Training set, validation set and loss.
    out : Path
        The run's folder; gets ``checkpoint.pt`` and ``curves.csv`` after each epoch.
    settings : TrainerSettings
        Hyperparameters of optimization, batches and data.
    stage : str
        Name of the stage in `progress`.
    progress : Progress
        Reports finished steps, of all epochs.

    Returns
    -------
    TrainingResult or None
        None in all of torchrun's processes but the first, which alone writes.

    Raises
    ------
    InputError
        The checkpoint is damaged, or the validation loss was NaN in every epoch.
    PreemptedError
        SIGTERM or SIGUSR1 arrived, here or earlier in an outer `cspine.training.preemption.signals_caught`; a
        checkpoint was written.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    torch.manual_seed(settings.seed)
    run = _Run(fabric, _to_channels_last(build_network()), settings)
    state = load_checkpoint(out)
    if state is not None:
        run.load_state_dict(state)
    resumed_from = run.epoch
    fabric.barrier()  # before the first process writes a checkpoint that a slower one would read

    def report_steps(done: int, steps: int) -> None:
        progress(stage, run.epoch * steps + done, settings.epochs * steps)

    with signals_caught() as stop:
        if stop.is_made(fabric):  # since the stage before
            raise PreemptedError(f"{out}: {STOPPED_BETWEEN}")
        while run.epoch < settings.epochs and not run.has_converged:
            is_whole = run.run_epoch(task, report_steps, stop)
            if fabric.is_global_zero:
                save_checkpoint(out, run.state_dict())
            if not is_whole:
                fabric.barrier()
                raise PreemptedError(f"{out}: {_PREEMPTED}")
            if fabric.is_global_zero:
                write_curves(out, run.curve)
            fabric.barrier()
            notify_observers(stage, run.curve)
            if stop.is_made(fabric):  # in the last step of the epoch, or while it was validated
                raise PreemptedError(f"{out}: {_PREEMPTED}")
    if run.epoch < settings.epochs:  # stopped early
        progress(stage, settings.epochs, settings.epochs)
    if not fabric.is_global_zero:
        return None
    if not run.best_epoch:
        raise InputError(f"{out}: the validation loss was NaN in every epoch; train with a lower --learning-rate")
    network = build_network()
    network.load_state_dict(run.best_weights)
    return TrainingResult(network, run.best_epoch, resumed_from, run.curve)


def _to_channels_last(network: nn.Module) -> nn.Module:
    """Store the weights of convolutions with channels last, in which CPUs take two thirds of the time."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])
    return network


class _Run:
    """Network, optimizer and counters of a run in progress."""

    def __init__(self, fabric: Fabric, network: nn.Module, settings: TrainerSettings) -> None:
        self.fabric, self.settings, self.network = fabric, settings, network
        self.model, self.optimizer = fabric.setup(network, _build_optimizer(network, settings))
        self.average: AveragedModel | None = None
        if settings.ema_decay:
            average = get_ema_multi_avg_fn(settings.ema_decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
        self.epoch, self.best_epoch, self.best_loss = 0, 0, math.inf
        self.best_weights: dict[str, Any] = _copy_weights(network)
        self.curve: list[dict[str, float]] = []
        self.partial: dict[str, Any] | None = None  # what an interrupted epoch has done so far

    @property
    def has_converged(self) -> bool:
        """Whether early stopping ends the run."""
        patience = self.settings.early_stopping_patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    def state_dict(self) -> dict[str, Any]:
        """Return all that another process needs to resume."""
        return {
            "network": _copy_weights(self.network),
            "average": None if self.average is None else _copy_weights(self.average),
            "optimizer": self.optimizer.state_dict(),
            "best_weights": self.best_weights,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "epoch": self.epoch,
            "curve": self.curve,
            "partial": self.partial,
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the state of another process."""
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_weights, self.curve = state["best_weights"], state["curve"]
        self.epoch, self.best_epoch, self.best_loss = state["epoch"], state["best_epoch"], state["best_loss"]
        self.partial = state.get("partial")
        if state.get("precision"):
            self.fabric.strategy.precision.load_state_dict(state["precision"])

    def run_epoch(self, task: TrainingTask, report_steps: Callable[[int, int], None], stop: StopRequest) -> bool:
        """Train on each example once, and validate; return False where a signal interrupted it."""
        started = time.perf_counter()
        torch.manual_seed((self.settings.seed * 100_003 + self.epoch) * 1_009 + self.fabric.global_rank)
        shard = DataShard(self.fabric.global_rank, self.fabric.world_size)
        train_loss = self._train(task, task.train_loader(self.epoch, shard), report_steps, stop)
        if train_loss is None:
            return False
        metrics = self.fabric.broadcast(self._validate(task) if self.fabric.is_global_zero else {})
        self.epoch += 1
        row = {"epoch": float(self.epoch), "train_loss": train_loss, **metrics}
        row |= {"seconds": time.perf_counter() - started, "peak_memory_mb": _peak_memory_mb()}
        self.curve.append(row)
        is_kept = math.isfinite(metrics[VAL_LOSS]) and self.settings.selection == "last"
        if is_kept or metrics[VAL_LOSS] < self.best_loss:
            self.best_loss, self.best_epoch = metrics[VAL_LOSS], self.epoch
            self.best_weights = _copy_weights(self._averaged_network())
        return True

    def _train(
        self, task: TrainingTask, batches: Loader, report_steps: Callable[[int, int], None], stop: StopRequest
    ) -> float | None:
        """Return the mean loss of the epoch; None where a signal interrupted it, with `partial` to resume from."""
        self.model.train()
        if self.settings.batch_norm == "fixed":
            _fix_batch_norm(self.network)
        n_steps, accumulated = len(batches), self.settings.grad_accumulation_steps
        last, (first, total) = n_steps - 1, self._resume_epoch()
        losses: list[torch.Tensor] = []  # on the device: reading each would have the CPU wait for the GPU
        loader: Any = self.fabric.setup_dataloaders(skip_batches(batches, first), use_distributed_sampler=False)
        for number, batch in enumerate(loader, first):
            report_steps(number, n_steps)
            is_update = (number + 1) % accumulated == 0 or number == last
            n_batches = min(accumulated, last + 1 - number // accumulated * accumulated)  # the last may be fewer
            with self.fabric.no_backward_sync(self.model, enabled=not is_update):
                loss = task.loss(self.model(*task.inputs(batch)), batch)
                self.fabric.backward(loss / n_batches)
            losses.append(loss.detach())
            if is_update:
                self._step((self.epoch + (number + 1) / n_steps) / self.settings.epochs)
                if number != last and stop.is_made(self.fabric):
                    self._interrupt_epoch(number + 1, sum(map(float, losses), total))
                    return None
        report_steps(n_steps, n_steps)
        return sum(map(float, losses), total) / max(n_steps, 1)

    def _resume_epoch(self) -> tuple[int, float]:
        """Return the batches that an interrupted run of this epoch has trained on, and the sum of their losses.

        With as many processes as before the rest of the epoch is the same as without the interruption. With another
        number the batches are others, and the same fraction of them is left out.
        """
        if self.partial is None:
            return 0, 0.0
        partial, self.partial = self.partial, None
        if partial["processes"] == self.fabric.world_size:
            torch.set_rng_state(partial["random_state"][self.fabric.global_rank].clone())  # a view crashes
            if self.fabric.device.type == "cuda":
                torch.cuda.set_rng_state(
                    partial["cuda_random_state"][self.fabric.global_rank].clone(), self.fabric.device
                )
            return partial["batches"], partial["loss_sum"]
        scale = partial["processes"] / self.fabric.world_size
        return int(partial["batches"] * scale), partial["loss_sum"] * scale

    def _interrupt_epoch(self, n_batches: int, loss_sum: float) -> None:
        """Keep what resuming in the middle of the epoch needs, of every process."""
        self.partial = {
            "processes": self.fabric.world_size,
            "batches": n_batches,
            "loss_sum": loss_sum,
            "random_state": self._gather(torch.get_rng_state()),
        }
        if self.fabric.device.type == "cuda":
            self.partial["cuda_random_state"] = self._gather(torch.cuda.get_rng_state(self.fabric.device))

    def _gather(self, state: torch.Tensor) -> torch.Tensor:
        """Return a tensor of each process, (processes, n), on the CPU."""
        gathered: Any = self.fabric.all_gather(self.fabric.to_device(state))  # one tensor, as its argument
        return torch.as_tensor(gathered).reshape(self.fabric.world_size, -1).cpu()

    def _step(self, progress: float) -> None:
        """Update the weights; `progress` is the fraction of the run that is done."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, progress)
        if self.settings.max_grad_norm is not None:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.settings.max_grad_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def _averaged_network(self) -> nn.Module:
        return self.network if self.average is None else self.average.module

    @torch.no_grad()
    def _validate(self, task: TrainingTask) -> dict[str, float]:
        """Return the task's metrics of the averaged network."""
        network = self.fabric.to_device(self._averaged_network()).eval()
        loader: Any = self.fabric.setup_dataloaders(task.val_loader(), use_distributed_sampler=False)

        def predictions() -> Iterable[tuple[Any, Batch]]:
            for batch in loader:
                with self.fabric.autocast():
                    outputs = network(*task.inputs(batch))
                yield outputs, batch

        return dict(task.validate(predictions()))


def _build_optimizer(network: nn.Module, settings: TrainerSettings) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    return torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def learning_rate(settings: TrainerSettings, progress: float) -> float:
    """Return the learning rate at a fraction of the run.

    The cosine schedule is a linear warm-up times half a period of a cosine (Loshchilov and Hutter 2017), without
    restarts. It is a function of the epoch's fraction rather than of a step counter, so that a run resumed with another
    number of processes follows the same curve.

    Parameters
    ----------
    settings : TrainerSettings
        Schedule, highest rate and warm-up.
    progress : float
        Fraction of the run that is done, 0 to 1.

    Examples
    --------
    >>> settings = TrainerSettings(learning_rate=0.5, warm_up=0.5)
    >>> [round(learning_rate(settings, progress), 3) for progress in (0.25, 0.5, 1.0)]
    [0.213, 0.25, 0.0]
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    rise = min(1.0, progress / settings.warm_up) if settings.warm_up else 1.0
    return settings.learning_rate * rise * 0.5 * (1.0 + float(torch.cos(torch.tensor(torch.pi * progress))))


def _fix_batch_norm(network: nn.Module) -> None:
    """Let batch norms use and keep their running statistics: those of a batch of one domain do not fit another."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - torch has no public base class
            module.eval()


def _copy_weights(network: nn.Module) -> dict[str, Any]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _peak_memory_mb() -> float:
    """Return the peak memory of this process; NaN on Windows, which has no such counter in the standard library."""
    if sys.platform == "win32":
        return math.nan
    import resource  # noqa: PLC0415 - Unix only

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
