"""What is measured on which necks, by which networks, and where its files lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from benchmarks.localization.scans import SCANS_BY_NAME, RealScan, require_scan_names
from cspine.classification.level_classifier import LevelClassifier
from cspine.localization.loading import load_localizer
from cspine.localization.localizer import Localizer
from cspine.models.metadata import LevelsMetadata
from cspine.models.weights import load_weights
from cspine.views.settings import CompileSettings

SEED: Final = 7001
"""Seed of the virtual fractures. Those of training have seeds below 100."""

COPIES: Final = 12

NECKS: Final = ("weasis-neck", "vtk-head", "visible-human")
"""Scans of necks, in which there are virtual fractures, too."""

OTHERS: Final = ("weasis-rt", "lidc0314-thoracic", "lungfcp-0001-upperthoracic", "ge-tilt")
"""Scans of other parts that show a cervical level at their border. Some are not assessable, and left out."""


@dataclass(frozen=True)
class TextureRun:
    """What is measured.

    Attributes
    ----------
    out : Path
        Folder of the run. Compiled views in it serve all level networks with the same settings of views.
    real : Path
        Folder of real CT.
    weights : tuple of Path
        Level network, or the members of an ensemble; the embedded one where empty.
    held_out : dict
        Name of a scan that took part in training to the level network, or networks, trained without it.
    localizer : str or None
        File or name of the localizer; the embedded one where None.
    held_out_localizers : dict
        Name of a scan that took part in training to the localizer that was trained without it.
    copies : int
        Virtual studies with fractures, and with shams, of each neck.
    tta : bool
        Whether predictions are averaged with those of the left-right flip.
    """

    out: Path
    real: Path
    weights: tuple[Path, ...] = ()
    held_out: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    localizer: str | None = None
    held_out_localizers: Mapping[str, str] = field(default_factory=dict)
    copies: int = COPIES
    tta: bool = False

    def __post_init__(self) -> None:
        require_scan_names((*self.held_out, *self.held_out_localizers))

    @property
    def scans(self) -> list[RealScan]:
        """The scans that lie in the folder of real CT."""
        return [scan for name in (*NECKS, *OTHERS) if (scan := SCANS_BY_NAME[name]).exists(self.real)]

    def load_localizer(self, scan: str) -> Localizer:
        """Load the localizer of a scan: the one that was trained without it where there is one."""
        return _load_localizer(self.held_out_localizers.get(scan, self.localizer))

    def members(self, scan: str) -> tuple[Path | None, ...]:
        """Return the files of the level networks that judge a scan; None for the embedded one."""
        held_out = self.held_out.get(scan)
        if held_out is not None:
            return tuple(Path(path) for path in ([held_out] if isinstance(held_out, str) else held_out))
        return self.weights or (None,)

    def load_classifier(self, scan: str) -> LevelClassifier:
        """Load the level networks that judge a scan, with its localizer."""
        return LevelClassifier.load(*self.members(scan), localizer=self.load_localizer(scan), tta=self.tta)

    def settings(self, scan: str) -> CompileSettings:
        """Return the settings of the views that the level network of a scan needs."""
        return load_weights(LevelsMetadata, self.members(scan)[0], threads=1).metadata.images


@cache
def _load_localizer(weights: str | None) -> Localizer:
    """Load a localizer once: it is asked for several times for each scan."""
    return load_localizer(weights)
