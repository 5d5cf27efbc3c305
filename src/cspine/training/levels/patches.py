"""Patches of single planes: what those of vertebrae and those of any bone share."""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cspine.core.typing import Floats, Floats32
from cspine.training.levels.augmentation import Views, augment
from cspine.training.levels.dataset import CELL_POOLING
from cspine.training.task import Batch
from cspine.views.level_views import LevelViewSettings

_MAX_PATCH_PIXELS: Final = 48
"""Rows and columns of a patch, unless the views are smaller: 29 mm."""

PATCHES_PER_FRACTURE: Final = 8
"""Patches of each fracture: reading a vertebra's file takes longer than cutting them."""

_MAX_SHIFT: Final = 1 / 3
"""Distance of the fracture from the patch's center, at most, as a fraction of the patch."""


def patch_pixels(settings: LevelViewSettings) -> int:
    """Return the rows and columns of a patch."""
    return min(_MAX_PATCH_PIXELS, settings.pixels)


def draw_shift(rng: np.random.Generator, size: float) -> Floats:
    """Draw the distance of a patch's center from the fracture along rows and columns, (2,), in units of `size`."""
    return rng.uniform(-_MAX_SHIFT, _MAX_SHIFT, 2) * size


def patch_batch(images: Floats32, cells: Floats32, planes: npt.NDArray[np.int64], seed: int | None) -> Batch:
    """Return patches as an example of the task.

    Parameters
    ----------
    images : (p, n, n) float32
        Gray values from 0 to 1.
    cells : (p, n / 4, n / 4) float32
        1 in cells that a fracture crosses.
    planes : (p,) int
        Orientation of each patch, an index of `cspine.views.level_views.PLANES`.
    seed : int or None
        Seed of their augmentation; None for none.

    Returns
    -------
    dict of Tensor
        planes (p, 1, n, n), and cells (p, n / 8, n / 8).
    """
    shown, marked = (torch.from_numpy(part)[None, :, None] for part in (images, cells))
    views = Views(shown, torch.from_numpy(planes), torch.zeros(len(planes)), marked)
    if seed is not None:
        views = augment(views, torch.Generator().manual_seed(seed))
    return {"planes": views.images[0], "cells": nn.functional.max_pool2d(views.cells[0, :, 0], CELL_POOLING)}
