"""Linear interpolation along one axis at a time, which is much faster than in three axes at once."""

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
