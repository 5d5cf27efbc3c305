"""Hounsfield units: the value of air, and which values can be taken for Hounsfield units at all."""

from typing import Final

AIR_HU: Final = -1024
"""Value of padding and of everything outside of the scan."""

MAX_AIR_HU: Final = -500
"""Largest minimum of a scan that shows air; a higher minimum suggests that the values are not Hounsfield units."""

HOUNSFIELD_RESCALE_TYPES: Final = frozenset({None, "HU", "US", "HU_MOD"})
"""RescaleType of series that are read: Hounsfield units, unspecified, those of a virtual energy, and absent."""
