"""DICOM in: studies and series found, one chosen with reasons, decoded to a volume in Hounsfield units."""

from cspine.imaging.series import Discovery, Series, SeriesChoice, Study, choose_series, discover
from cspine.imaging.volume import Provenance, Volume, load_volume

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
