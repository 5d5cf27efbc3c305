"""DICOM in: studies and series found, one chosen with reasons, decoded to a volume in Hounsfield units.

The names below are imported on first use: the command line reads a constant of `geometry` without loading highdicom.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Discovery": "series",
    "Provenance": "volume",
    "Series": "series",
    "SeriesChoice": "series",
    "Study": "series",
    "Volume": "volume",
    "choose_series": "series",
    "discover": "series",
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
    "load_volume",
]

if TYPE_CHECKING:
    from cspine.imaging.series import Discovery, Series, SeriesChoice, Study, choose_series, discover
    from cspine.imaging.volume import Provenance, Volume, load_volume


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
