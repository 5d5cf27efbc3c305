"""DICOM in: studies and series found, one chosen with reasons, decoded to a volume in Hounsfield units.

The names below are imported on first use: the command line reads a constant of `geometry` without loading highdicom.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Discovery": "series",
    "Provenance": "volume",
    "Series": "series",
    "SeriesSelection": "series_selection",
    "Study": "series",
    "Volume": "volume",
    "select_series": "series_selection",
    "discover": "discovery",
    "load_segmentation": "segmentation",
    "load_volume": "open_series",
    "open_series": "open_series",
    "LoadPlan": "open_series",
    "LoadPolicy": "open_series",
}

__all__ = [
    "Discovery",
    "LoadPlan",
    "LoadPolicy",
    "Provenance",
    "Series",
    "SeriesSelection",
    "Study",
    "Volume",
    "select_series",
    "discover",
    "load_segmentation",
    "load_volume",
    "open_series",
]

if TYPE_CHECKING:
    from cspine.dicom.discovery import discover
    from cspine.dicom.open_series import LoadPlan, LoadPolicy, load_volume, open_series
    from cspine.dicom.segmentation import load_segmentation
    from cspine.dicom.series import Discovery, Series, Study
    from cspine.dicom.series_selection import SeriesSelection, select_series
    from cspine.dicom.volume import Provenance, Volume


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
