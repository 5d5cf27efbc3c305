"""Values that were cut off at the upper end of a window: bone looks like soft tissue, and no fracture is left in it."""

from typing import Final

from cspine.dicom.attenuation.histogram import MIN_VALUES, ValueHistogram

_MAX_CUT_OFF_HU: Final = 700
"""Highest upper end of a window that cuts off bone; scanners cut off metal, at 3,071 HU and above."""

_MIN_DISTINCT: Final = 100
"""Fewest different values of a scan; a drawing has fewer, and its highest value is a spike for that reason."""


def cut_off_fault(histogram: ValueHistogram) -> str | None:
    """Return what shows that the highest values of a scan were cut off; None if nothing does.

    Parameters
    ----------
    histogram : ValueHistogram
        Values of whole slices, converted as their headers declare.
    """
    valid = histogram.without_low_spikes(-1060)
    if valid.n_values < MIN_VALUES or valid.n_distinct < _MIN_DISTINCT:
        return None
    highest = valid.highest
    if highest >= _MAX_CUT_OFF_HU or highest not in valid.spikes:
        return None
    fraction = valid.fraction(highest, highest + 1)
    return f"no value lies above {highest} and {fraction:.1%} are {highest}: what is above it, bone, was cut off"
