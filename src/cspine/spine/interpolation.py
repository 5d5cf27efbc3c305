"""Linear interpolation along one axis at a time, which is much faster than in three axes at once; monotone cubics.

SciPy's interpolators are not used here: `scipy.interpolate` takes longer to import than a study takes to be drawn.
"""

import numpy as np

from cspine.core.typing import Floats, Floats32


def interpolate_axis(values: Floats32, axis: int, positions: Floats | Floats32) -> Floats32:
    """Interpolate linearly along one axis; beyond the border, values of the border.

    Parameters
    ----------
    values : (..., n, ...) float32
        The array, with n values along the axis.
    axis : int
        The axis.
    positions : (m,)
        Positions along it, in elements.

    Returns
    -------
    (..., m, ...) float32

    >>> interpolate_axis(np.array([0, 10, 20], np.float32), 0, np.array([0.5, 2.0, 7.0]))
    array([ 5., 20., 20.], dtype=float32)
    """
    count = values.shape[axis]
    if count == 1:
        return values.take(np.zeros(len(positions), np.intp), axis=axis)
    low = np.clip(np.floor(positions).astype(np.intp), 0, count - 2)
    shape = [1] * values.ndim
    shape[axis] = -1
    weight = np.clip(positions - low, 0, 1).reshape(shape).astype(np.float32)
    below = values.take(low, axis=axis)
    below += (values.take(low + 1, axis=axis) - below) * weight
    return below


def interpolate_monotone(x: Floats, y: Floats, positions: Floats) -> Floats:
    """Interpolate by cubic pieces that rise and fall only where the values do (PCHIP).

    Slopes at the points are weighted harmonic means of the neighboring pieces' slopes, and 0 at extremes (Fritsch and
    Butland, SIAM J. Sci. Stat. Comput. 1984); at the ends they follow from three points. The same as SciPy's
    `PchipInterpolator`.

    Parameters
    ----------
    x : (n,)
        Rising coordinates of at least two points.
    y : (n, c)
        Their values.
    positions : (m,)
        Coordinates between the first and the last point.

    Returns
    -------
    (m, c)

    >>> x = np.array([0.0, 1.0, 3.0])
    >>> interpolate_monotone(x, np.array([[0.0], [2.0], [2.0]]), np.array([0.5, 1.0, 2.0])).ravel()
    array([1.33333333, 2.        , 2.        ])
    """
    h = np.diff(x)[:, None]
    slopes = np.diff(y, axis=0) / h
    at_points = np.repeat(slopes, 2, axis=0) if len(x) == 2 else _slopes_at_points(h, slopes)
    piece = np.clip(np.searchsorted(x, positions, side="right") - 1, 0, len(x) - 2)
    width = h[piece]
    t = (positions - x[piece])[:, None] / width
    start, end = width * at_points[piece], width * at_points[piece + 1]
    rise = y[piece + 1] - y[piece]
    return np.asarray(y[piece] + t * (start + t * (3.0 * rise - 2.0 * start - end + t * (start + end - 2.0 * rise))))


def _slopes_at_points(h: Floats, slopes: Floats) -> Floats:
    """Return the slopes at three or more points, (n, c), from the pieces' widths, (n - 1, 1), and slopes."""
    before, after = slopes[:-1], slopes[1:]
    near_before, near_after = h[1:] + 2.0 * h[:-1], 2.0 * h[1:] + h[:-1]
    is_extreme = before * after <= 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (near_before + near_after) / (near_after / before + near_before / after)
    inner = np.where(is_extreme, 0.0, mean)
    ends = [_end_slope(h[first], h[second], slopes[first], slopes[second]) for first, second in ((0, 1), (-1, -2))]
    return np.concatenate([ends[0][None], inner, ends[1][None]])


def _end_slope(h: Floats, next_h: Floats, slope: Floats, next_slope: Floats) -> Floats:
    """Return the slope at an end, (c,): of the parabola through three points, but not beyond the first piece's."""
    end = ((2.0 * h + next_h) * slope - h * next_slope) / (h + next_h)
    end = np.where(np.sign(end) != np.sign(slope), 0.0, end)
    overshoots = (np.sign(slope) != np.sign(next_slope)) & (np.abs(end) > 3.0 * np.abs(slope))
    return np.where(overshoots, 3.0 * slope, end)
