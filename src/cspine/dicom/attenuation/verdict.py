"""The verdict on a scan's values: Hounsfield units, Hounsfield units with a known fault, or neither.

The rule is to leave values alone unless their histogram proves them wrong. Scans without air, of a head, of a phantom,
with metal, or with padding of any value prove nothing and are read as declared.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cspine.dicom.attenuation.histogram import (
    MIN_VALUES,
    Scale,
    ValueHistogram,
    shows_air_fat_and_muscle,
    shows_fat_and_muscle,
    shows_tissue,
)

INTERCEPTS: Final = (0.0, -1000.0, -1024.0, -2048.0, -8192.0)
"""RescaleIntercepts in use: none, those of most scanners, and that of GE's extended range."""

FACTORS: Final = (2.0, 0.5, 4.0, 0.25, 10.0, 0.1, 16.0)
"""Slopes that get lost or are applied twice: those of scanners, tenths, and values that lie four bits higher."""

_DECLARED: Final = Scale()

_MIN_OFFSET: Final = 500.0
"""Smaller offsets, such as the 24 between the two common intercepts, are within the spread of air and tissue."""


_MAX_NEAR_HU: Final = 60.0

_MAX_SPIKE_OF_AIR: Final = 0.9
"""Air has more than one value, unless it was cut off; padding has one."""

_MIN_GAIN_HU: Final = 30.0
"""Another offset than 1024 is taken where fat and muscle together lie better by this; for 1000 it is about 48."""


MAX_NORMALIZED_RANGE: Final = 20
"""Values within so small a range were normalized, to 0..1 or to standard deviations; noise alone has a larger one."""

MAX_LABELS: Final = 64
"""Fewer different values are those of labels, or of an image that was normalized to 0..1."""

_LOWEST_HU: Final = -1300
"""Lower values are padding, or no Hounsfield units."""

_PADDING_WIDTH_HU: Final = 120.0
"""Width within which lossy compression spreads padding."""

_MIN_AIR_BESIDE_PADDING: Final = 0.1
"""Least fraction of air where low values are padding; the air of another scale would be all that is low."""

_MIN_OUTSIDE_FRACTION: Final = 0.1
"""Metal, overshoots and noise fill far less of whole slices: below 3 % in every scan measured."""

_MIN_VALUES_WITHOUT_NEGATIVE: Final = 20_000
"""Among so many values of a person there is fat; a small crop may be all muscle and bone."""


@dataclass(frozen=True)
class Verdict:
    """What a histogram proves.

    Attributes
    ----------
    scale : Scale or None
        The relation of values to Hounsfield units where it is certain that they differ; None otherwise.
    fault : str or None
        Why values are certainly not Hounsfield units where no relation is certain; None otherwise.
    """

    scale: Scale | None = None
    fault: str | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether the values as declared are certainly no Hounsfield units."""
        return self.scale is not None or self.fault is not None


def assess_values(histogram: ValueHistogram, intercept: float) -> Verdict:
    """Return what a histogram proves about the values of a scan.

    Parameters
    ----------
    histogram : ValueHistogram
        Values of whole slices without declared padding, converted as their headers declare.
    intercept : float
        The declared RescaleIntercept.

    Returns
    -------
    Verdict
    """
    if histogram.without_low_spikes(-1060).n_values < MIN_VALUES:
        return Verdict()
    offset = _certain_offset(histogram, intercept)
    if offset is not None and shows_fat_and_muscle(histogram, Scale(1.0, offset)):
        return Verdict(Scale(1.0, offset))
    if offset is not None:
        return Verdict(
            fault=f"its tissue lies where Hounsfield units {'+' if offset > 0 else '-'} {abs(offset):g} have it"
        )
    if shows_air_fat_and_muscle(histogram, _DECLARED):
        return Verdict()
    scales = [scale for scale in _scales(intercept) if _proves_scale(histogram, scale)]
    factors = {scale.factor for scale in scales}
    if len(factors) > 1:
        return Verdict(fault="air, fat and muscle lie where no single slope and intercept would put them")
    if scales:
        return Verdict(min(scales, key=lambda scale: _distance_hu(histogram, scale)))
    return Verdict(fault=_fault(histogram))


def _certain_offset(histogram: ValueHistogram, intercept: float) -> float | None:
    """Return by how much values exceed Hounsfield units, if that is certain."""
    offsets = {intercept - right for right in INTERCEPTS} | {-1024.0, -1000.0, 1000.0, 1024.0}
    certain = [offset for offset in sorted(offsets, key=abs) if _proves_offset(histogram, offset)]
    if not certain:
        return None
    distance_hu = {offset: _distance_hu(histogram, Scale(1.0, offset)) for offset in certain}
    best = min(certain, key=lambda offset: distance_hu[offset])
    usual = [offset for offset in certain if offset in (1024.0, -1024.0)]  # the commonest one wins where it is close
    return next((offset for offset in usual if distance_hu[offset] < distance_hu[best] + _MIN_GAIN_HU), best)


def _proves_offset(histogram: ValueHistogram, offset: float) -> bool:
    """Return whether values are Hounsfield units plus an offset and cannot be Hounsfield units."""
    scale = Scale(1.0, offset)
    if abs(offset) < _MIN_OFFSET or not shows_tissue(histogram, scale):
        return False
    valid = histogram.without_low_spikes(min(scale.value(-1060), -1060))
    if offset > 0.0:  # there is neither air, nor lung, nor fat
        return valid.fraction(-1100, -200) <= 0.005 and valid.fraction(-150, -50) <= 0.02
    body = valid.n_values - valid.count_hu(scale, -1100, -850)
    bone, dense_bone = valid.count_hu(scale, 200, 850), valid.count_hu(scale, 850, 1150)
    return (
        histogram.count_hu(scale, -1060, -940) >= 0.02 * histogram.n_values
        and valid.count(-1e6, -1100) >= 0.03 * body
        and valid.count_hu(scale, -150, -50) >= 0.02 * body
        and bone >= max(0.01 * body, 2 * dense_bone)  # in Hounsfield units these would be lung, and fat and muscle
    )


def _distance_hu(histogram: ValueHistogram, scale: Scale) -> float:
    """Return how far fat and muscle lie from where they should under a scale."""
    valid = histogram.without_low_spikes(scale.value(-1060))
    fat, muscle = valid.peak_hu(scale, -170, -30), valid.peak_hu(scale, -10, 110)
    return abs(fat + 100.0) + abs(muscle - 50.0)


def _scales(intercept: float) -> Iterator[Scale]:
    """Yield the relations that a wrong slope causes, whatever the intercept should have been."""
    for factor in FACTORS:
        for right in sorted({intercept, *INTERCEPTS}, key=abs):
            yield Scale(factor, intercept - factor * right)


def _proves_scale(histogram: ValueHistogram, scale: Scale) -> bool:
    """Return whether values are Hounsfield units under a scale and cannot be Hounsfield units."""
    if not shows_air_fat_and_muscle(histogram, scale):
        return False
    air = histogram.count_hu(scale, -1060, -940)
    may_be_padding = -5000 < scale.value(-1000) < -1100
    if may_be_padding and histogram.highest_count_hu(scale, -1060, -940) > _MAX_SPIKE_OF_AIR * air:
        return False
    if scale.factor > 1.0:
        return not shows_tissue(histogram, _DECLARED)
    if scale.factor >= 0.25 and histogram.count(-150, 150) < 0.1 * histogram.count_hu(scale, -150, 150):
        return True
    lowest = scale.value(-1000)  # values hold neither air nor anything between it and the air of this scale
    return lowest > -850 and histogram.fraction(-1e6, lowest - 100 * scale.factor) <= 0.002


def _fault(histogram: ValueHistogram) -> str | None:
    """Return what no scan in Hounsfield units shows, if there is any such thing."""
    valid = histogram.without_low_spikes(-1060)
    if 2 <= valid.n_distinct <= MAX_LABELS and valid.lowest >= 0 and valid.highest <= 255:
        return f"it has {valid.n_distinct} different values, from {valid.lowest} to {valid.highest}, as labels have"
    if valid.lowest > -100 and valid.highest - valid.lowest <= MAX_NORMALIZED_RANGE and valid.n_distinct > 1:
        return f"all values lie between {valid.lowest} and {valid.highest}"
    low = 0.0 if _has_spread_padding(valid) else valid.fraction(-1e6, _LOWEST_HU)
    outside = low + valid.fraction(2000, 1e6)
    if outside >= _MIN_OUTSIDE_FRACTION:
        return f"{outside:.0%} of the values lie below {_LOWEST_HU} or above 2000, where only metal is"
    if valid.n_values < _MIN_VALUES_WITHOUT_NEGATIVE or valid.fraction(-1e6, -50) > 0.001:
        return None
    at_zero, above = valid.fraction(0, 1), valid.fraction(1, 11) / 10
    if 0.1 <= at_zero < 1.0 and at_zero >= 5 * above and valid.fraction(-1e6, 0) <= 0.0001:
        if valid.highest <= 255:
            return "all values lie between 0 and 255, as in a picture"
        return f"no value lies below 0 and {at_zero:.0%} are 0: what is below 0, air and fat, was cut off"
    if valid.fraction(-20, 60) >= 0.1 and valid.fraction(200, 1e6) >= 0.05:
        return f"the lowest value is {valid.lowest}, where air should be -1000"
    return None


def _has_spread_padding(histogram: ValueHistogram) -> bool:
    """Return whether low values are padding that lossy compression has spread, since air lies where it should."""
    has_air = histogram.fraction(-1200, -800) >= _MIN_AIR_BESIDE_PADDING
    return has_air and histogram.is_narrow_below(_LOWEST_HU, _PADDING_WIDTH_HU)


def is_near(one: Scale, other: Scale) -> bool:
    """Return whether two scales differ by less than what a single slice shows, such as the offsets 1000 and 1024."""
    return one.factor == other.factor and abs(one.offset - other.offset) <= _MAX_NEAR_HU * one.factor


def sum_histograms(histograms: Iterable[ValueHistogram]) -> ValueHistogram:
    """Return the histogram of all values of several histograms; at least one."""
    first, *others = histograms
    total = first
    for other in others:
        total = total + other
    return total
