"""Cases of a compiled data set as the level network's examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE, Level
from cspine.core.errors import LabelError
from cspine.core.typing import Floats32, Indices
from cspine.datasets.compiled import CompiledDataset
from cspine.training.levels.augmentation import Views, augment
from cspine.training.levels.network import STRIDE
from cspine.training.task import Batch
from cspine.views.fracture_labels import CELL_PIXELS, read_cells
from cspine.views.level_views import CHANNELS, PLANES, LevelViewSettings, split_mosaic, view_geometry, view_indices

CELL_POOLING: Final = STRIDE // CELL_PIXELS
"""Compiled cells along a side of one of the network's cells."""


@dataclass(frozen=True)
class CaseFiles:
    """Files and labels of a case.

    Attributes
    ----------
    study : str
        StudyInstanceUID of the study.
    patient : str
        Pseudonym of the patient.
    mosaics : dict of str to Path
        Views of each vertebra that was localized.
    cells : dict of str to Path
        Cells that a fracture crosses, of fractured vertebrae where they are known.
    fracture_types : dict of str to tuple of str
        Fracture types of each vertebra, where they are known.
    truth : (8,) int
        0 or 1, columns `TARGETS`.
    """

    study: str
    patient: str
    mosaics: dict[str, Path]
    cells: dict[str, Path]
    fracture_types: dict[str, tuple[str, ...]]
    truth: tuple[int, ...]


def list_cases(dataset: CompiledDataset) -> list[CaseFiles]:
    """Return the labeled cases of a data set that have vertebrae with views, sorted by study.

    Parameters
    ----------
    dataset : CompiledDataset
        Studies compiled with views of vertebrae.

    Raises
    ------
    LabelError
        There are none.
    """
    table = dataset.levels().dropna(subset=list(TARGETS))
    if table.empty:
        raise LabelError(
            f"{dataset.folder}: holds no vertebrae with labels; compile a folder with train.csv, without --straight"
        )
    return [_case_files(dataset, str(study), rows) for study, rows in table.groupby("study_instance_uid", sort=True)]


def _case_files(dataset: CompiledDataset, study: str, rows: pd.DataFrame) -> CaseFiles:
    def files(column: str) -> dict[str, Path]:
        present = rows[rows[column].notna()]
        paths = zip(present["level"], present[column], strict=True)
        return {str(level): dataset.folder / str(path) for level, path in paths}

    typed = rows[rows["fracture_types"].notna()]
    fracture_types = zip(typed["level"], typed["fracture_types"], strict=True)
    return CaseFiles(
        study,
        str(rows["patient"].iloc[0]),
        files("path"),
        files("cells_path"),
        {str(level): tuple(name for name in str(joined).split(";") if name) for level, joined in fracture_types},
        tuple(int(rows[target].iloc[0]) for target in TARGETS),
    )


def fracture_types_of(cases: Sequence[CaseFiles]) -> tuple[str, ...]:
    """Return every fracture type in the labels of cases, sorted."""
    return tuple(sorted({name for case in cases for names in case.fracture_types.values() for name in names}))


class LevelDataset(Dataset[Batch]):
    """Cases on disk as tensors.

    Parameters
    ----------
    cases : sequence of CaseFiles
        Files and labels of the studies.
    settings : LevelViewSettings
        How their views were compiled.
    fracture_types : tuple of str
        Fracture types, in the order of the network's outputs.
    views : (int, int, int) or None
        Number of sagittal, coronal and axial views to load; all compiled ones where None.
    seed : int or None
        Draws the views and their augmentation for one epoch; None loads evenly spread views without augmentation.
    """

    def __init__(
        self,
        cases: Sequence[CaseFiles],
        settings: LevelViewSettings,
        fracture_types: tuple[str, ...],
        views: tuple[int, int, int] | None,
        seed: int | None,
    ) -> None:
        self.cases, self.settings, self.fracture_types = cases, settings, fracture_types
        self.views, self.seed = views, seed

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.cases)

    def __getitem__(self, number: int) -> Batch:
        """Return a case.

        Its tensors are images, planes, offsets and present (the network's inputs), truth (8,), cells and has_cells
        (7,), fracture_types (7, types) and has_fracture_type (7,).
        """
        case = self.cases[number]
        views = load_views(case, self.settings, self._view_indices(number))
        if self.seed is not None:
            views = augment(views, torch.Generator().manual_seed(self.seed * 1_000_003 + number))
        truth = dict(zip(TARGETS, case.truth, strict=True))
        # The box of a neighbor's fracture may reach into an intact vertebra: its cells are then unknown.
        has_cells = [(level in case.cells) == bool(truth[level]) for level in VERTEBRAE]
        fracture_types = [
            [float(name in case.fracture_types.get(level, ())) for name in self.fracture_types] for level in VERTEBRAE
        ]
        return {
            "images": views.images,
            "planes": views.planes,
            "offsets": views.offsets_mm,
            "present": torch.tensor([level in case.mosaics for level in VERTEBRAE]),
            "truth": torch.tensor([truth[OVERALL], *(truth[level] for level in VERTEBRAE)], dtype=torch.float32),
            "cells": _pool_cells(views.cells),
            "has_cells": torch.tensor(has_cells),
            "fracture_types": torch.tensor(fracture_types),
            "has_fracture_type": torch.tensor([level in case.fracture_types for level in VERTEBRAE]),
        }

    def _view_indices(self, number: int) -> Indices:
        if self.seed is None or self.views is None:
            return view_indices(self.settings, self.views)
        rng = np.random.default_rng([self.seed, number])
        indices, first = [], 0
        for plane, count in zip(PLANES, self.views, strict=True):
            compiled = int(getattr(self.settings, plane))
            indices.append(first + np.sort(rng.permutation(compiled)[:count]))
            first += compiled
        return np.concatenate(indices)


def _pool_cells(cells: torch.Tensor) -> torch.Tensor:
    """Return cells of the network's size."""
    pooled = nn.functional.max_pool2d(cells.flatten(0, 1), CELL_POOLING)
    return pooled.view(*cells.shape[:3], *pooled.shape[2:])


def load_views(case: CaseFiles, settings: LevelViewSettings, indices: Indices) -> Views:
    """Read a case's views from disk; those of vertebrae that were not localized are black.

    Parameters
    ----------
    case : CaseFiles
        Files and labels of one study.
    settings : LevelViewSettings
        How its views were compiled.
    indices : (v,) int
        Which of the compiled views.

    Raises
    ------
    InputError
        A file is missing or damaged.
    """
    count, size, side = len(indices), settings.pixels, settings.pixels // CELL_PIXELS
    images = np.zeros((len(VERTEBRAE), count, CHANNELS, size, size), np.float32)
    cells = np.zeros((len(VERTEBRAE), count, CHANNELS, side, side), np.float32)
    plane_indices = (CHANNELS * indices[:, None] + np.arange(CHANNELS)).ravel()
    for number, level in enumerate(VERTEBRAE):
        if level in case.mosaics:
            level_images, level_cells = read_planes(case, level, settings, plane_indices)
            images[number] = level_images.reshape(count, CHANNELS, size, size)
            cells[number] = level_cells.reshape(count, CHANNELS, side, side)
    planes, offsets = view_geometry(settings)
    return Views(
        torch.from_numpy(images),
        torch.from_numpy(planes[indices]),
        torch.from_numpy(offsets[indices]),
        torch.from_numpy(cells),
    )


def read_planes(
    case: CaseFiles, level: Level, settings: LevelViewSettings, indices: Indices | None = None
) -> tuple[Floats32, Floats32]:
    """Read planes of one vertebra from disk.

    Parameters
    ----------
    case : CaseFiles
        Files and labels of one study.
    level : str
        A level that has a mosaic.
    settings : LevelViewSettings
        How its views were compiled.
    indices : (p,) int, optional
        Which planes; all where None.

    Returns
    -------
    images : (p, rows, columns) float32
        Gray values from 0 to 1.
    cells : (p, rows / 4, columns / 4) float32
        1 in cells that a fracture crosses; all 0 where they are not known.

    Raises
    ------
    InputError
        A file is missing or damaged.
    """
    indices = np.arange(len(settings.planes)) if indices is None else indices
    path, side = case.mosaics[level], settings.pixels // CELL_PIXELS
    tiles = split_mosaic(path.read_bytes(), str(path), settings)[indices]
    images = np.divide(tiles, np.float32(settings.max_gray), dtype=np.float32)
    if level not in case.cells:
        return images, np.zeros((len(indices), side, side), np.float32)
    return images, read_cells(case.cells[level], settings)[indices].astype(np.float32)
