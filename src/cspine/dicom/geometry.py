"""Geometry of a stack of slices: order, gaps, tilt and the affine. NumPy only, independent of files.

Indices are ``[k, j, i]``: slice, row, column. Positions are LPS in mm (x to the left, y to the back, z to the head).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.errors import GeometryError
from cspine.core.typing import Floats, Indices

POSITION_TOLERANCE_MM: Final = 0.01
"""Slices closer than this along the normal have the same position: one of them is a duplicate."""

EVEN_TOLERANCE_MM: Final = 0.05
"""Gaps that differ less than this from their median are even: the header rounds positions."""

EVEN_TOLERANCE_FRACTION: Final = 0.02
"""The same tolerance as a fraction of the median gap; the larger of both applies."""

MAX_STRAIGHT_TILT_DEG: Final = 0.2
"""A stack that is tilted by less than this is straight."""

MAX_ORIENTATION_JITTER_DEG: Final = 0.5
"""Most by which the orientation of a slice may differ from the mean of its stack: 1.1 mm at the edge of a neck."""

_MAX_COSINE: Final = 10.0
"""Larger direction cosines are cut to this, so that invalid ones do not overflow; `check_orientation` rejects them."""

MAX_POSITION_MM: Final = 100_000.0
"""Largest coordinate of a slice that is plausible."""


@dataclass(frozen=True)
class Stack:
    """Geometry of one stack of parallel slices, sorted along its normal.

    Attributes
    ----------
    order : (n,) integer array
        Input index of each sorted slice, without duplicates.
    duplicates : tuple of (int, int)
        Pairs (removed, kept) of input indices of slices at the same position.
    origin_mm : (3,) float array
        LPS position of the first pixel of the first sorted slice.
    row_direction, column_direction, normal : (3,) float array
        LPS unit vectors along a row (i grows), down a column (j grows), and their cross product (k grows).
    pixel_spacing_mm : (float, float)
        Distance between rows, and between columns.
    along_mm : (n,) float array
        Distance of each sorted slice from the first along the normal.
    drift_mm : (n, 2) float array
        In-plane offset of each sorted slice from the first, along the row and down the column.
    """

    order: Indices
    duplicates: tuple[tuple[int, int], ...]
    origin_mm: Floats
    row_direction: Floats
    column_direction: Floats
    normal: Floats
    pixel_spacing_mm: tuple[float, float]
    along_mm: Floats
    drift_mm: Floats

    @property
    def gaps_mm(self) -> Floats:
        """Distances between neighboring slices along the normal, shape (n - 1,)."""
        return np.diff(self.along_mm)

    @property
    def spacing_mm(self) -> float:
        """The median gap; 1 for a single slice, whose spacing is unknown."""
        return float(np.median(self.gaps_mm)) if len(self.along_mm) > 1 else 1.0

    @property
    def shear(self) -> Floats:
        """In-plane drift per mm along the normal, along the row and down the column: median over neighboring slices."""
        if len(self.along_mm) < 2:
            return np.zeros(2)
        shear: Floats = np.median(np.diff(self.drift_mm, axis=0) / self.gaps_mm[:, None], axis=0)
        return shear

    @property
    def tilt_deg(self) -> float:
        """Gantry tilt: the angle between the line through the slices' positions and their normal, in degrees."""
        return float(np.degrees(np.arctan(np.linalg.norm(self.shear))))

    def widest_jump(self) -> tuple[int, float]:
        """Return the sorted index before the largest in-plane step that tilt does not explain, and the step in mm."""
        if len(self.along_mm) < 2:
            return 0, 0.0
        steps = np.diff(self.drift_mm, axis=0) - self.gaps_mm[:, None] * self.shear
        sizes = np.linalg.norm(steps, axis=1)
        index = int(np.argmax(sizes))
        return index, float(sizes[index])

    @property
    def is_straight(self) -> bool:
        """Whether all slices lie over each other, within `MAX_STRAIGHT_TILT_DEG` and half a pixel."""
        if self.tilt_deg > MAX_STRAIGHT_TILT_DEG:
            return False
        return bool(np.abs(self.drift_mm).max(initial=0.0) <= 0.5 * min(self.pixel_spacing_mm))

    @property
    def is_even(self) -> bool:
        """Whether all gaps are equal within `EVEN_TOLERANCE_MM` or `EVEN_TOLERANCE_FRACTION`."""
        tolerance = max(EVEN_TOLERANCE_MM, EVEN_TOLERANCE_FRACTION * self.spacing_mm)
        if np.any(np.abs(self.gaps_mm - self.spacing_mm) > tolerance):
            return False
        # Small differences of one sign add up: each slice must lie near its position in an even stack.
        even = np.linspace(0.0, self.along_mm[-1], len(self.along_mm))
        return bool(np.abs(self.along_mm - even).max(initial=0.0) <= 2.0 * tolerance)

    def widest_gap(self) -> tuple[int, float]:
        """Return the sorted index before the widest gap, and the gap in mm."""
        index = int(np.argmax(self.gaps_mm))
        return index, float(self.gaps_mm[index])

    def affine_lps(self, spacing_mm: float | None = None, drift_origin_mm: tuple[float, float] = (0.0, 0.0)) -> Floats:
        """Return the affine of the straight stack.

        Parameters
        ----------
        spacing_mm : float, optional
            Slice spacing; by default the mean gap, with which the last slice keeps its position.
        drift_origin_mm : (float, float)
            In-plane offset of the first pixel from `origin_mm`, along the row and down the column.

        Returns
        -------
        (4, 4) float array
            Maps ``[k, j, i, 1]`` to LPS mm.
        """
        count = len(self.along_mm)
        if spacing_mm is None:
            spacing_mm = float(self.along_mm[-1]) / (count - 1) if count > 1 else 1.0
        affine = np.eye(4)
        affine[:3, 0] = self.normal * spacing_mm
        affine[:3, 1] = self.column_direction * self.pixel_spacing_mm[0]
        affine[:3, 2] = self.row_direction * self.pixel_spacing_mm[1]
        affine[:3, 3] = (
            self.origin_mm + drift_origin_mm[0] * self.row_direction + drift_origin_mm[1] * self.column_direction
        )
        return affine


def stack_slices(
    positions_mm: npt.ArrayLike, orientation: npt.ArrayLike, pixel_spacing_mm: tuple[float, float]
) -> Stack:
    """Sort slices along their normal and measure their geometry.

    Parameters
    ----------
    positions_mm : (n, 3) array-like
        ImagePositionPatient of each slice.
    orientation : (6,) array-like
        ImageOrientationPatient, common to all slices.
    pixel_spacing_mm : (float, float)
        PixelSpacing: distance between rows, and between columns.

    Returns
    -------
    Stack

    Raises
    ------
    GeometryError
        The direction cosines are not two perpendicular unit vectors, the spacing is not positive, or a position is
        implausibly far from the origin.
    """
    positions = np.asarray(positions_mm, dtype=np.float64).reshape(-1, 3)
    row, column = check_orientation(orientation)
    if not all(0.0 < spacing < 100.0 for spacing in pixel_spacing_mm):
        raise GeometryError(f"PixelSpacing is {pixel_spacing_mm} mm, which no CT has; have the files exported again")
    if np.abs(positions).max(initial=0.0) > MAX_POSITION_MM:
        raise GeometryError("ImagePositionPatient lies over 100 m from the origin; have the files exported again")
    normal = np.cross(row, column)
    along = positions @ normal
    at_places = [indices.tolist() for indices in places(along)]
    kept = [indices[0] for indices in at_places]
    duplicates = [(index, indices[0]) for indices in at_places for index in indices[1:]]
    offsets = positions[kept] - positions[kept[0]]
    return Stack(
        order=np.asarray(kept, dtype=np.intp),
        duplicates=tuple(duplicates),
        origin_mm=positions[kept[0]],
        row_direction=row,
        column_direction=column,
        normal=normal,
        pixel_spacing_mm=pixel_spacing_mm,
        along_mm=offsets @ normal,
        drift_mm=np.stack([offsets @ row, offsets @ column], axis=1),
    )


def places(along_mm: Floats) -> list[Indices]:
    """Return the indices of the slices at each place along a normal, in the order of the places.

    Parameters
    ----------
    along_mm : (n,) float array
        Positions along the normal, in mm.

    Returns
    -------
    list of integer arrays
        The first index of each is that of the lowest position; the others differ by less than `POSITION_TOLERANCE_MM`.
    """
    order = np.argsort(along_mm, kind="stable")
    starts, first_mm = list[int](), -np.inf
    for index, position_mm in enumerate(along_mm[order].tolist()):
        if position_mm - first_mm >= POSITION_TOLERANCE_MM:
            starts.append(index)
            first_mm = position_mm
    return np.split(order, starts[1:])


def mean_orientation(orientations: npt.ArrayLike) -> Floats:
    """Return the mean orientation of slices, where each writes its own direction cosines.

    Parameters
    ----------
    orientations : (n, 6) array-like
        ImageOrientationPatient of each slice.

    Returns
    -------
    (6,) float array
        That of the first slice, unchanged, where all are equal.
    """
    each = np.clip(np.asarray(orientations, dtype=np.float64).reshape(-1, 6), -_MAX_COSINE, _MAX_COSINE)
    first: Floats = each[0]
    if not np.any(each != first):
        return first
    mean = each.mean(axis=0).reshape(2, 3)
    lengths = np.linalg.norm(first.reshape(2, 3), axis=1, keepdims=True)
    scaled: Floats = (mean * lengths / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)).reshape(6)
    return scaled


def orientation_jitter_deg(orientations: npt.ArrayLike) -> Floats:
    """Return the angle in degrees by which each slice's row or column deviates from the mean orientation.

    Parameters
    ----------
    orientations : (n, 6) array-like
        ImageOrientationPatient of each slice.

    Returns
    -------
    (n,) float array
        The larger of the two angles.
    """
    each = np.clip(np.asarray(orientations, dtype=np.float64).reshape(-1, 2, 3), -_MAX_COSINE, _MAX_COSINE)
    mean = mean_orientation(each).reshape(2, 3)
    sines = np.linalg.norm(np.cross(each, mean), axis=2)
    angles: Floats = np.degrees(np.arctan2(sines, np.sum(each * mean, axis=2))).max(axis=1)
    return angles


def check_orientation(orientation: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the row and column directions as perpendicular unit vectors.

    Parameters
    ----------
    orientation : (6,) array-like
        ImageOrientationPatient: direction cosines along a row, then down a column.

    Returns
    -------
    row_direction, column_direction : (3,) float array
        LPS unit vectors, made exactly perpendicular.

    Raises
    ------
    GeometryError
        The vectors are not of unit length, or not perpendicular, within 1 %.
    """
    row, column = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm([row, column], axis=1)
    if np.any(np.abs(lengths - 1.0) > 0.01) or abs(float(row @ column)) > 0.01:
        raise GeometryError(
            "ImageOrientationPatient does not hold two perpendicular unit vectors; have the files exported again"
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def plane_name(normal: npt.ArrayLike) -> str:
    """Return the name of the plane with the nearest normal: axial, coronal or sagittal.

    Parameters
    ----------
    normal : (3,) array-like
        LPS normal of the slices.

    >>> plane_name([0.0, 0.3, 0.95])
    'axial'
    """
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(np.asarray(normal, dtype=np.float64))))]
