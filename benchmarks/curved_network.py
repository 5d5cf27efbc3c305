"""A network over nine images of the whole spine, for comparison with the level network.

The images follow the spine. Each passes through the level network's encoder, with its neighbors as color channels;
attention pools the nine vectors into the eight predictions. Vertebrae are not localized.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset

from cspine.core.anatomy import TARGETS
from cspine.core.typing import Floats32, Grays
from cspine.datasets.compiled import CompiledDataset
from cspine.training.devices import open_fabric
from cspine.training.levels.initialization import PretrainedWeights, load_pretrained
from cspine.training.levels.network import LevelNetwork, ViewEncoder
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.losses import challenge_log_loss
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader, load_batches
from cspine.training.trainer import fit, open_run

N_IMAGES = 9


def train_curved(store: CompiledDataset, out: Path, settings: LevelTrainSettings) -> "CurvedNetwork":
    """Train on a compiled data set; an interrupted run resumes.

    Parameters
    ----------
    store : CompiledDataset
        Compiled along the spine, with labels. Studies of the fold ``settings.fold`` are the validation set.
    out : Path
        Folder of the run.
    settings : LevelTrainSettings
        Hyperparameters of optimization, batches and data.
    """
    fabric = open_fabric(settings)
    initialization = shipped_weights().sha256
    open_run(fabric, out, {"kind": "curved run", "start": initialization, "settings": settings.model_dump(mode="json")})
    cases = read_cases(store)
    folds = np.arange(len(cases)) % settings.folds
    training, validation = (np.flatnonzero(part) for part in (folds != settings.fold, folds == settings.fold))
    task = CurvedTask(cases.subset(training.tolist()), cases.subset(validation.tolist()), settings)
    result = fit(fabric, CurvedNetwork, task, out, settings)
    if not result or not isinstance(result.network, CurvedNetwork):  # pragma: no cover - this is one process
        raise AssertionError("the run belongs to another process")
    return result.network.eval()


def predict_curved(store: CompiledDataset, network: "CurvedNetwork") -> pd.DataFrame:
    """Predict every compiled study.

    Parameters
    ----------
    store : CompiledDataset
        Compiled as the network's training set was.
    network : CurvedNetwork
        The trained network, in evaluation mode.

    Returns
    -------
    DataFrame
        Indexed by StudyInstanceUID, columns `TARGETS`: probabilities.
    """
    cases = read_cases(store)
    with torch.no_grad():
        rows = [torch.sigmoid(network(_stack_neighbors(images[None]))).double().numpy()[0] for images in cases.images]
    return pd.DataFrame(rows, index=cases.studies, columns=list(TARGETS))


@cache
def shipped_weights() -> PretrainedWeights:
    """Return the level weights that come with cspine."""
    return load_pretrained("levels")


def _pretrained_encoder() -> ViewEncoder:
    """Return a new network's encoder with the shipped parameters."""
    weights = shipped_weights()
    network = LevelNetwork(len(weights.metadata.fracture_types))
    weights.load_into(network, weights.metadata.fracture_types)
    return network.encoder


class CurvedCases(Dataset[Batch]):
    """Nine curved images and eight labels of each study, in memory.

    Parameters
    ----------
    studies : list of str
        StudyInstanceUID of each study, in order.
    images : (n, 9, rows, columns) uint8
    labels : (n, 8) float32
        One row per study, columns `TARGETS`.
    seed : int, optional
        Seed of the augmentation; images are not augmented where None.
    """

    def __init__(self, studies: list[str], images: Grays, labels: Floats32, seed: int | None = None) -> None:
        self.studies, self.images, self.labels, self.seed = studies, images, labels, seed

    def subset(self, numbers: list[int]) -> "CurvedCases":
        """Return some of the studies."""
        return CurvedCases([self.studies[n] for n in numbers], self.images[numbers], self.labels[numbers])

    def augment(self, seed: int) -> "CurvedCases":
        """Return the same studies, augmented."""
        return CurvedCases(self.studies, self.images, self.labels, seed)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> Batch:
        views = _stack_neighbors(self.images[number][None])[0]
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, number])
            if rng.random() < 0.5:
                views = views.flip(0, 1)  # left-right flip: order of the images and of their neighbors
            views = (views * float(rng.uniform(0.85, 1.15)) + float(rng.uniform(-0.05, 0.05))).clamp(0, 1)
            shift = tuple(rng.integers(-8, 9, 2).tolist())
            views = torch.roll(views, shift, (2, 3))
        return {"views": views, "truth": torch.from_numpy(self.labels[number])}


def _stack_neighbors(images: Grays) -> torch.Tensor:
    """Return each image with its two neighbors as channels, (n, 9, 3, rows, columns)."""
    gray = torch.from_numpy(images.astype(np.float32) / 255.0)
    padded = torch.cat([gray[:, :1], gray, gray[:, -1:]], dim=1)
    return torch.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=2)


def read_cases(store: CompiledDataset) -> CurvedCases:
    """Read the images and labels of a compiled data set."""
    groups = dict(iter(store.manifest().groupby("study_instance_uid", sort=True)))
    images = np.stack([store.read_images(rows["path"], store.settings.sagittal.pixels) for rows in groups.values()])
    labels = np.stack([rows[list(TARGETS)].iloc[0].to_numpy(np.float32) for rows in groups.values()])
    return CurvedCases([str(uid) for uid in groups], images, labels)


class CurvedNetwork(nn.Module):
    """The level network's encoder over nine images of the whole spine, attention, and eight logits."""

    def __init__(self, size: int = 128) -> None:
        super().__init__()
        self.encoder = _pretrained_encoder()
        self.position = nn.Parameter(torch.randn(N_IMAGES, size) * 0.02)
        self.attention, self.head = nn.Linear(size, len(TARGETS)), nn.Linear(size, 1)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, 8), of views, (n, 9, 3, rows, columns)."""
        vectors = self.encoder(views.flatten(0, 1))[0].view(len(views), N_IMAGES, -1) + self.position
        weights = torch.softmax(self.attention(vectors), dim=1)  # of each target over the images
        logits: torch.Tensor = self.head(torch.einsum("nvt,nvs->nts", weights, vectors))[:, :, 0]
        return logits


class CurvedTask:
    """Training and validation set of `CurvedNetwork`, with the challenge's loss."""

    def __init__(self, training: CurvedCases, validation: CurvedCases, settings: LevelTrainSettings) -> None:
        self._training, self._validation, self._settings = training, validation, settings

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        """Return the augmented training cases of an epoch."""
        seed = self._settings.seed * 100_003 + epoch + 1
        return load_batches(self._training.augment(seed), self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return the validation cases."""
        return load_batches(self._validation, self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the network's input."""
        return (batch["views"],)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the challenge's loss of a batch."""
        return challenge_log_loss(outputs.float(), batch["truth"]).mean()

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the challenge's loss of the validation set."""
        losses = [float(self.loss(outputs, batch)) * len(batch["truth"]) for outputs, batch in predictions]
        return {VAL_LOSS: sum(losses) / max(len(self._validation), 1)}
