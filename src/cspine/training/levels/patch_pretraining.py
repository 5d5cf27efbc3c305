"""Small pieces of planes, half of them with a crack: what an encoder learns to see before it looks at whole necks.

A crack takes up a hundredth of a vertebra's views. A network that is shown whole ones learns for long where bones break
and hardly what a break looks like. Here each piece with a crack comes with one from the same place of a whole vertebra
of the same level, so that the place tells nothing (as patches come first in mammography: Shen et al., Scientific
Reports 9:12495, 2019).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import Dataset

from cspine.core.anatomy import VERTEBRAE
from cspine.metrics.scores import auc
from cspine.training.levels.augmentation import Views, augment
from cspine.training.levels.dataset import POOLED, CaseFiles, read_planes
from cspine.training.levels.network import ViewEncoder
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.losses import cells_loss
from cspine.training.trainer import VAL_LOSS, WHOLE, Batch, DataShard, Loader, load_batches
from cspine.views.fracture_labels import CELL_PIXELS
from cspine.views.level_views import PLANES, LevelViewSettings

PIECE: Final = 48
"""Rows and columns of a piece at most: 29 mm."""

_PIECES: Final = 8
"""Pieces of each vertebra that is opened: reading its file takes longer than cutting them."""

_ASIDE: Final = 1 / 3
"""Of a piece: so far off its middle a crack may lie."""

_LEAST_CELLS: Final = 2
"""Planes that show less of a crack are not cut."""

_BROKEN_CELL: Final = 3.0
_OVERLAP: Final = 0.3
_VALIDATION_SEED: Final = 515_151


class FracturePatchDataset(Dataset[Batch]):
    """Pieces of broken vertebrae, and of whole ones at the same places.

    Parameters
    ----------
    cases : sequence of CaseFiles
        Whose vertebrae; those that are broken count where it is known in which cells.
    settings : LevelViewSettings
        How their views were made.
    seed : int
        Draws one epoch's pieces.
    change : bool
        Whether pieces are changed as in training.
    """

    def __init__(self, cases: Sequence[CaseFiles], settings: LevelViewSettings, seed: int, *, change: bool) -> None:
        self.settings, self.seed, self.change = settings, seed, change
        self.whole: dict[str, list[CaseFiles]] = defaultdict(list)
        for case in cases:
            for place, level in enumerate(VERTEBRAE, start=1):
                if level in case.mosaics and not case.truth[place]:
                    self.whole[level].append(case)
        self.broken = [
            (case, level)
            for case in cases
            for level in VERTEBRAE
            if level in case.cells and level in case.mosaics and self.whole[level]
        ]

    def __len__(self) -> int:
        """Return the number of broken vertebrae."""
        return len(self.broken)

    def __getitem__(self, number: int) -> Batch:
        """Return pieces of a broken vertebra and of a whole one: planes, (16, 1, n, n); cells, (16, n / 8, n / 8)."""
        rng = np.random.default_rng([self.seed, number])
        case, level = self.broken[number]
        other = self.whole[level][int(rng.integers(len(self.whole[level])))]
        images, cells = read_planes(case, level, self.settings)
        plain, none = read_planes(other, level, self.settings)
        planes, corners = self._places(cells, rng)
        both = [_cut(images, cells, planes, corners, self.settings), _cut(plain, none, planes, corners, self.settings)]
        seen, marked = (torch.from_numpy(np.concatenate(part)) for part in zip(*both, strict=True))
        fracture_types = torch.tensor([PLANES.index(self.settings.planes[plane][0]) for plane in planes.tolist()] * 2)
        pieces = Views(seen[None, :, None], fracture_types, torch.zeros(len(fracture_types)), marked[None, :, None])
        if self.change:
            pieces = augment(pieces, torch.Generator().manual_seed(self.seed * 1_000_003 + number))
        return {"planes": pieces.images[0], "cells": nn.functional.max_pool2d(pieces.cells[0, :, 0], POOLED)}

    def _places(
        self, cells: npt.NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Draw planes that show a crack, and a corner in each from which a piece holds some of it, in cells."""
        shown = np.flatnonzero(cells.sum(axis=(1, 2)) >= _LEAST_CELLS)
        if not len(shown):  # it lies between the planes
            shown = np.arange(len(cells))
        planes = rng.choice(shown, _PIECES)
        size = _size(self.settings) // CELL_PIXELS
        last, corners = cells.shape[1] - size, []
        for plane in planes:
            marked = np.argwhere(cells[plane])
            middle = marked[rng.integers(len(marked))] if len(marked) else np.full(2, cells.shape[1] // 2)
            aside = rng.uniform(-_ASIDE, _ASIDE, 2) * size
            corners.append(np.clip(np.rint(middle - size / 2 + aside), 0, last).astype(np.intp))
        return planes, np.array(corners)


def _size(settings: LevelViewSettings) -> int:
    return min(PIECE, settings.pixels)


def _cut(
    images: npt.NDArray[np.float32],
    cells: npt.NDArray[np.float32],
    planes: npt.NDArray[np.intp],
    corners: npt.NDArray[np.intp],
    settings: LevelViewSettings,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    size = _size(settings)
    seen, marked = [], []
    for plane, (row, column) in zip(planes.tolist(), corners.tolist(), strict=True):
        top, left, count = row * CELL_PIXELS, column * CELL_PIXELS, size // CELL_PIXELS
        seen.append(images[plane, top : top + size, left : left + size])
        marked.append(cells[plane, row : row + count, column : column + count])
    return np.stack(seen), np.stack(marked)


class FracturePatchTask:
    """Seeing cracks in pieces.

    Parameters
    ----------
    train, validation : sequence of CaseFiles
        Of different patients.
    views : LevelViewSettings
        How their views were made.
    settings : LevelTrainSettings
        Batch (of vertebrae that are opened) and seed.
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
        """Whether it is known of no vertebra, or of none that is held out, where it is broken."""
        return any(
            not len(FracturePatchDataset(cases, self._views, 0, change=False))
            for cases in (self._train, self._validation)
        )

    def train_loader(self, epoch: int, shard: DataShard = WHOLE) -> Loader:
        """Return an epoch's pieces."""
        seed = self._settings.seed * 100_003 + epoch + 1
        data = FracturePatchDataset(self._train, self._views, seed, change=True)
        return load_batches(data, self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return pieces of the held-out necks, the same in every epoch."""
        return load_batches(
            FracturePatchDataset(self._validation, self._views, _VALIDATION_SEED, change=False), self._settings
        )

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return what the network is given."""
        return (batch["planes"].flatten(0, 1),)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return cross-entropy and Dice of the cells."""
        return cells_loss(outputs, batch["cells"].flatten(0, 1), broken=_BROKEN_CELL, overlap=_OVERLAP)

    def judge(self, answers: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the held-out loss, and how well pieces with a crack are told from those without one."""
        losses, truth, said = [], [], []
        for outputs, batch in answers:
            losses.append(float(self.loss(outputs, batch)))
            truth.append(batch["cells"].flatten(0, 1).flatten(1).amax(dim=1).cpu().numpy() > 0)
            said.append(outputs.float().flatten(1).amax(dim=1).cpu().numpy())
        return {
            VAL_LOSS: float(np.mean(losses)),
            "piece_auc": auc(np.concatenate(truth).astype(int), np.concatenate(said)),
        }


class FracturePatchNetwork(nn.Module):
    """An encoder that says of pieces which cells are broken.

    Parameters
    ----------
    encoder : ViewEncoder
        Of a `LevelNetwork`.
    """

    def __init__(self, encoder: ViewEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.embedding.requires_grad_(requires_grad=False)  # pieces ask for no vector; torchrun must know

    @staticmethod
    def encoder_of(network: nn.Module) -> dict[str, torch.Tensor]:
        """Return the encoder's weights of a trained one."""
        return {name.removeprefix("encoder."): value for name, value in network.state_dict().items()}

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return logits of cells, (n, rows / 8, columns / 8), of planes, (n, 1, rows, columns)."""
        return self.encoder.mark(planes)[2]
