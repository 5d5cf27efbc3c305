"""The training loop: epochs, early stopping, checkpoints, resume."""

import copy
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from torch import nn

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import open_run_directory, write_text
from cspine.core.progress import Progress, silent
from cspine.core.settings import digest
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import LockedSplit
from cspine.models.metadata import BaselineMetadata
from cspine.training.baseline.augmentation import Augmentation
from cspine.training.baseline.dataset import ImageSet, TrainingData, load_training_data
from cspine.training.baseline.network import build_network
from cspine.training.baseline.settings import TrainSettings
from cspine.training.checkpoint import RunState, load_checkpoint, save_checkpoint
from cspine.training.curves import draw_curves, write_curves
from cspine.training.export import Graph, export_onnx
from cspine.training.losses import challenge_log_loss
from cspine.training.trainer import MARKER

SPLIT_FILE: Final = "split.csv"
WEIGHTS_FILE: Final = "weights.onnx"


@dataclass(frozen=True)
class TrainSummary:
    """How a run ended; losses are the challenge's, on the held-out patients' images."""

    epochs: int
    best_epoch: int
    best_loss: float
    resumed_from: int
    weights: Path


def train(
    store: CompiledDataset,
    out: Path,
    settings: TrainSettings,
    *,
    frozen: LockedSplit | None = None,
    progress: Progress = silent,
) -> TrainSummary:
    """Train a network on a compiled data set.

    A run that was interrupted goes on where its last epoch ended when it is called again in the same way.

    Parameters
    ----------
    store : CompiledDataset
        With labels.
    out : Path
        The run's folder: checkpoint, curves, split and in the end ``weights.onnx``.
    settings : TrainSettings
        Network and training.
    frozen : LockedSplit, optional
        Learns from its part 'train' and stops by its part 'validation', in place of a split of its own.
    progress : Progress
        Told how many epochs are done.

    Returns
    -------
    TrainSummary

    Raises
    ------
    LabelError
        There are too few labelled studies, or `frozen` does not know them.
    OutputTakenError
        `out` holds something else, or a run with other settings or data.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    data = load_training_data(store, settings, frozen)
    identity = {"format": 1, "kind": "run", "settings": settings.model_dump(mode="json"), "data": data.hash}
    if frozen is not None:
        identity["split"] = frozen.sha256
    open_run_directory(out, MARKER, identity, remedy="choose another --out, or delete it")
    write_text(out / SPLIT_FILE, data.split.rename("part").rename_axis("StudyInstanceUID").to_csv())
    fabric = Fabric(accelerator="auto", devices=1)
    state = load_checkpoint(out)
    resumed_from = state.epoch if state else 0
    state = _fit(fabric, data, out, settings, state, progress)
    draw_curves(out, state.curve, title=f"{settings.model}, seed {settings.seed}", phantom=store.is_phantom)
    network = build_network(settings.model, dropout=settings.dropout)
    network.load_state_dict(state.best_network)
    export_onnx(_graph(network, settings.image_size), _card(store, data, settings, state), out / WEIGHTS_FILE)
    return TrainSummary(state.epoch, state.best_epoch, state.best_loss, resumed_from, out / WEIGHTS_FILE)


def _fit(
    fabric: Fabric,
    data: TrainingData,
    out: Path,
    settings: TrainSettings,
    state: RunState | None,
    progress: Progress,
) -> RunState:
    """Run epochs until the held-out loss no longer falls; a checkpoint after each."""
    torch.manual_seed(settings.seed)
    network = build_network(settings.model, dropout=settings.dropout)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    if state is None:
        state = RunState(_copy(network), optimizer.state_dict(), _copy(network), 0, float("inf"), 0, [])
    else:
        network.load_state_dict(state.network)
        optimizer.load_state_dict(state.optimizer)
    model, wrapped = fabric.setup(network, optimizer)  # wrapped steps the same optimizer on the right device
    while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
        progress("epochs", state.epoch, settings.epochs)
        started = time.perf_counter()
        torch.manual_seed(settings.seed * 100_003 + state.epoch)  # the same whether resumed or not
        train_loss = _one_epoch(fabric, model, wrapped, data.train, settings, state.epoch)
        val_loss = _loss_on(fabric, model, data.validation, settings.batch_size)
        state.epoch += 1
        state.curve.append(_row(state.epoch, train_loss, val_loss, time.perf_counter() - started))
        state.network, state.optimizer = _copy(network), optimizer.state_dict()
        if val_loss < state.best_loss:
            state.best_loss, state.best_epoch, state.best_network = val_loss, state.epoch, _copy(network)
        save_checkpoint(out, state)
        write_curves(out, state.curve)
    progress("epochs", settings.epochs, settings.epochs)
    return state


def _one_epoch(
    fabric: Fabric,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: ImageSet,
    settings: TrainSettings,
    epoch: int,
) -> float:
    """Pass once over the images in random order; returns the mean loss."""
    augment = Augmentation(settings.seed * 100_003 + epoch) if settings.augment else None
    model.train()
    total = 0.0
    for chosen in torch.split(torch.randperm(len(images)), settings.batch_size):
        if len(chosen) < 2:
            continue  # batch normalisation has no spread over a single image
        grey = images.images[chosen].float() / 255.0
        if augment is not None:
            grey = augment(grey)
        loss = challenge_log_loss(model(fabric.to_device(grey)), fabric.to_device(images.truth[chosen])).mean()
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(images)


@torch.no_grad()
def _loss_on(fabric: Fabric, model: nn.Module, images: ImageSet, batch: int) -> float:
    model.eval()
    total = 0.0
    for chosen in torch.split(torch.arange(len(images)), batch):
        grey = fabric.to_device(images.images[chosen].float() / 255.0)
        total += float(challenge_log_loss(model(grey), fabric.to_device(images.truth[chosen])).sum())
    return total / len(images)


def _copy(network: nn.Module) -> dict[str, Any]:
    return copy.deepcopy({name: value.cpu() for name, value in network.state_dict().items()})


def _row(epoch: int, train_loss: float, val_loss: float, seconds: float) -> dict[str, float]:
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {
        "epoch": epoch,
        "train_loss": train_loss,
        "val_loss": val_loss,
        "seconds": seconds,
        "peak_memory_mb": peak / 2**20,
    }


def _graph(network: nn.Module, size: int) -> Graph:
    example = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    several = {0: torch.export.Dim("images_count")}
    return Graph(nn.Sequential(network, nn.Sigmoid()), (example,), ("images",), ("probabilities",), (several,))


def _card(store: CompiledDataset, data: TrainingData, settings: TrainSettings, state: RunState) -> BaselineMetadata:
    studies = int((data.split == "train").sum())
    kind = "phantom studies (no patient)" if store.is_phantom else "studies"
    return BaselineMetadata(
        trained_on=f"{studies} {kind}, seed {settings.seed}, epoch {state.best_epoch}",
        phantom_only=store.is_phantom,
        software=__version__,
        image_size=settings.image_size,
        sagittal=store.settings.sagittal,
        spine_aligned=store.settings.spine_aligned,
        positive_weight=2.0,
        prevalence=data.prevalence,
        best_constants=data.best_constants,
        training=settings.model_dump(mode="json"),
        settings_hash=digest([settings.hash, store.settings.hash])[:16],
        data_hash=data.hash,
        statement=RESEARCH_USE_ONLY,
    )
