"""The straight, even voxel grid that a stack of slices is resampled to, planned before anything is decoded."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy

from cspine.core.typing import Bools, Floats, Indices
from cspine.dicom.geometry import Stack

_SNAP_TOLERANCE: Final = 1e-6
"""A plane closer than this to a slice, as a fraction of the slice spacing, is that slice."""

_MIN_WIDE_FACTOR: Final = 1.5
"""A gap that is wider than the median of those around it by this factor lacks a slice."""

_GAPS_AROUND: Final = 9

_MEASURED_TOLERANCE: Final = 0.05
"""A plane closer than this to a slice, as a fraction of the gap, is as good as measured."""


@dataclass(frozen=True)
class Grid:
    """The voxel grid of a volume, and how each of its planes is interpolated from slices.

    Attributes
    ----------
    shape : (int, int, int)
        Number of planes, rows and columns.
    affine_lps : (4, 4) float array
        Maps ``[k, j, i, 1]`` to LPS mm.
    lower_slice : (planes,) integer array
        Index of the sorted slice at or below each plane.
    upper_weight : (planes,) float array
        Linear interpolation weight, from 0 to 1, of the slice above `lower_slice`.
    shift_px : (slices, 2) float array or None
        Shift of each sorted slice down the columns and along the rows onto the grid, in pixels; None if the stack is
        straight.
    is_bridged : (planes,) bool array
        Which planes are interpolated across a gap that is wider than those around it, where slices are missing.
    """

    shape: tuple[int, int, int]
    affine_lps: Floats
    lower_slice: Indices
    upper_weight: Floats
    shift_px: Floats | None
    is_bridged: Bools

    @property
    def is_stack(self) -> bool:
        """Whether the planes are the slices as stored, without interpolation."""
        return self.shift_px is None and not self.upper_weight.any()


def plan_grid(stack: Stack, rows: int, columns: int) -> Grid:
    """Plan a straight, even grid for a stack of slices.

    A straight and even stack is kept as it is. Otherwise slices are interpolated linearly: between neighboring slices
    where gaps are uneven, and in-plane where slices are offset against each other, on a canvas that holds them all.

    Parameters
    ----------
    stack : Stack
        The geometry of the slices.
    rows, columns : int
        Size of each slice in pixels.

    Returns
    -------
    Grid
    """
    origin, shift_px = (0.0, 0.0), None
    if not stack.is_straight:
        row_mm, column_mm = stack.pixel_spacing_mm
        shift_px = stack.drift_mm[:, ::-1] / (row_mm, column_mm)
        low = np.floor(shift_px.min(axis=0))
        shift_px = shift_px - low
        margin = np.ceil(shift_px.max(axis=0)).astype(int)
        rows, columns = rows + int(margin[0]), columns + int(margin[1])
        origin = (float(low[1] * column_mm), float(low[0] * row_mm))
    n_slices = len(stack.along_mm)
    if stack.is_even:
        affine = stack.affine_lps(drift_origin_mm=origin)
        none = np.zeros(n_slices, np.bool_)
        return Grid((n_slices, rows, columns), affine, np.arange(n_slices), np.zeros(n_slices), shift_px, none)
    n_planes = round(float(stack.along_mm[-1]) / stack.spacing_mm) + 1
    spacing = float(stack.along_mm[-1]) / (n_planes - 1)
    index = np.interp(np.arange(n_planes) * spacing, stack.along_mm, np.arange(n_slices))
    index = np.where(np.abs(index - np.rint(index)) < _SNAP_TOLERANCE, np.rint(index), index)
    lower_slice = np.minimum(index.astype(np.intp), n_slices - 1)
    affine = stack.affine_lps(spacing, origin)
    weight = index - lower_slice
    is_bridged = _is_wide(stack.gaps_mm)[np.minimum(lower_slice, n_slices - 2)]
    is_bridged &= (weight > _MEASURED_TOLERANCE) & (weight < 1.0 - _MEASURED_TOLERANCE)
    return Grid((n_planes, rows, columns), affine, lower_slice, weight, shift_px, is_bridged)


def _is_wide(gaps_mm: Floats) -> Bools:
    """Return which gaps are wider than those around them: slices are missing there.

    Where all slices of a region lie farther apart, none is missing.
    """
    around_mm = scipy.ndimage.median_filter(gaps_mm, size=_GAPS_AROUND, mode="nearest")
    return np.asarray(gaps_mm > _MIN_WIDE_FACTOR * around_mm)
