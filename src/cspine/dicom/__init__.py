"""DICOM input: discover studies and series, select a series with reasons, decode it to a volume in Hounsfield units.

Public names are imported on first use, so that the command line can read a constant of `limits` without loading
highdicom.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cspine.dicom.discovery import discover
    from cspine.dicom.loading import LoadPlan, LoadPolicy, load_volume, open_series
    from cspine.dicom.segmentation import load_segmentation
    from cspine.dicom.series import Discovery, Series, Study
    from cspine.dicom.series_selection import SeriesSelection, select_series
    from cspine.dicom.volume import Provenance, Volume

_MODULES = {
    "Discovery": "series",
    "LoadPlan": "loading",
    "LoadPolicy": "loading",
    "Provenance": "volume",
    "Series": "series",
    "SeriesSelection": "series_selection",
    "Study": "series",
    "Volume": "volume",
    "discover": "discovery",
    "load_segmentation": "segmentation",
    "load_volume": "loading",
    "open_series": "loading",
    "select_series": "series_selection",
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
    "discover",
    "load_segmentation",
    "load_volume",
    "open_series",
    "select_series",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
