"""Necks of a compiled data set, as the level network sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE, Level
from cspine.core.errors import LabelError
from cspine.datasets.compiled import CompiledDataset
from cspine.training.levels.augmentation import Views, augment
from cspine.training.levels.network import STRIDE
from cspine.views.fracture_labels import CELL_PIXELS, read_cells
from cspine.views.level_views import CHANNELS, PLANES, LevelViewSettings, split_mosaic, view_numbers, view_places

POOLED: Final = STRIDE // CELL_PIXELS
"""Cells of truth along a side of one that the network marks."""


@dataclass(frozen=True)
class CaseFiles:
    """Where a neck's views lie, and what is true of it.

    Attributes
    ----------
    study : str
        StudyInstanceUID.
    mosaics : dict
        Level to file, of vertebrae that were found.
    cells : dict
        Level to file, of those that are broken where it is known.
    fracture_types : dict
        Level to kinds of fracture, where they are known.
    truth : (8,) int
        Columns `TARGETS`.
    """

    study: str
    patient: str
    mosaics: dict[str, Path]
    cells: dict[str, Path]
    fracture_types: dict[str, tuple[str, ...]]
    truth: tuple[int, ...]


def list_cases(store: CompiledDataset) -> list[CaseFiles]:
    """Return the labelled necks of a store whose vertebrae have views, sorted by study.

    Raises
    ------
    LabelError
        There are none.
    """
    table = store.levels().dropna(subset=list(TARGETS))
    if table.empty:
        raise LabelError(
            f"{store.folder}: holds no vertebrae with labels; compile a folder with train.csv, without --straight"
        )
    return [_neck(store, str(study), rows) for study, rows in table.groupby("study_instance_uid", sort=True)]


def _neck(store: CompiledDataset, study: str, rows: pd.DataFrame) -> CaseFiles:
    def files(column: str) -> dict[str, Path]:
        known = rows[rows[column].notna()]
        return {str(level): store.folder / str(path) for level, path in zip(known["level"], known[column], strict=True)}

    known = rows[rows["fracture_types"].notna()]
    fracture_types = zip(known["level"], known["fracture_types"], strict=True)
    return CaseFiles(
        study,
        str(rows["patient"].iloc[0]),
        files("path"),
        files("evidence_path"),
        {str(level): tuple(part for part in str(said).split(";") if part) for level, said in fracture_types},
        tuple(int(rows[target].iloc[0]) for target in TARGETS),
    )


def kinds_of(cases: Sequence[CaseFiles]) -> tuple[str, ...]:
    """Return every kind of fracture that is named, sorted."""
    return tuple(
        sorted({kind for case in cases for fracture_types in case.fracture_types.values() for kind in fracture_types})
    )


class LevelData(Dataset[dict[str, torch.Tensor]]):
    """Necks on disk as tensors.

    Parameters
    ----------
    cases : sequence of CaseFiles
        Which.
    settings : LevelViewSettings
        How their views were made.
    fracture_types : tuple of str
        Of `kinds_of`.
    views : (int, int, int) or None
        Sagittal, coronal and axial views to look at; all where None.
    seed : int or None
        Draws which views, and how they are changed, for one epoch; None looks plainly at views spread evenly.
    """

    def __init__(
        self,
        cases: Sequence[CaseFiles],
        settings: LevelViewSettings,
        fracture_types: tuple[str, ...],
        views: tuple[int, int, int] | None,
        seed: int | None,
    ) -> None:
        self.cases, self.settings, self.fracture_types, self.views, self.seed = (
            cases,
            settings,
            fracture_types,
            views,
            seed,
        )

    def __len__(self) -> int:
        """Return the number of necks."""
        return len(self.cases)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Return one neck: images, planes, offsets, present, truth, cells, knows_cells, kinds, knows_kinds."""
        case = self.cases[number]
        chosen = self._chosen(number)
        views = load_views(case, self.settings, chosen)
        if self.seed is not None:
            views = augment(views, torch.Generator().manual_seed(self.seed * 1_000_003 + number))
        truth = dict(zip(TARGETS, case.truth, strict=True))
        # A neighbour's box may reach into a whole vertebra: of such cells nothing is known.
        known = [(level in case.cells) == bool(truth[level]) for level in VERTEBRAE]
        fracture_types = [
            [float(kind in case.fracture_types.get(level, ())) for kind in self.fracture_types] for level in VERTEBRAE
        ]
        return {
            "images": views.images,
            "planes": views.planes,
            "offsets": views.offsets_mm,
            "present": torch.tensor([level in case.mosaics for level in VERTEBRAE]),
            "truth": torch.tensor([truth[OVERALL], *(truth[level] for level in VERTEBRAE)], dtype=torch.float32),
            "cells": _pooled(views.cells),
            "knows_cells": torch.tensor(known),
            "fracture_types": torch.tensor(fracture_types),
            "has_fracture_type": torch.tensor([level in case.fracture_types for level in VERTEBRAE]),
        }

    def _chosen(self, number: int) -> npt.NDArray[np.intp]:
        if self.seed is None or self.views is None:
            return view_numbers(self.settings, self.views)
        rng = np.random.default_rng([self.seed, number])
        chosen, start = [], 0
        for plane, wanted in zip(PLANES, self.views, strict=True):
            there = int(getattr(self.settings, plane))
            chosen.append(start + np.sort(rng.permutation(there)[:wanted]))
            start += there
        return np.concatenate(chosen)


def _pooled(cells: torch.Tensor) -> torch.Tensor:
    """Return cells as large as the network's."""
    pooled = nn.functional.max_pool2d(cells.flatten(0, 1), POOLED)
    return pooled.view(*cells.shape[:3], *pooled.shape[2:])


def load_views(case: CaseFiles, settings: LevelViewSettings, chosen: npt.NDArray[np.intp]) -> Views:
    """Read a neck's views from disk; of vertebrae that were not found all is black.

    Raises
    ------
    InputError
        A file is missing or damaged.
    """
    count, size, cells = len(chosen), settings.pixels, settings.pixels // CELL_PIXELS
    images = np.zeros((len(VERTEBRAE), count, CHANNELS, size, size), np.float32)
    broken = np.zeros((len(VERTEBRAE), count, CHANNELS, cells, cells), np.float32)
    own = (CHANNELS * chosen[:, None] + np.arange(CHANNELS)).ravel()
    for number, level in enumerate(VERTEBRAE):
        if level in case.mosaics:
            shown, marked = read_planes(case, level, settings, own)
            images[number] = shown.reshape(count, CHANNELS, size, size)
            broken[number] = marked.reshape(count, CHANNELS, cells, cells)
    planes, offsets = view_places(settings)
    return Views(
        torch.from_numpy(images),
        torch.from_numpy(planes[chosen]),
        torch.from_numpy(offsets[chosen]),
        torch.from_numpy(broken),
    )


def read_planes(
    case: CaseFiles, level: Level, settings: LevelViewSettings, chosen: npt.NDArray[np.intp] | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Read one vertebra's planes from disk.

    Parameters
    ----------
    case : CaseFiles
        Whose.
    level : str
        One of its mosaics.
    settings : LevelViewSettings
        How views were made.
    chosen : (p,) int, optional
        Which planes; all where left out.

    Returns
    -------
    images : (p, rows, columns) float32
        From 0 to 1.
    cells : (p, rows / 4, columns / 4) float32
        1 where it is broken; all 0 where that is not known.

    Raises
    ------
    InputError
        A file is missing or damaged.
    """
    chosen = np.arange(len(settings.planes)) if chosen is None else chosen
    path, count = case.mosaics[level], settings.pixels // CELL_PIXELS
    tiles = split_mosaic(path.read_bytes(), str(path), settings)[chosen]
    images = np.divide(tiles, np.float32(settings.brightest), dtype=np.float32)
    if level not in case.cells:
        return images, np.zeros((len(chosen), count, count), np.float32)
    return images, read_cells(case.cells[level], settings)[chosen].astype(np.float32)
