"""The original axial slice at the location with the strongest evidence for a fracture."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from cspine.core.findings import PointMm, SlicePosition
from cspine.core.typing import Grays
from cspine.dicom.hounsfield import AIR_HU
from cspine.dicom.read_planes import read_slice
from cspine.dicom.series import Series
from cspine.views.sagittal import encode_jpeg
from cspine.views.window import Window, to_gray

CROP_MM: Final = 110.0
"""Side of the square crop: it holds a vertebra with its processes and the vertebral arteries beside it."""

CROP_PIXELS: Final = 330
"""Rows and columns of the crop after resampling."""

_JPEG_QUALITY: Final = 85


@dataclass(frozen=True)
class AxialCrop:
    """A square part of a slice, centered on a location.

    Attributes
    ----------
    gray : (CROP_PIXELS, CROP_PIXELS) uint8
        Gray values in the bone window.
    x, y : float
        The location in pixels of the crop, from its left and upper edge.
    sides : (str, str)
        The sides of the patient at the left and the right edge: R, L, A, P, H or F.
    """

    gray: Grays
    x: float
    y: float
    sides: tuple[str, str]

    @property
    def jpeg(self) -> bytes:
        """The gray values as JPEG."""
        return encode_jpeg(self.gray, _JPEG_QUALITY)


def axial_crop(series: Series, point_lps_mm: PointMm, location: SlicePosition) -> AxialCrop:
    """Return the part of a slice around a location.

    Parameters
    ----------
    series : Series
        The series from which the findings were made.
    point_lps_mm : (float, float, float)
        The location in LPS mm. The slice is found by it, since UIDs and numbers of slices need not be unique.
    location : SlicePosition
        Row and column of the same location.

    Returns
    -------
    AxialCrop

    Raises
    ------
    DecodeError
        The slice cannot be decoded.
    """
    hu = read_slice(series.nearest_slice(np.array(point_lps_mm)))
    row_mm, column_mm = series.stack.pixel_spacing_mm
    half = np.array([CROP_MM / 2 / row_mm, CROP_MM / 2 / column_mm])
    center = np.array([location.row, location.column])
    low = np.floor(center - half).astype(int)
    size = np.ceil(2 * half).astype(int)
    crop = np.full(tuple(size.tolist()), AIR_HU, np.int16)
    inside = [
        slice(max(int(a), 0), max(min(int(a + n), side), 0)) for a, n, side in zip(low, size, hu.shape, strict=True)
    ]
    pixels = hu[inside[0], inside[1]]
    row, column = (part.start - int(first) for part, first in zip(inside, low, strict=True))
    crop[row : row + pixels.shape[0], column : column + pixels.shape[1]] = pixels
    gray = Image.fromarray(to_gray(crop.astype(np.float32), Window()))
    resampled = np.asarray(gray.resize((CROP_PIXELS, CROP_PIXELS), Image.Resampling.BICUBIC))
    y, x = ((center - low + 0.5) * CROP_PIXELS / size).tolist()
    return AxialCrop(resampled, x, y, _sides(series))


def _sides(series: Series) -> tuple[str, str]:
    """Return the sides of the patient at the first and the last column."""
    direction = np.asarray(series.stack.row_direction)
    axis = int(np.abs(direction).argmax())
    names = ("RL", "AP", "FH")[axis]  # LPS coordinates grow to the left, to the back and to the head
    return (names[0], names[1]) if direction[axis] > 0 else (names[1], names[0])
