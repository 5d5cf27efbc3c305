"""The result of localizing the vertebrae of one study."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cspine.core.findings import Spine
from cspine.spine.spine_map import SpineMap

if TYPE_CHECKING:
    import highdicom


@dataclass(frozen=True)
class LocalizationResult:
    """The localized vertebrae of a study, with the volume that they were localized in.

    Attributes
    ----------
    spine : Spine
        What is written to ``spine.json``.
    volume : Volume or None
        The thinned series, of `cspine.localization.coarse.load_thinned`; None where it could not be read.
    spine_map : SpineMap
        The vertebrae; empty where the study is not assessable.
    """

    spine: Spine
    volume: "highdicom.Volume | None"
    spine_map: SpineMap
