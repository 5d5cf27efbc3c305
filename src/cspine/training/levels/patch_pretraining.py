"""Patch pretraining: the encoder marks fractures in patches of single planes, before it is trained on cases.

A fracture takes up about 1 % of a vertebra's views. A network that is trained on complete views learns for long where
bones break, and little about what a fracture looks like. Here each patch of a fracture is matched with a patch of the
same position in an intact vertebra of the same level, so that the position carries no information (patch pretraining,
as in mammography: Shen et al., Scientific Reports 9:12495, 2019).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats32, Indices
from cspine.metrics.scores import auc
from cspine.training.levels.augmentation import Views, augment
from cspine.training.levels.dataset import CELL_POOLING, CaseFiles, read_planes
from cspine.training.levels.network import ViewEncoder
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.losses import cells_loss
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader, load_batches
from cspine.views.fracture_labels import CELL_PIXELS
from cspine.views.level_views import PLANES, LevelViewSettings

_MAX_PATCH_PIXELS: Final = 48
"""Rows and columns of a patch, unless the views are smaller: 29 mm."""

_PATCHES_PER_VERTEBRA: Final = 8
"""Patches of each vertebra that is read: reading its file takes longer than cutting them."""

_MAX_SHIFT: Final = 1 / 3
"""Distance of the fracture from the patch's center, at most, as a fraction of the patch."""

_MIN_FRACTURE_CELLS: Final = 2
"""Planes that show fewer cells of a fracture are not used."""

_POSITIVE_CELL_WEIGHT: Final = 3.0
_DICE_WEIGHT: Final = 0.3
_VALIDATION_SEED: Final = 515_151


class FracturePatchDataset(Dataset[Batch]):
    """Patches of fractured vertebrae, and of intact ones at the same positions.

    Parameters
    ----------
    cases : sequence of CaseFiles
        Cases whose vertebrae are used; fractured ones where the cells that the fracture crosses are known.
    settings : LevelViewSettings
        Settings with which the views of the cases were compiled.
    seed : int
        Seed of the random patches; another one per epoch.
    is_augmented : bool
        Whether the gray values and the geometry of patches are augmented.
    """

    def __init__(
        self, cases: Sequence[CaseFiles], settings: LevelViewSettings, seed: int, *, is_augmented: bool
    ) -> None:
        self.settings, self.seed, self.is_augmented = settings, seed, is_augmented
        self.intact: dict[str, list[CaseFiles]] = defaultdict(list)
        for case in cases:
            for column, level in enumerate(VERTEBRAE, start=1):
                if level in case.mosaics and not case.truth[column]:
                    self.intact[level].append(case)
        self.fractured = [
            (case, level)
            for case in cases
            for level in VERTEBRAE
            if level in case.cells and level in case.mosaics and self.intact[level]
        ]

    def __len__(self) -> int:
        """Return the number of fractured vertebrae."""
        return len(self.fractured)

    def __getitem__(self, number: int) -> Batch:
        """Return 8 patches of a fractured vertebra and 8 of an intact one.

        Its tensors are planes (16, 1, n, n), with gray values from 0 to 1, and cells (16, n / 8, n / 8).
        """
        rng = np.random.default_rng([self.seed, number])
        case, level = self.fractured[number]
        other = self.intact[level][int(rng.integers(len(self.intact[level])))]
        images, cells = read_planes(case, level, self.settings)
        other_images, other_cells = read_planes(other, level, self.settings)
        planes, corners = self._draw_patches(cells, rng)
        size = _patch_pixels(self.settings)
        pair = [_cut(images, cells, planes, corners, size), _cut(other_images, other_cells, planes, corners, size)]
        patches, patch_cells = (torch.from_numpy(np.concatenate(part)) for part in zip(*pair, strict=True))
        orientation = torch.tensor([PLANES.index(self.settings.planes[plane][0]) for plane in planes.tolist()] * 2)
        views = Views(patches[None, :, None], orientation, torch.zeros(len(orientation)), patch_cells[None, :, None])
        if self.is_augmented:
            views = augment(views, torch.Generator().manual_seed(self.seed * 1_000_003 + number))
        return {"planes": views.images[0], "cells": nn.functional.max_pool2d(views.cells[0, :, 0], CELL_POOLING)}

    def _draw_patches(self, cells: Floats32, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """Draw planes that show the fracture, and in each the corner of a patch that holds some of it, in cells."""
        with_fracture = np.flatnonzero(cells.sum(axis=(1, 2)) >= _MIN_FRACTURE_CELLS)
        if not len(with_fracture):  # the fracture lies between the planes
            with_fracture = np.arange(len(cells))
        planes = rng.choice(with_fracture, _PATCHES_PER_VERTEBRA)
        size = _patch_pixels(self.settings) // CELL_PIXELS
        last, corners = cells.shape[1] - size, []
        for plane in planes:
            fractured = np.argwhere(cells[plane])
            center = fractured[rng.integers(len(fractured))] if len(fractured) else np.full(2, cells.shape[1] // 2)
            shift = rng.uniform(-_MAX_SHIFT, _MAX_SHIFT, 2) * size
            corners.append(np.clip(np.rint(center - size / 2 + shift), 0, last).astype(np.intp))
        return planes, np.array(corners)


def _patch_pixels(settings: LevelViewSettings) -> int:
    return min(_MAX_PATCH_PIXELS, settings.pixels)


def _cut(images: Floats32, cells: Floats32, planes: Indices, corners: Indices, size: int) -> tuple[Floats32, Floats32]:
    """Return patches of a size in pixels, and their cells."""
    patches, patch_cells, count = [], [], size // CELL_PIXELS
    for plane, (row, column) in zip(planes.tolist(), corners.tolist(), strict=True):
        top, left = row * CELL_PIXELS, column * CELL_PIXELS
        patches.append(images[plane, top : top + size, left : left + size])
        patch_cells.append(cells[plane, row : row + count, column : column + count])
    return np.stack(patches), np.stack(patch_cells)


class FracturePatchTask:
    """Segmentation of fractures in patches.

    Parameters
    ----------
    train, validation : sequence of CaseFiles
        Training and validation set, of different patients.
    views : LevelViewSettings
        Settings with which the views of the cases were compiled.
    settings : LevelTrainSettings
        Batch size (fractured vertebrae) and seed.
    """

    def __init__(
        self,
        train: Sequence[CaseFiles],
        validation: Sequence[CaseFiles],
        views: LevelViewSettings,
        settings: LevelTrainSettings,
    ) -> None:
        self._train, self._validation, self._views, self._settings = train, validation, views, settings

    @property
    def is_empty(self) -> bool:
        """Whether the training or the validation set has no fractured vertebra whose cells are known."""
        return any(
            not len(FracturePatchDataset(cases, self._views, 0, is_augmented=False))
            for cases in (self._train, self._validation)
        )

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        """Return the augmented patches of an epoch."""
        seed = self._settings.seed * 100_003 + epoch + 1
        data = FracturePatchDataset(self._train, self._views, seed, is_augmented=True)
        return load_batches(data, self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return patches of the validation cases, the same in every epoch."""
        data = FracturePatchDataset(self._validation, self._views, _VALIDATION_SEED, is_augmented=False)
        return load_batches(data, self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return the patches, (n, 1, rows, columns)."""
        return (batch["planes"].flatten(0, 1),)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return cross-entropy and Dice loss of the cells."""
        return cells_loss(
            outputs, batch["cells"].flatten(0, 1), positive_weight=_POSITIVE_CELL_WEIGHT, dice_weight=_DICE_WEIGHT
        )

    def validate(self, predictions: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the validation loss, and the AUC of patches with a fracture against patches without one."""
        losses, truth, score = [], [], []
        for outputs, batch in predictions:
            losses.append(float(self.loss(outputs, batch)))
            truth.append(batch["cells"].flatten(0, 1).flatten(1).amax(dim=1).cpu().numpy() > 0)
            score.append(outputs.float().flatten(1).amax(dim=1).cpu().numpy())
        return {
            VAL_LOSS: float(np.mean(losses)),
            "patch_auc": auc(np.concatenate(truth).astype(int), np.concatenate(score)),
        }


class FracturePatchNetwork(nn.Module):
    """An encoder whose output is the evidence of a patch.

    Parameters
    ----------
    encoder : ViewEncoder
        Encoder of a `LevelNetwork`.
    """

    def __init__(self, encoder: ViewEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.embedding.requires_grad_(requires_grad=False)  # unused here, which torchrun does not accept otherwise

    @staticmethod
    def encoder_of(network: nn.Module) -> dict[str, torch.Tensor]:
        """Return the weights of the encoder of a trained `FracturePatchNetwork`."""
        return {name.removeprefix("encoder."): value for name, value in network.state_dict().items()}

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return logits of cells, (n, rows / 8, columns / 8), of planes, (n, 1, rows, columns)."""
        return self.encoder.mark(planes)[2]
