"""Fracture labels on voxels, and on the cells of a vertebra's planes: the targets of the saliency maps."""

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
from cspine.core.typing import Grays, Labels
from cspine.dicom.segmentation import load_segmentation
from cspine.dicom.series import Series
from cspine.dicom.volume import Volume
from cspine.views.level_views import LevelViews, LevelViewSettings, sample_indices

UNSPECIFIED_LEVEL: Final = 255
"""Label of a fractured voxel whose vertebra is not known."""

CELL_PIXELS: Final = 4
"""Side of a cell in pixels of a view; 2.4 mm."""

FractureLabels = Labels
"""Voxels of a volume, (k, j, i): 0 is intact, `SEGMENT_NUMBERS` the fractured vertebra, or `UNSPECIFIED_LEVEL`."""

FractureLabelSource = Callable[[Series, Volume], FractureLabels | None]
"""Returns the fracture labels of a series on the voxels of its volume; None where none are known."""


def label_cells(labels: FractureLabels, inverse_affine: npt.NDArray[np.floating], views: LevelViews) -> Grays:
    """Return which cells of a vertebra's planes are fractured.

    A cell is fractured where any sample of it falls on a voxel with the vertebra's label, or one of no known vertebra.

    Parameters
    ----------
    labels : (k, j, i) uint8
        The fracture labels of the volume.
    inverse_affine : (4, 4)
        Affine from LPS mm to the volume's voxels.
    views : LevelViews
        Views whose planes are labeled.

    Returns
    -------
    (planes, pixels / 4, pixels / 4) uint8
        1 where fractured, 0 elsewhere.
    """
    settings, number = views.settings, SEGMENT_NUMBERS[views.level]
    count = settings.pixels // CELL_PIXELS
    cells = np.zeros((len(views.images), count, count), np.uint8)
    is_fractured = (labels == number) | (labels == UNSPECIFIED_LEVEL)
    occupied = [np.flatnonzero(is_fractured.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(occupied[0]):
        return cells
    low, high = (np.array([indices[end] for indices in occupied])[:, None, None] for end in (0, -1))
    to_index = inverse_affine @ views.box_lps
    for plane_number, plane in enumerate(settings.planes):
        for samples in sample_indices(to_index, plane, settings):
            index = np.rint(samples).astype(np.intp)
            in_box = np.all((index >= low) & (index <= high), axis=0)
            k, j, i = index[:, in_box]
            hit = np.zeros(in_box.shape, np.bool_)
            hit[in_box] = is_fractured[k, j, i]
            cells[plane_number] |= hit.reshape(count, CELL_PIXELS, count, CELL_PIXELS).any(axis=(1, 3))
    return cells


@dataclass(frozen=True)
class MaskLabelSource:
    """Reads fracture labels from a mask in the challenge's NIfTI form.

    Attributes
    ----------
    path : Path
        NIfTI file in which the fractures of a vertebra are numbered in steps of
        `cspine.core.anatomy.FRACTURE_STEP`.
    """

    path: Path

    def __call__(self, series: Series, volume: Volume) -> FractureLabels:  # noqa: ARG002 - the mask has its own affine
        """Return the mask resampled to the volume's voxels.

        Raises
        ------
        LabelError
            The file cannot be read as a mask.
        """
        values = load_segmentation(self.path, volume)
        return np.where(values == UNSPECIFIED_LEVEL, UNSPECIFIED_LEVEL, values % np.uint8(FRACTURE_STEP))


@dataclass(frozen=True)
class BoxLabelSource:
    """Turns the challenge's bounding boxes on slices to fracture labels of no known vertebra.

    Attributes
    ----------
    boxes : tuple of (int, int, int, int, int)
        Instance number, first row and the row after the last, first column and the column after the last.
    """

    boxes: tuple[tuple[int, int, int, int, int], ...]

    @classmethod
    def of(cls, boxes: pd.DataFrame) -> "BoxLabelSource":
        """Take the rows of one study of `cspine.datasets.rsna2022_labels.read_boxes`."""
        corners = boxes.assign(bottom=boxes["y"] + boxes["height"], right=boxes["x"] + boxes["width"])
        rows = corners[["slice_number", "y", "bottom", "x", "right"]].to_numpy(float)
        rows[:, [1, 3]], rows[:, [2, 4]] = np.floor(rows[:, [1, 3]]), np.ceil(rows[:, [2, 4]])
        low = np.maximum(rows, 0).astype(int).tolist()
        return cls(tuple((number, top, bottom, left, right) for number, top, bottom, left, right in low))

    def __call__(self, series: Series, volume: Volume) -> FractureLabels | None:
        """Return the boxes on the volume's voxels; None where the volume was resampled, so that slices do not match."""
        headers = [series.headers[index] for index in series.stack.order]
        if (len(headers), headers[0].rows, headers[0].columns) != volume.spatial_shape:
            return None
        slice_of = {header.instance_number: k for k, header in enumerate(headers)}
        labels = np.zeros(volume.spatial_shape, np.uint8)
        for number, top, bottom, left, right in self.boxes:
            if number in slice_of:
                labels[slice_of[number], top:bottom, left:right] = UNSPECIFIED_LEVEL
        return labels


def encode_cells(cells: Grays) -> bytes:
    """Return cells, (planes, rows, columns), as a PNG with a row for each plane."""
    buffer = BytesIO()
    Image.fromarray(cells.reshape(len(cells), -1) * np.uint8(255)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def read_cells(path: Path, settings: LevelViewSettings) -> Grays:
    """Read cells that `encode_cells` wrote, (planes, rows, columns).

    Raises
    ------
    InputError
        The file is missing or damaged, or belongs to views of other settings.
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
