"""Hounsfield units: the value of air, and which values can be taken for Hounsfield units at all."""

import re
from typing import Final

AIR_HU: Final = -1024
"""Value of padding and of everything outside of the scan."""

MAX_AIR_HU: Final = -500
"""Largest minimum of a scan that shows air; a higher minimum suggests that the values are not Hounsfield units."""

HOUNSFIELD_RESCALE_TYPES: Final = frozenset({None, "HU", "US", "HU_MOD"})
"""RescaleType of series that are read: Hounsfield units, unspecified, those of a virtual energy, and absent."""

_SPELLINGS: Final = re.compile(r"H\.?U\.?|HOUN\w*FIELD\b.*")


def standard_rescale_type(text: str | None) -> str | None:
    """Return a RescaleType as the standard writes it, since writers spell Hounsfield units in many ways.

    Parameters
    ----------
    text : str or None
        RescaleType of a file.

    >>> standard_rescale_type("Houndsfield Unit"), standard_rescale_type("hu_mod")
    ('HU', 'HU_MOD')
    """
    upper = None if text is None else text.upper()
    return "HU" if upper is not None and _SPELLINGS.fullmatch(upper) else upper
