"""The straight, even grid that a stack of slices becomes: NumPy only, decided before anything is decoded."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Floats
from cspine.dicom.geometry import Stack

_SAME: Final = 1e-6
"""A plane this close to a slice, in slices, is that slice."""


@dataclass(frozen=True)
class Grid:
    """The straight, even grid that a stack becomes.

    Attributes
    ----------
    shape : (int, int, int)
        Planes, rows and columns.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    below : (planes,) integers
        The sorted slice at or below each plane.
    part : (planes,) floats
        How much of the slice above `below` a plane takes, 0 to 1.
    shift : (slices, 2) floats or None
        How far each sorted slice moves down and along its rows to lie on the grid, in pixels.
    """

    shape: tuple[int, int, int]
    affine_lps: Floats
    below: npt.NDArray[np.intp]
    part: Floats
    shift: Floats | None

    @property
    def is_stack(self) -> bool:
        """Whether the planes are the slices, as they are."""
        return self.shift is None and not self.part.any()


def plan_grid(stack: Stack, rows: int, columns: int) -> Grid:
    """Lay a straight, even grid over a stack.

    Parameters
    ----------
    stack : Stack
        How the slices lie.
    rows, columns : int
        Of each slice.

    Returns
    -------
    Grid
        The slices as they are where the stack is straight and even. Otherwise linear interpolation: between the two
        neighbouring slices where gaps are uneven, and within their planes where slices do not lie over each other,
        on a canvas that holds them all.
    """
    origin, shift = (0.0, 0.0), None
    if not stack.is_straight:
        row_mm, column_mm = stack.pixel_spacing_mm
        shift = stack.drift_mm[:, ::-1] / (row_mm, column_mm)
        low = np.floor(shift.min(axis=0))
        shift = shift - low
        margin = np.ceil(shift.max(axis=0)).astype(int)
        rows, columns = rows + int(margin[0]), columns + int(margin[1])
        origin = (float(low[1] * column_mm), float(low[0] * row_mm))
    slices = len(stack.along_mm)
    if stack.is_even:
        affine = stack.affine_lps(drift_origin_mm=origin)
        return Grid((slices, rows, columns), affine, np.arange(slices), np.zeros(slices), shift)
    count = round(float(stack.along_mm[-1]) / stack.spacing_mm) + 1
    spacing = float(stack.along_mm[-1]) / (count - 1)
    at = np.interp(np.arange(count) * spacing, stack.along_mm, np.arange(slices))
    at = np.where(np.abs(at - np.rint(at)) < _SAME, np.rint(at), at)
    below = np.minimum(at.astype(np.intp), slices - 1)
    return Grid((count, rows, columns), stack.affine_lps(spacing, origin), below, at - below, shift)
