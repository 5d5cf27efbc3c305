"""Whether a series can be made a volume, from its headers alone."""

import math
from typing import Final

from cspine.core.errors import GeometryError
from cspine.dicom.codec.header import MAX_VOLUME_BYTES
from cspine.dicom.geometry import MAX_GAP_MM, Stack
from cspine.dicom.grid import Grid, plan_grid
from cspine.dicom.series import Series

MAX_CANVAS: Final = 3
"""A straightened volume may be this many times as wide as a slice: a tilt of 45 degrees over twice a slice's width."""


def check_loadable(series: Series, *, max_gap_mm: float = MAX_GAP_MM) -> Grid:
    """Hold, from the headers alone, that a series can be made a volume, and return the grid it becomes.

    Raises
    ------
    DicomError
        What places the slices is missing.
    GeometryError
        A gap is too wide, or the volume too large.
    """
    stack = series.stack
    _check_gaps(series, stack, max_gap_mm)
    grid = plan_grid(stack, series.headers[0].rows or 0, series.headers[0].columns or 0)
    _check_size(series, grid)
    return grid


def _check_size(series: Series, grid: Grid) -> None:
    rows, columns = series.headers[0].rows or 0, series.headers[0].columns or 0
    if grid.shape[1] > MAX_CANVAS * rows or grid.shape[2] > MAX_CANVAS * columns:
        place, jump = series.stack.widest_jump()
        name = series.headers[series.stack.order[place]].file.name
        raise GeometryError(
            f"{name}: the slices lie too far beside each other to be one volume (by {jump:.0f} mm after this one); "
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
    place, gap = stack.widest_gap()
    if gap > max_gap_mm:
        names = [series.headers[stack.order[k]].file.name for k in (place, place + 1)]
        raise GeometryError(
            f"{names[0]} and {names[1]}: a {gap:.1f} mm gap between them where slices are {stack.spacing_mm:.1f} mm "
            f"apart, at most {max_gap_mm:.1f} mm is bridged; send the missing slices or pass --max-gap-mm {gap:.1f}"
        )
