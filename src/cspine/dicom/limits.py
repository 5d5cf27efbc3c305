"""Limits of what is read; this module imports nothing, so that the command line can show them at once."""

from typing import Final

MAX_GAP_MM: Final = 3.0
"""Default of the largest gap between slices that is interpolated where gaps are uneven."""

MAX_SLICE_SPACING_MM: Final = 3.0
"""Largest slice spacing at which fractures are assessed; the challenge's studies have at most 1 mm."""

_LENGTH_DIGITS: Final = 2
"""Lengths of headers are compared in hundredths of a millimeter: headers round, and single precision does."""


def exceeds_mm(length_mm: float, limit_mm: float) -> bool:
    """Return whether a length of a header exceeds a limit, both rounded to 0.01 mm.

    >>> exceeds_mm(3.0000003, 3.0), exceeds_mm(3.004, 3.0), exceeds_mm(3.01, 3.0)
    (False, False, True)
    """
    return round(length_mm, _LENGTH_DIGITS) > round(limit_mm, _LENGTH_DIGITS)
