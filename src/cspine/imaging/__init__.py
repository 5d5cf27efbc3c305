"""DICOM in: studies and series found, one chosen with reasons, decoded to a volume in Hounsfield units.

The names below are imported on first use: the command line reads a constant of `geometry` without loading highdicom.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Discovery": "series",
    "Provenance": "volume",
    "Series": "series",
    "SeriesChoice": "choice",
    "Study": "series",
    "Volume": "volume",
    "choose_series": "choice",
    "discover": "discovery",
    "load_segmentation": "segmentation",
    "load_volume": "volume",
}

__all__ = [
    "Discovery",
    "Provenance",
    "Series",
    "SeriesChoice",
    "Study",
    "Volume",
    "choose_series",
    "discover",
    "load_segmentation",
    "load_volume",
]

if TYPE_CHECKING:
    from cspine.imaging.choice import SeriesChoice, choose_series
    from cspine.imaging.discovery import discover
    from cspine.imaging.segmentation import load_segmentation
    from cspine.imaging.series import Discovery, Series, Study
    from cspine.imaging.volume import Provenance, Volume, load_volume


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
