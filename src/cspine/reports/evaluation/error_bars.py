"""Intervals in the form in which matplotlib draws error bars."""

from collections.abc import Sequence

import numpy as np

from cspine.core.typing import Floats
from cspine.metrics.bootstrap import Interval


def error_bars(intervals: Sequence[Interval]) -> tuple[Floats, Floats]:
    """Return the values of intervals, (n,), and their distances to the lower and upper bounds, (2, n).

    Unknown distances are 0, because matplotlib accepts no NaN for them.

    >>> values, distances = error_bars([Interval(0.5, 0.25, 0.625)])
    >>> values.tolist(), distances.tolist()
    ([0.5], [[0.25], [0.125]])
    """
    values = np.array([interval.value for interval in intervals])
    distances = np.array([[each.value - each.low, each.high - each.value] for each in intervals]).reshape(-1, 2).T
    return values, np.nan_to_num(distances)
