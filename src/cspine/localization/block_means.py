"""Means over blocks of voxels: the first step of every resampling to coarser voxels."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.processors import default_workers
from cspine.core.typing import Floats, Floats32, HounsfieldUnits, Indices

_SAMPLES: Final = 3
"""Voxels per block along each axis, about, whose mean stands for the block; more cost time and only reduce noise."""

_THREADED_VOXELS: Final = 4_000_000
"""Volumes up to this size are averaged in one thread."""


def block_means(hu: HounsfieldUnits, affine_lps: Floats, block_mm: float) -> tuple[Floats32, Floats]:
    """Return the means over blocks of voxels up to a size, and their affine.

    Parameters
    ----------
    hu : (k, j, i) int16
        Hounsfield units.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    block_mm : float
        Side of a block; voxels that are as large stay as they are. The last blocks are padded by repetition.

    Returns
    -------
    means : (k, j, i) float32
    affine_lps : (4, 4)
    """
    spacing = np.linalg.norm(affine_lps[:3, :3], axis=0)
    factors = np.minimum(np.maximum((block_mm / spacing + 0.01).astype(int), 1), hu.shape)
    steps = np.maximum((factors + 1) // _SAMPLES, 1)
    counts = -(-factors // steps)
    n_planes = int(factors[0])
    starts = range(0, len(hu), n_planes)
    shape = tuple(-(-count // factor) for count, factor in zip(hu.shape, factors.tolist(), strict=True))
    means = np.empty(shape, np.float32)

    def average(number: int) -> None:
        planes = hu[starts[number] : starts[number] + n_planes : steps[0]]
        means[number] = _plane_means(planes, factors[1:], steps[1:])

    _for_each(average, len(means), is_threaded=hu.size > _THREADED_VOXELS)
    affine = affine_lps.copy()
    affine[:3, 3] += affine[:3, :3] @ ((counts - 1) * steps / 2)
    affine[:3, :3] *= factors
    return means, affine


def _for_each(work: Callable[[int], None], count: int, *, is_threaded: bool) -> None:
    n_threads = default_workers() if is_threaded else 1
    if n_threads == 1:
        for number in range(count):
            work(number)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, range(count)))


def _plane_means(planes: HounsfieldUnits, factors: Indices, steps: Indices) -> Floats32:
    """Return the means over all planes and over every `steps`-th voxel of blocks of `factors` voxels within them."""
    (rows, columns), (row_step, column_step) = factors.tolist(), steps.tolist()
    height, width = planes.shape[1:]
    n_rows, n_columns = -(-height // rows), -(-width // columns)
    summed = np.zeros((n_rows, width), np.int32)
    for offset in range(0, rows, row_step):
        for plane in planes:
            _add_every(summed, plane, rows, offset)
    total = np.zeros((n_columns, n_rows), np.int32)
    for offset in range(0, columns, column_step):
        _add_every(total, summed.T, columns, offset)
    n_samples = len(planes) * len(range(0, rows, row_step)) * len(range(0, columns, column_step))
    return np.asarray(total.T / np.float32(n_samples), np.float32)


def _add_every(total: npt.NDArray[np.int32], values: npt.NDArray[np.integer], step: int, offset: int) -> None:
    """Add every `step`-th of values along their first axis, from an offset on; the last one where they end before."""
    every = values[offset::step]
    total[: len(every)] += every
    total[len(every) :] += values[-1]
