"""The straight, even voxel grid that a stack of slices is resampled to, planned before anything is decoded."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.typing import Floats, Indices
from cspine.dicom.geometry import Stack

_SNAP_TOLERANCE: Final = 1e-6
"""A plane closer than this to a slice, as a fraction of the slice spacing, is that slice."""


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
    """

    shape: tuple[int, int, int]
    affine_lps: Floats
    lower_slice: Indices
    upper_weight: Floats
    shift_px: Floats | None

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
        return Grid((n_slices, rows, columns), affine, np.arange(n_slices), np.zeros(n_slices), shift_px)
    n_planes = round(float(stack.along_mm[-1]) / stack.spacing_mm) + 1
    spacing = float(stack.along_mm[-1]) / (n_planes - 1)
    index = np.interp(np.arange(n_planes) * spacing, stack.along_mm, np.arange(n_slices))
    index = np.where(np.abs(index - np.rint(index)) < _SNAP_TOLERANCE, np.rint(index), index)
    lower_slice = np.minimum(index.astype(np.intp), n_slices - 1)
    affine = stack.affine_lps(spacing, origin)
    return Grid((n_planes, rows, columns), affine, lower_slice, index - lower_slice, shift_px)
