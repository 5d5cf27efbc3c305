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

from cspine.anatomy import VERTEBRAE
from cspine.evaluate.metrics import auc
from cspine.learn.fit import TUNE_LOSS, WHOLE, Batch, Loader, Share, load_batches
from cspine.learn.level_data import POOLED, NeckFiles, read_planes
from cspine.learn.level_network import ViewEncoder
from cspine.learn.level_settings import LevelTrainSettings
from cspine.learn.loss import cells_loss
from cspine.learn.view_augment import Views, augment
from cspine.reformat.evidence import CELL_PIXELS
from cspine.reformat.level_views import PLANES, LevelViewSettings

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
_TUNE_SEED: Final = 515_151


class CrackPieces(Dataset[Batch]):
    """Pieces of broken vertebrae, and of whole ones at the same places.

    Parameters
    ----------
    necks : sequence of NeckFiles
        Whose vertebrae; those that are broken count where it is known in which cells.
    settings : LevelViewSettings
        How their views were made.
    seed : int
        Draws one epoch's pieces.
    change : bool
        Whether pieces are changed as in training.
    """

    def __init__(self, necks: Sequence[NeckFiles], settings: LevelViewSettings, seed: int, *, change: bool) -> None:
        self.settings, self.seed, self.change = settings, seed, change
        self.whole: dict[str, list[NeckFiles]] = defaultdict(list)
        for neck in necks:
            for place, level in enumerate(VERTEBRAE, start=1):
                if level in neck.mosaics and not neck.truth[place]:
                    self.whole[level].append(neck)
        self.broken = [
            (neck, level)
            for neck in necks
            for level in VERTEBRAE
            if level in neck.cells and level in neck.mosaics and self.whole[level]
        ]

    def __len__(self) -> int:
        """Return the number of broken vertebrae."""
        return len(self.broken)

    def __getitem__(self, number: int) -> Batch:
        """Return pieces of a broken vertebra and of a whole one: planes, (16, 1, n, n); cells, (16, n / 8, n / 8)."""
        rng = np.random.default_rng([self.seed, number])
        neck, level = self.broken[number]
        other = self.whole[level][int(rng.integers(len(self.whole[level])))]
        images, cells = read_planes(neck, level, self.settings)
        plain, none = read_planes(other, level, self.settings)
        planes, corners = self._places(cells, rng)
        both = [_cut(images, cells, planes, corners, self.settings), _cut(plain, none, planes, corners, self.settings)]
        seen, marked = (torch.from_numpy(np.concatenate(part)) for part in zip(*both, strict=True))
        kinds = torch.tensor([PLANES.index(self.settings.planes[plane][0]) for plane in planes.tolist()] * 2)
        pieces = Views(seen[None, :, None], kinds, torch.zeros(len(kinds)), marked[None, :, None])
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


class CrackLesson:
    """Seeing cracks in pieces.

    Parameters
    ----------
    train, tune : sequence of NeckFiles
        Of different patients.
    views : LevelViewSettings
        How their views were made.
    settings : LevelTrainSettings
        Batch (of vertebrae that are opened) and seed.
    """

    def __init__(
        self,
        train: Sequence[NeckFiles],
        tune: Sequence[NeckFiles],
        views: LevelViewSettings,
        settings: LevelTrainSettings,
    ) -> None:
        self._train, self._tune, self._views, self._settings = train, tune, views, settings

    @property
    def is_empty(self) -> bool:
        """Whether it is known of no vertebra, or of none that is held out, where it is broken."""
        return any(not len(CrackPieces(necks, self._views, 0, change=False)) for necks in (self._train, self._tune))

    def examples(self, epoch: int, share: Share = WHOLE) -> Loader:
        """Return an epoch's pieces."""
        seed = self._settings.seed * 100_003 + epoch + 1
        data = CrackPieces(self._train, self._views, seed, change=True)
        return load_batches(data, self._settings, seed, share)

    def tuning(self) -> Loader:
        """Return pieces of the held-out necks, the same in every epoch."""
        return load_batches(CrackPieces(self._tune, self._views, _TUNE_SEED, change=False), self._settings)

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
            TUNE_LOSS: float(np.mean(losses)),
            "piece_auc": auc(np.concatenate(truth).astype(int), np.concatenate(said)),
        }


class CrackNetwork(nn.Module):
    """An encoder that says of pieces which cells are broken.

    Parameters
    ----------
    encoder : ViewEncoder
        Of a `LevelNetwork`.
    """

    def __init__(self, encoder: ViewEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        encoder.vector.requires_grad_(requires_grad=False)  # pieces ask for no vector; torchrun must know

    @staticmethod
    def encoder_of(network: nn.Module) -> dict[str, torch.Tensor]:
        """Return the encoder's weights of a trained one."""
        return {name.removeprefix("encoder."): value for name, value in network.state_dict().items()}

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return logits of cells, (n, rows / 8, columns / 8), of planes, (n, 1, rows, columns)."""
        return self.encoder.mark(planes)[2]
