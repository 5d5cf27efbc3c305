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
from cspine.core.errors import InputError, LabelError
from cspine.core.typing import Floats, Grays, Indices, Labels
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.segmentation import load_segmentation
from cspine.dicom.series import Series
from cspine.dicom.volume import Volume
from cspine.views.box_slices import match_slices
from cspine.views.level_views import LevelViews, LevelViewSettings
from cspine.views.plane_sampling import sample_indices

UNSPECIFIED_LEVEL: Final = 255
"""Label of a fractured voxel whose vertebra is not known."""

CELL_PIXELS: Final = 4
"""Side of a cell in pixels of a view; 2.4 mm."""

FractureLabels = Labels
"""Voxels of a volume, (k, j, i): 0 is intact, `SEGMENT_NUMBERS` the fractured vertebra, or `UNSPECIFIED_LEVEL`."""


@dataclass(frozen=True)
class FractureLabeling:
    """The fracture labels of a volume, and what is to be known of them.

    Attributes
    ----------
    labels : (k, j, i) uint8
        As `FractureLabels`.
    warnings : tuple of str
        Sentences about how they were laid on the volume.
    """

    labels: FractureLabels
    warnings: tuple[str, ...] = ()


FractureLabelSource = Callable[[Series, Volume], FractureLabeling]
"""Returns the fracture labels of a series on the voxels of its volume."""


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

    def __call__(self, series: Series, volume: Volume) -> FractureLabeling:  # noqa: ARG002 - it has its own affine
        """Return the mask resampled to the volume's voxels.

        Raises
        ------
        LabelError
            The file cannot be read as a mask, or its fractures lie outside of the volume.
        """
        values = load_segmentation(self.path, volume, is_whole=True)
        return FractureLabeling(
            np.where(values == UNSPECIFIED_LEVEL, UNSPECIFIED_LEVEL, values % np.uint8(FRACTURE_STEP))
        )


@dataclass(frozen=True)
class BoxLabelSource:
    """Turns the challenge's bounding boxes on slices to fracture labels of no known vertebra.

    Attributes
    ----------
    study_instance_uid : str
        The study that the boxes belong to.
    boxes : tuple of (int, int, int, int, int)
        Slice number, first row and the row after the last, first column and the column after the last.
    """

    study_instance_uid: str
    boxes: tuple[tuple[int, int, int, int, int], ...]

    @classmethod
    def of(cls, study_instance_uid: str, boxes: pd.DataFrame) -> "BoxLabelSource":
        """Take the rows of one study of `cspine.datasets.rsna2022_labels.read_boxes`."""
        corners = boxes.assign(bottom=boxes["y"] + boxes["height"], right=boxes["x"] + boxes["width"])
        rows = corners[["slice_number", "y", "bottom", "x", "right"]].to_numpy(float)
        rows[:, [1, 3]], rows[:, [2, 4]] = np.floor(rows[:, [1, 3]]), np.ceil(rows[:, [2, 4]])
        low = np.maximum(rows, 0).astype(int).tolist()
        return cls(study_instance_uid, tuple((number, *rest) for number, *rest in low))

    def __call__(self, series: Series, volume: Volume) -> FractureLabeling:
        """Return the boxes on the volume's voxels, at the positions of their slices.

        Raises
        ------
        LabelError
            Boxes name slices that the series does not have, or lie outside of them.
        """
        numbers = tuple(number for number, *_ in self.boxes)
        try:
            slices, warnings = match_slices(series.headers, numbers)
        except LabelError as error:
            raise self._error(str(error)) from error
        labels = np.zeros(volume.spatial_shape, np.uint8)
        for number, top, bottom, left, right in self.boxes:
            if number not in slices:
                continue
            header = slices[number]
            rows, columns = (
                np.arange(top, min(bottom, header.rows or 0)),
                np.arange(left, min(right, header.columns or 0)),
            )
            j, i = np.meshgrid(rows, columns, indexing="ij")
            index = np.rint(_to_index(header, volume, j.ravel(), i.ravel())).astype(np.intp)
            inside = np.all((index >= 0) & (index < np.array(labels.shape)[:, None]), axis=0)
            if not inside.any():
                raise self._error(f"the box on slice {number} lies outside of the image; check its x and y")
            labels[tuple(index[:, inside])] = UNSPECIFIED_LEVEL
        return FractureLabeling(labels, tuple(f"bounding boxes: {warning}" for warning in warnings))

    def _error(self, problem: str) -> LabelError:
        return LabelError(f"bounding boxes of study {self.study_instance_uid}: {problem}")


def _to_index(header: SliceHeader, volume: Volume, j: Indices, i: Indices) -> Floats:
    """Return the volume's indices, (3, n), of pixels of a slice."""
    along_row, down_column = np.reshape(header.orientation or (0.0,) * 6, (2, 3))
    row_mm, column_mm = header.pixel_spacing_mm or (1.0, 1.0)
    points = (
        np.array(header.position_mm)[:, None] + np.outer(along_row * column_mm, i) + np.outer(down_column * row_mm, j)
    )
    index: Floats = (volume.inverse_affine @ np.vstack([points, np.ones(len(i))]))[:3]
    return index


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
        with path.open("rb") as file, Image.open(file) as image:
            cells = np.asarray(image.convert("L"))
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as PNG; delete its record and compile again") from error
    if cells.size != np.prod(shape):
        raise InputError(f"{path}: belongs to other views; compile the study again")
    return (cells.reshape(shape) > 0).astype(np.uint8)
