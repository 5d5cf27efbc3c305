"""The axial slice, as it is stored, at the place that speaks most for a fracture."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from cspine.core.findings import SlicePlace
from cspine.dicom.codec.pixels import AIR_HU
from cspine.dicom.read_planes import read_slice
from cspine.dicom.series import Series
from cspine.views.sagittal import encode_jpeg
from cspine.views.window import Window, to_grey

SIDE_MM: Final = 110.0
"""Of the square that is shown: a vertebra with its processes, and the vessels beside it."""

PIXELS: Final = 330

_QUALITY: Final = 85


@dataclass(frozen=True)
class AxialPicture:
    """A part of a slice about a place.

    Attributes
    ----------
    jpeg : bytes
        Grey, `PIXELS` wide and high, bone window.
    x, y : float
        Where the place is seen, in pixels of the picture.
    sides : (str, str)
        What of the patient lies left and right in the picture: R, L, A, P, H or F.
    """

    jpeg: bytes
    x: float
    y: float
    sides: tuple[str, str]


def axial_picture(series: Series, place: SlicePlace) -> AxialPicture | None:
    """Return the slice about a place; None where the series does not hold that slice.

    Parameters
    ----------
    series : Series
        That was read.
    place : SlicePlace
        Of its evidence.

    Raises
    ------
    DecodeError
        The slice cannot be decoded.
    """
    known = ((each.sop_instance_uid, each.frame + 1, each) for each in series.headers)
    header = next((each for uid, frame, each in known if (uid, frame) == (place.sop_instance_uid, place.frame)), None)
    if header is None:
        return None
    hu = read_slice(header)
    row_mm, column_mm = series.stack.pixel_spacing_mm
    half = np.array([SIDE_MM / 2 / row_mm, SIDE_MM / 2 / column_mm])
    middle = np.array([place.row, place.column])
    low = np.floor(middle - half).astype(int)
    size = np.ceil(2 * half).astype(int)
    shown = np.full(tuple(size.tolist()), AIR_HU, np.int16)
    inside = [
        slice(max(int(a), 0), max(min(int(a + n), side), 0)) for a, n, side in zip(low, size, hu.shape, strict=True)
    ]
    part = hu[inside[0], inside[1]]
    at = [part_.start - int(start) for part_, start in zip(inside, low, strict=True)]
    shown[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]] = part
    grey = Image.fromarray(to_grey(shown.astype(np.float32), Window()))
    picture = np.asarray(grey.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC))
    y, x = ((middle - low + 0.5) * PIXELS / size).tolist()
    return AxialPicture(encode_jpeg(picture, _QUALITY), x, y, _sides(series))


def _sides(series: Series) -> tuple[str, str]:
    """Return which side of the patient columns come from and go to."""
    along = np.asarray(series.stack.row_direction)
    axis = int(np.abs(along).argmax())
    names = ("RL", "AP", "FH")[axis]  # LPS grows to the left, the back and the head
    return (names[0], names[1]) if along[axis] > 0 else (names[1], names[0])
