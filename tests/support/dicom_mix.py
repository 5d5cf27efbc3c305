"""Write two or more stacks of slices under one series UID, in one folder, in a random order of file names."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from cspine.core.errors import CspineError
from cspine.core.typing import HounsfieldUnits
from cspine.dicom import discover
from cspine.dicom.loading import open_series
from cspine.dicom.series import Series
from tests.support.dicom import make_hu, write_series

HU = make_hu((12, 10, 14))
"""A first stack of slices."""

OTHERS: Sequence[HounsfieldUnits] = [np.asarray(HU // n + n, dtype=np.int16) for n in (2, 3, 4)]
"""Further stacks with other pixels at the same places."""

Change = Callable[[Dataset, int], Dataset | None]


def tags(**values: Any) -> Change:
    """Return a change of a slice's data set: sets each attribute, also by a function of k, or removes it (None)."""

    def change(dataset: Dataset, k: int) -> Dataset:
        for keyword, value in values.items():
            each = value(k) if callable(value) else value
            if each is not None:
                setattr(dataset, keyword, each)
            elif keyword in dataset:
                delattr(dataset, keyword)
        return dataset

    return change


def write_mixed(
    folder: Path, *changes: Change, stacks: Sequence[HounsfieldUnits] = (HU, *OTHERS), seed: int = 1
) -> Path:
    """Write one stack for each change under one series UID, and return the folder."""
    paths = [
        path
        for number, (change, hu) in enumerate(zip(changes, stacks, strict=False))
        for path in write_series(folder / f"{number}", hu, change=change)
    ]
    names = list(range(len(paths)))
    random.Random(seed).shuffle(names)
    for name, path in zip(names, paths, strict=True):
        path.rename(folder / f"{name:04d}.dcm")
    for number in range(len(changes)):
        (folder / f"{number}").rmdir()
    return folder


def series_of(folder: Path) -> list[Series]:
    """Return every series of every study of a folder."""
    return [series for study in discover(folder).studies for series in study.series]


def stacks_of(folder: Path) -> list[int | str]:
    """Return for each series the number of the stack that it holds slice by slice, or why it cannot be read."""
    return sorted((_stack_of(series) for series in series_of(folder)), key=str)


def _stack_of(series: Series) -> int | str:
    try:
        hu = open_series(series).load().array
    except CspineError as error:
        return str(error)
    matches = [number for number, stack in enumerate((HU, *OTHERS)) if np.array_equal(hu, stack)]
    return matches[0] if matches else f"a mixture of {len(hu)} slices"
