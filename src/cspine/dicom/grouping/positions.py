"""Positions of images along the normal of their stack: where they repeat, and whether they form one stack."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from cspine.core.typing import Floats
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import (
    EVEN_TOLERANCE_FRACTION,
    EVEN_TOLERANCE_MM,
    MAX_POSITION_MM,
    POSITION_TOLERANCE_MM,
    mean_orientation,
    places,
)

_MIN_REGULAR_FRACTION: Final = 0.8
"""Least fraction of gaps that are one slice spacing in a stack that lost slices; the others are multiples of it."""


def positions_along_mm(headers: Sequence[SliceHeader]) -> Floats:
    """Return the position of each image along the mean normal, in mm; all need a position and an orientation."""
    orientation = mean_orientation(np.array([header.orientation for header in headers]))
    normal = np.cross(orientation[:3], orientation[3:])
    along: Floats = positions_mm(headers) @ normal
    return along


def positions_mm(headers: Sequence[SliceHeader]) -> Floats:
    """Return the position of each image, of shape (n, 3); those out of any scanner are moved to `MAX_POSITION_MM`."""
    positions: Floats = np.array([header.position_mm for header in headers], dtype=np.float64)
    return np.clip(positions, -MAX_POSITION_MM, MAX_POSITION_MM)


def is_stack(along_mm: Floats, union_mm: Floats | None = None) -> bool:
    """Return whether images form one stack: no place twice, and even gaps but for lost slices.

    Parameters
    ----------
    along_mm : (n,) float array
        Positions of the images along their normal.
    union_mm : (m,) float array, optional
        Positions of these and other images. Images that leave out none of these places within their range are a stack,
        too, even if the gaps are uneven.
    """
    sorted_mm = np.sort(along_mm)
    gaps = np.diff(sorted_mm)
    if np.any(gaps < POSITION_TOLERANCE_MM):
        return False
    if len(gaps) < 2:
        return True
    spacing = float(np.median(gaps))
    tolerance = max(EVEN_TOLERANCE_MM, EVEN_TOLERANCE_FRACTION * spacing)
    multiples = np.rint(gaps / spacing)
    is_multiple = (np.abs(gaps - multiples * spacing) <= tolerance * np.maximum(multiples, 1)) & (multiples >= 1)
    if bool(is_multiple.all()) and float(np.mean(multiples == 1)) >= _MIN_REGULAR_FRACTION:
        return True
    if union_mm is None:
        return False
    low, high = sorted_mm[0] - POSITION_TOLERANCE_MM, sorted_mm[-1] + POSITION_TOLERANCE_MM
    within = union_mm[(union_mm > low) & (union_mm < high)]
    return len(places(within)) == len(sorted_mm)


def overlaps_mostly(extent_mm: tuple[float, float], along_mm: Floats) -> bool:
    """Return whether most images lie within an extent, ends included."""
    low, high = extent_mm[0] - POSITION_TOLERANCE_MM, extent_mm[1] + POSITION_TOLERANCE_MM
    return bool(np.mean((along_mm > low) & (along_mm < high)) > 0.5)


def extent_mm(along_mm: Floats) -> tuple[float, float]:
    """Return the lowest and the highest position."""
    return float(along_mm.min()), float(along_mm.max())
