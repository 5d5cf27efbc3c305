"""The histogram of a scan's values, and whether air, fat and soft tissue lie where Hounsfield units have them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Indices

_LOWEST: Final = -32768
_N_VALUES: Final = 65536

MIN_VALUES: Final = 2000
"""Fewest values beside padding from which anything is concluded."""

_MIN_BODY_VALUES: Final = 500
"""Fewest values beside air and padding from which anything is concluded."""

MIN_BODY_FRACTION: Final = 0.01
"""Smallest fraction of a sample that is neither air nor padding from which anything is concluded."""

MIN_TISSUE_FRACTION: Final = 0.3
"""Fat and soft tissue are 60 to 90 % of what is not air in scans of the neck, and more than this in any of a person."""

_SPIKE_FRACTION: Final = 0.002
_SPIKE_FACTOR: Final = 20.0
"""A single value that is this many times as frequent as those within `_SPIKE_REACH` of it is padding or a clip."""

_SPIKE_REACH: Final = 8

_NEARLY_ALL: Final = 0.9

_BIN_HU: Final = 10.0
"""Width of the bins in which peaks are found: fat and muscle are 150 HU apart."""


@dataclass(frozen=True)
class Scale:
    """A linear relation between values and Hounsfield units: ``value = HU * factor + offset``.

    Attributes
    ----------
    factor : float
        Positive; 1 where values have the right slope.
    offset : float
        0 where values have the right intercept.
    """

    factor: float = 1.0
    offset: float = 0.0

    def value(self, hu: float) -> float:
        """Return the value of a number of Hounsfield units."""
        return hu * self.factor + self.offset


class ValueHistogram:
    """The number of voxels of each int16 value, without voxels that are known to be padding.

    Parameters
    ----------
    counts : (65536,) integer array
        Number of voxels of each value from -32768 on.
    """

    def __init__(self, counts: Indices) -> None:
        self.counts = counts
        self.n_values = int(counts.sum())

    @classmethod
    def of(cls, values: npt.NDArray[np.int16]) -> Self:
        """Count the values of an array.

        >>> ValueHistogram.of(np.array([0, 0, 7, 9], np.int16)).fraction(0, 1)
        0.5
        """
        return cls(np.bincount(values.ravel().view(np.uint16) ^ 0x8000, minlength=_N_VALUES))

    def __add__(self, other: "ValueHistogram") -> "ValueHistogram":
        return ValueHistogram(self.counts + other.counts)

    @cached_property
    def _cumulative(self) -> Indices:
        return np.concatenate([[0], np.cumsum(self.counts)])

    def count(self, low: float, high: float) -> int:
        """Return the number of voxels in [low, high)."""
        return max(int(self._cumulative[_index(high)] - self._cumulative[_index(low)]), 0)

    def count_hu(self, scale: Scale, low: float, high: float) -> int:
        """Return the number of voxels in [low, high) HU under a scale."""
        return self.count(scale.value(low), scale.value(high))

    def highest_count_hu(self, scale: Scale, low: float, high: float) -> int:
        """Return the number of voxels of the most frequent value in [low, high) HU under a scale."""
        return int(self.counts[_index(scale.value(low)) : _index(scale.value(high))].max(initial=0))

    def fraction(self, low: float, high: float) -> float:
        """Return the fraction of voxels in [low, high)."""
        return self.count(low, high) / max(self.n_values, 1)

    @property
    def lowest(self) -> int:
        """The lowest value."""
        return int(np.flatnonzero(self.counts)[0]) + _LOWEST

    @property
    def highest(self) -> int:
        """The highest value."""
        return int(np.flatnonzero(self.counts)[-1]) + _LOWEST

    @property
    def n_distinct(self) -> int:
        """Number of different values."""
        return int(np.count_nonzero(self.counts))

    def peak_hu(self, scale: Scale, low: float, high: float) -> float:
        """Return the middle of the fullest bin of `_BIN_HU` in [low, high) HU under a scale."""
        starts = np.arange(low, high, _BIN_HU)
        return float(starts[int(np.argmax([self.count_hu(scale, at, at + _BIN_HU) for at in starts]))]) + _BIN_HU / 2

    @cached_property
    def spikes(self) -> tuple[int, ...]:
        """Single values that are far more frequent than their neighbors: padding, or the bound of a clip."""
        candidates = np.flatnonzero(self.counts > max(_SPIKE_FRACTION * self.n_values, 1.0))
        spikes = []
        for index in candidates.tolist():
            around = self.counts[max(index - _SPIKE_REACH, 0) : index + _SPIKE_REACH + 1]
            others = (int(around.sum()) - int(self.counts[index])) / max(len(around) - 1, 1)
            if self.counts[index] > _SPIKE_FACTOR * others:
                spikes.append(index + _LOWEST)
        return tuple(spikes)

    def without_low_spikes(self, bound: float) -> "ValueHistogram":
        """Return the histogram without spikes below a bound, which are padding or the bound of a clip."""
        low = [spike - _LOWEST for spike in self.spikes if spike < bound]
        if not low:
            return self
        counts = self.counts.copy()
        counts[low] = 0
        return ValueHistogram(counts)

    def is_narrow_below(self, bound: float, width: float) -> bool:
        """Return whether nearly all values below a bound lie within a width about their median."""
        below = self._cumulative[_index(bound)]
        median = int(np.searchsorted(self._cumulative, below / 2.0)) + _LOWEST
        return self.count(median - width / 2, min(median + width / 2, bound)) >= _NEARLY_ALL * int(below)

    def without(self, value: int) -> "ValueHistogram":
        """Return the histogram without one value."""
        counts = self.counts.copy()
        counts[value - _LOWEST] = 0
        return ValueHistogram(counts)


def _index(bound: float) -> int:
    """Return the index of the first count at or above a value."""
    return int(np.clip(np.ceil(bound) - _LOWEST, 0, _N_VALUES))


def shows_tissue(histogram: ValueHistogram, scale: Scale) -> bool:
    """Return whether fat and soft tissue lie where they should under a scale, and outnumber lung and bone.

    No air is needed: a crop within the body shows none.

    Parameters
    ----------
    histogram : ValueHistogram
        Values of a scan.
    scale : Scale
        The relation to Hounsfield units that is tested.
    """
    valid = histogram.without_low_spikes(scale.value(-1060))
    body = valid.n_values - valid.count_hu(scale, -1100, -850)
    if body < max(_MIN_BODY_VALUES, MIN_BODY_FRACTION * histogram.n_values):
        return False
    tissue = valid.count_hu(scale, -150, 150)
    peak_hu = valid.peak_hu(scale, -150, 150)
    return (
        tissue >= MIN_TISSUE_FRACTION * body
        and tissue >= valid.count_hu(scale, -850, -200)
        and tissue >= 2 * max(valid.count_hu(scale, -450, -150), valid.count_hu(scale, 150, 450))  # a peak
        and tissue >= valid.count_hu(scale, 200, 1800)
        and valid.count_hu(scale, -1e6, -1100) <= 0.02 * body
        and valid.count_hu(scale, 2500, 1e6) <= 0.05 * body
        and (-140.0 <= peak_hu <= -60.0 or -15.0 <= peak_hu <= 100.0)
    )


def shows_fat_and_muscle(histogram: ValueHistogram, scale: Scale) -> bool:
    """Return whether fat and muscle both have a peak where they should under a scale.

    Parameters
    ----------
    histogram, scale
        As in `shows_tissue`.
    """
    if not shows_tissue(histogram, scale):
        return False
    valid = histogram.without_low_spikes(scale.value(-1060))
    body = valid.n_values - valid.count_hu(scale, -1100, -850)
    below_fat, fat, between = (valid.count_hu(scale, low, low + 60) for low in (-260, -130, -55))
    muscle, above_muscle = (valid.count_hu(scale, low, low + 60) for low in (20, 150))
    return min(fat, muscle) >= 0.02 * body and fat > 2 * below_fat and muscle > between and muscle > 2 * above_muscle


def shows_air_fat_and_muscle(histogram: ValueHistogram, scale: Scale) -> bool:
    """Return whether air, fat and muscle, all three, have a peak where they should under a scale.

    Parameters
    ----------
    histogram, scale
        As in `shows_tissue`.
    """
    has_air = histogram.count_hu(scale, -1060, -940) >= 0.02 * histogram.n_values
    return has_air and shows_fat_and_muscle(histogram, scale)
