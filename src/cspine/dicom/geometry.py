"""How slices lie in space: order, gaps, tilt and the affine. NumPy only; knows nothing of files.

Indices are ``[k, j, i]``: slice, row, column. Positions are LPS in mm (x to the left, y to the back, z to the head).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.errors import GeometryError
from cspine.core.typing import Floats

SAME_PLACE_MM: Final = 0.01
"""Slices closer than this along the normal are the same slice twice."""

EVEN_MM: Final = 0.05
"""Gaps that differ less than this from their median count as even: rounding of positions in the header."""

EVEN_FRACTION: Final = 0.02
"""The same, as a fraction of the median gap; the larger of both holds."""

STRAIGHT_DEG: Final = 0.2
"""A stack whose slices drift less than this off their normal is straight."""

FARTHEST_MM: Final = 100_000.0
"""Farther off the origin nothing is scanned."""

MAX_GAP_MM: Final = 3.0
"""The widest hole between slices that is bridged by interpolation unless asked otherwise."""


@dataclass(frozen=True)
class Stack:
    """The geometry of one stack of parallel slices, sorted along its normal.

    Attributes
    ----------
    order : (n,) integer array
        Which of the given slices stand at sorted place 0, 1, ...; duplicates are left out.
    duplicates : tuple of (int, int)
        Pairs (left out, kept) of slices at the same place, as indices into what was given.
    origin_mm : (3,)
        Position of the first sorted slice's first pixel.
    row_direction, column_direction, normal : (3,)
        Unit vectors: along a row (i grows), down a column (j grows), and their cross product (k grows).
    pixel_spacing_mm : (float, float)
        Between rows, between columns.
    along_mm : (n,)
        Distance of each sorted slice from the first along the normal.
    drift_mm : (n, 2)
        In-plane offset of each sorted slice from the first, along the row and down the column.
    """

    order: npt.NDArray[np.intp]
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
        """Distances between neighbouring slices along the normal, shape (n - 1,)."""
        return np.diff(self.along_mm)

    @property
    def spacing_mm(self) -> float:
        """The median gap; 1 for a single slice, whose spacing nothing tells."""
        return float(np.median(self.gaps_mm)) if len(self.along_mm) > 1 else 1.0

    @property
    def shear(self) -> Floats:
        """In-plane drift per mm of height, along the row and down the column: the median over neighbouring slices."""
        if len(self.along_mm) < 2:
            return np.zeros(2)
        shear: Floats = np.median(np.diff(self.drift_mm, axis=0) / self.gaps_mm[:, None], axis=0)
        return shear

    @property
    def tilt_deg(self) -> float:
        """The angle between the way from slice to slice and the slices' normal, from positions."""
        return float(np.degrees(np.arctan(np.linalg.norm(self.shear))))

    def widest_jump(self) -> tuple[int, float]:
        """Return the sorted place before the largest in-plane step that tilt does not explain, and the step in mm."""
        if len(self.along_mm) < 2:
            return 0, 0.0
        steps = np.diff(self.drift_mm, axis=0) - self.gaps_mm[:, None] * self.shear
        sizes = np.linalg.norm(steps, axis=1)
        place = int(np.argmax(sizes))
        return place, float(sizes[place])

    @property
    def is_straight(self) -> bool:
        """Whether all slices lie exactly over each other, within `STRAIGHT_DEG` and half a pixel."""
        if self.tilt_deg > STRAIGHT_DEG:
            return False
        return bool(np.abs(self.drift_mm).max(initial=0.0) <= 0.5 * min(self.pixel_spacing_mm))

    @property
    def is_even(self) -> bool:
        """Whether all gaps are the same within `EVEN_MM` or `EVEN_FRACTION`."""
        tolerance = max(EVEN_MM, EVEN_FRACTION * self.spacing_mm)
        if np.any(np.abs(self.gaps_mm - self.spacing_mm) > tolerance):
            return False
        # Small differences that all go one way add up: each slice must lie where an even stack would have it.
        even = np.linspace(0.0, self.along_mm[-1], len(self.along_mm))
        return bool(np.abs(self.along_mm - even).max(initial=0.0) <= 2.0 * tolerance)

    def widest_gap(self) -> tuple[int, float]:
        """Return the sorted place before the widest gap, and the gap in mm."""
        place = int(np.argmax(self.gaps_mm))
        return place, float(self.gaps_mm[place])

    def affine_lps(self, spacing_mm: float | None = None, drift_origin_mm: tuple[float, float] = (0.0, 0.0)) -> Floats:
        """Return the 4 x 4 matrix from ``[k, j, i, 1]`` to LPS mm of the straight stack.

        Parameters
        ----------
        spacing_mm : float, optional
            Slice spacing; the mean gap where omitted, which puts the last slice where its header does.
        drift_origin_mm : (float, float)
            Where the first pixel lies in-plane relative to `origin_mm`, along the row and down the column.
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
    """Sort slices along their normal and measure how they lie.

    Parameters
    ----------
    positions_mm : (n, 3)
        ImagePositionPatient of each slice.
    orientation : (6,)
        ImageOrientationPatient, common to all.
    pixel_spacing_mm : (float, float)
        Between rows, between columns.

    Returns
    -------
    Stack

    Raises
    ------
    GeometryError
        The direction cosines are not two perpendicular unit vectors, the spacing is not positive, or a position is
        absurdly far off.
    """
    positions = np.asarray(positions_mm, dtype=np.float64).reshape(-1, 3)
    row, column = check_orientation(orientation)
    if not all(0.0 < spacing < 100.0 for spacing in pixel_spacing_mm):
        raise GeometryError(f"PixelSpacing is {pixel_spacing_mm} mm, which no CT has; have the files exported again")
    if np.abs(positions).max(initial=0.0) > FARTHEST_MM:
        raise GeometryError("ImagePositionPatient lies over 100 m off, which no scanner reaches; export them again")
    normal = np.cross(row, column)
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    kept, duplicates = [int(order[0])], []
    for index in order[1:].tolist():
        if along[index] - along[kept[-1]] < SAME_PLACE_MM:
            duplicates.append((index, kept[-1]))
        else:
            kept.append(index)
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


def check_orientation(orientation: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the row and column directions as unit vectors.

    Raises
    ------
    GeometryError
        They are not unit vectors, or not perpendicular, within 1 %.
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
    """Name the plane whose normal is nearest: axial, coronal or sagittal.

    >>> plane_name([0.0, 0.3, 0.95])
    'axial'
    """
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(np.asarray(normal, dtype=np.float64))))]
