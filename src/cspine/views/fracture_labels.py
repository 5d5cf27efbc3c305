"""Where a vertebra is broken, by truth, on the cells of its views."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS
from cspine.core.errors import InputError
from cspine.dicom.segmentation import load_segmentation
from cspine.dicom.series import Series
from cspine.dicom.volume import Volume
from cspine.views.level_views import LevelViews, LevelViewSettings, sampled_at

Broken = npt.NDArray[np.uint8]
"""A volume's voxels: 0 where nothing is broken, a vertebra's number where it is, `SOME` where it is not said which."""

SOME: Final = 255

CELL_PIXELS: Final = 4
"""Side of a cell, in pixels of a view: 2.4 mm."""

FractureLabelSource = Callable[[Series, Volume], Broken | None]
"""Returns what is known of a series' volume; None where nothing is."""


def evidence_cells(broken: Broken, inverse_affine: npt.NDArray[np.floating], views: LevelViews) -> Broken:
    """Return the cells of a vertebra's planes in which it is broken.

    Parameters
    ----------
    broken : (k, j, i) uint8
        As `Broken` tells.
    inverse_affine : (4, 4)
        From LPS mm to its voxels.
    views : LevelViews
        The planes.

    Returns
    -------
    (planes, pixels / 4, pixels / 4) uint8
        0 or 1.
    """
    settings, number = views.settings, SEGMENT_NUMBERS[views.level]
    count = settings.pixels // CELL_PIXELS
    cells = np.zeros((len(views.images), count, count), np.uint8)
    there = (broken == number) | (broken == SOME)
    ends = [np.flatnonzero(there.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(ends[0]):
        return cells
    low, high = (np.array([end[last] for end in ends])[:, None, None] for last in (0, -1))
    to_index = inverse_affine @ views.box_lps
    for place, plane in enumerate(settings.planes):
        for places in sampled_at(to_index, plane, settings):
            index = np.rint(places).astype(np.intp)
            near = np.all((index >= low) & (index <= high), axis=0)
            k, j, i = index[:, near]
            hit = np.zeros(near.shape, np.bool_)
            hit[near] = there[k, j, i]
            cells[place] |= hit.reshape(count, CELL_PIXELS, count, CELL_PIXELS).any(axis=(1, 3))
    return cells


@dataclass(frozen=True)
class Segmented:
    """Finds what a label map of fractures says, in the challenge's NIfTI form, vertebrae by `FRACTURE_STEP`."""

    path: Path

    def __call__(self, series: Series, volume: Volume) -> Broken:  # noqa: ARG002 - the map says itself where it lies
        """Return the map on the volume's voxels; raises LabelError."""
        values = load_segmentation(self.path, volume)
        return np.where(values == SOME, SOME, values % np.uint8(FRACTURE_STEP))


@dataclass(frozen=True)
class Boxed:
    """Finds what boxes on slices say.

    Attributes
    ----------
    boxes : tuple of (int, int, int, int, int)
        Instance number, and the first and one more than the last row and column.
    """

    boxes: tuple[tuple[int, int, int, int, int], ...]

    @classmethod
    def of(cls, boxes: pd.DataFrame) -> "Boxed":
        """Take a study's rows of `cspine.datasets.rsna2022_labels.read_boxes`."""
        corners = boxes.assign(bottom=boxes["y"] + boxes["height"], right=boxes["x"] + boxes["width"])
        rows = corners[["slice_number", "y", "bottom", "x", "right"]].to_numpy(float)
        rows[:, [1, 3]], rows[:, [2, 4]] = np.floor(rows[:, [1, 3]]), np.ceil(rows[:, [2, 4]])
        low = np.maximum(rows, 0).astype(int).tolist()
        return cls(tuple((number, top, bottom, left, right) for number, top, bottom, left, right in low))

    def __call__(self, series: Series, volume: Volume) -> Broken | None:
        """Return the boxes on the volume's voxels; None where slices were moved to make the volume."""
        headers = [series.headers[index] for index in series.stack.order]
        if (len(headers), headers[0].rows, headers[0].columns) != volume.spatial_shape:
            return None
        place = {header.instance_number: number for number, header in enumerate(headers)}
        broken = np.zeros(volume.spatial_shape, np.uint8)
        for number, top, bottom, left, right in self.boxes:
            if number in place:
                broken[place[number], top:bottom, left:right] = SOME
        return broken


def encode_cells(cells: Broken) -> bytes:
    """Return cells as a PNG, a row for each plane."""
    buffer = BytesIO()
    Image.fromarray(cells.reshape(len(cells), -1) * np.uint8(255)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def read_cells(path: Path, settings: LevelViewSettings) -> Broken:
    """Return what `encode_cells` wrote.

    Raises
    ------
    InputError
        The file is missing or damaged, or of other views.
    """
    count = settings.pixels // CELL_PIXELS
    shape = (len(settings.planes), count, count)
    try:
        with Image.open(path) as image:
            cells = np.asarray(image.convert("L"))
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as PNG; delete its record and compile again") from error
    if cells.size != np.prod(shape):
        raise InputError(f"{path}: belongs to other views; compile the study again")
    return (cells.reshape(shape) > 0).astype(np.uint8)
