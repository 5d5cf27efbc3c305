"""Limits of what is read; this module imports nothing, so that the command line can show them at once."""

from typing import Final

MAX_GAP_MM: Final = 3.0
"""Default of the largest gap between slices that is interpolated where gaps are uneven."""

MAX_SLICE_SPACING_MM: Final = 3.0
"""Largest slice spacing at which fractures are assessed; the challenge's studies have at most 1 mm."""
