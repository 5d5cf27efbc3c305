"""Check before anything is decoded that the slices of a series form one volume."""

import itertools
import math
from typing import Final

import numpy as np

from cspine.core.errors import GeometryError
from cspine.dicom.codec.header import MAX_VOLUME_BYTES
from cspine.dicom.geometry import EVEN_TOLERANCE_FRACTION, EVEN_TOLERANCE_MM, Stack
from cspine.dicom.grid import Grid, plan_grid
from cspine.dicom.grouping.copies import find_conflict, group_repeats
from cspine.dicom.limits import MAX_GAP_MM, exceeds_mm
from cspine.dicom.series import Series

_MIN_ALTERNATING: Final = 10
"""Fewest gaps in turn that show that they alternate."""

_MAX_ALTERNATING_RATIO: Final = 0.8
"""Gaps of two stacks alternate by more: the smaller one is a smaller fraction of the other."""

_ROUNDED_TO_MM: Final = (0.1, 0.5, 1.0)
"""Steps to which headers round positions; gaps that alternate by one step are those of one stack, rounded."""

_MAX_ROUNDING: Final = 0.01
"""Positions at multiples of a step, within this fraction of it, are rounded."""

MAX_CANVAS_FACTOR: Final = 3
"""Largest size of a straightened volume, in slice sizes: a tilt of 45 degrees over twice a slice's width needs 3."""


def check_loadable(series: Series, *, max_gap_mm: float = MAX_GAP_MM) -> Grid:
    """Check that a series forms one volume, and return the volume's grid.

    Parameters
    ----------
    series : Series
        The slices; pixels are read only of those that lie at the same place.
    max_gap_mm : float
        Largest gap between slices that may be interpolated where gaps are uneven, in mm.

    Returns
    -------
    Grid
        The voxel grid that the series is resampled to.

    Raises
    ------
    DicomError
        Position, orientation or pixel spacing is missing.
    GeometryError
        A gap is too wide, the volume is too large, or two images with different pixels lie at one place.
    """
    stack = series.stack
    _check_conflicts(series, stack)
    _check_interleaved(series, stack)
    _check_gaps(series, stack, max_gap_mm)
    grid = plan_grid(stack, series.headers[0].rows or 0, series.headers[0].columns or 0)
    _check_size(series, grid)
    return grid


def _check_conflicts(series: Series, stack: Stack) -> None:
    """Check that slices at one place are copies of each other, and not of two acquisitions or reconstructions."""
    repeated = group_repeats(series.headers, stack.duplicates)
    conflict = find_conflict(repeated)
    if conflict is not None:
        first, other = (header.file.name for header in conflict)
        places = f"{len(repeated)} place{'s' * (len(repeated) > 1)}"
        raise GeometryError(
            f"{first} and {other}: lie at one place with different pixels, as at {places} of their "
            "series, and no attribute tells which belong together; send one acquisition and reconstruction at a time"
        )


def _check_interleaved(series: Series, stack: Stack) -> None:
    """Check that gaps do not alternate, as those of two stacks do that nothing but their places tells apart."""
    if stack.is_even or len(stack.order) < 3:
        return
    tolerance = max(EVEN_TOLERANCE_MM, EVEN_TOLERANCE_FRACTION * stack.spacing_mm)
    pairs = np.sort(np.stack([stack.gaps_mm[:-1], stack.gaps_mm[1:]]), axis=0)
    is_alternating = pairs[0] < _MAX_ALTERNATING_RATIO * pairs[1]
    is_alternating[1:] &= np.abs(np.diff(pairs[0]) + np.diff(pairs[1])) <= tolerance
    runs = [
        list(run)
        for alternates, run in itertools.groupby(range(len(is_alternating)), is_alternating.item)
        if alternates
    ]
    longest = max(runs, key=len, default=[])
    if len(longest) < _MIN_ALTERNATING:
        return
    low, high = pairs[:, longest[0]]
    if not _is_rounding(stack, high - low):
        names = [series.headers[stack.order[longest[0] + k]].file.name for k in (0, 1)]
        raise GeometryError(
            f"{names[0]} and {names[1]}: are of two stacks, since the gaps of their series alternate between {low:.2f} "
            f"and {high:.2f} mm, and no attribute tells which slices belong together; send one at a time"
        )


def _is_rounding(stack: Stack, difference_mm: float) -> bool:
    """Return whether gaps differ by the step to which the positions are rounded."""
    for step_mm in _ROUNDED_TO_MM:
        steps = stack.along_mm / step_mm
        is_rounded = np.all(np.abs(steps - np.rint(steps)) < _MAX_ROUNDING)
        if is_rounded and difference_mm < (1.0 + 2.0 * _MAX_ROUNDING) * step_mm:
            return True
    return False


def _check_size(series: Series, grid: Grid) -> None:
    rows, columns = series.headers[0].rows or 0, series.headers[0].columns or 0
    if grid.shape[1] > MAX_CANVAS_FACTOR * rows or grid.shape[2] > MAX_CANVAS_FACTOR * columns:
        index, jump_mm = series.stack.widest_jump()
        name = series.headers[series.stack.order[index]].file.name
        raise GeometryError(
            f"{name}: the slices lie too far beside each other to be one volume (by {jump_mm:.0f} mm after this one); "
            "send the parts separately"
        )
    size = 2 * math.prod(grid.shape)
    if size > MAX_VOLUME_BYTES:
        raise GeometryError(
            f"{series.headers[0].file.name}: its series would take {size / 2**30:.1f} GiB, at most "
            f"{MAX_VOLUME_BYTES / 2**30:.0f} GiB are loaded; send fewer or smaller slices"
        )


def _check_gaps(series: Series, stack: Stack, max_gap_mm: float) -> None:
    if len(stack.order) < 2 or stack.is_even:
        return
    index, gap_mm = stack.widest_gap()
    if exceeds_mm(gap_mm, max_gap_mm):
        names = [series.headers[stack.order[k]].file.name for k in (index, index + 1)]
        bridged_mm = math.ceil(round(10.0 * gap_mm, 1)) / 10.0  # 3.14 mm are bridged by 3.2
        raise GeometryError(
            f"{names[0]} and {names[1]}: a {gap_mm:.1f} mm gap between them where slices are {stack.spacing_mm:.1f} mm "
            f"apart, at most {max_gap_mm:.1f} mm is bridged; send the missing slices or pass --max-gap-mm "
            f"{bridged_mm:.1f}" + "".join(f"; {warning}" for warning in series.warnings)
        )
