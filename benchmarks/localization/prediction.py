"""What the localizer states about one scan, as a benchmark keeps it."""

import time
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import InputError, NotAssessableError
from cspine.core.findings import Coverage
from cspine.core.not_assessable import not_assessable_from
from cspine.core.typing import Floats

if TYPE_CHECKING:
    import highdicom

    from cspine.localization.compiler import VolumeLocalizer
    from cspine.spine.spine_map import Vertebra

Point = tuple[float, float, float]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NamedVertebra(_Record):
    """A vertebra that was named.

    Attributes
    ----------
    level : str
        C1 to C7, T1 and below.
    origin_lps_mm, centroid_lps_mm : (float, float, float)
        Origin of its frame, and centroid of its scanned part.
    axes_lps : 3 x (float, float, float)
        Axes of its frame: x to the left, y to the back, z up.
    coverage : str
        ``complete`` or ``partial``.
    confidence : float
        Probability that the level is right.
    alternatives : tuple of str
        Other levels that are stated as possible, the best first.
    """

    level: str
    origin_lps_mm: Point
    centroid_lps_mm: Point
    axes_lps: tuple[Point, Point, Point]
    coverage: Coverage
    confidence: float
    alternatives: tuple[str, ...] = ()


class Prediction(_Record):
    """What the localizer states about a scan.

    Attributes
    ----------
    vertebrae : tuple of NamedVertebra
        From the head down; none of a scan that is refused.
    not_found : tuple of str
        Cervical levels that lie in the scan and were not found, as the localizer states.
    doubts : tuple of str
        Why levels are uncertain.
    refusal : str or None
        Code of the reason why the scan is not assessable.
    refusal_reason : str
        The same in a sentence.
    seconds : float
        Time of the localizer, from the volume in memory.
    """

    vertebrae: tuple[NamedVertebra, ...] = ()
    not_found: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    refusal: str | None = None
    refusal_reason: str = ""
    seconds: float = 0.0

    @property
    def cervical(self) -> dict[str, NamedVertebra]:
        """The cervical vertebrae by level."""
        return {vertebra.level: vertebra for vertebra in self.vertebrae if vertebra.level in VERTEBRAE}

    def coverage(self, level: str) -> Coverage:
        """Return the stated coverage of a level; absent where it is not named."""
        vertebra = self.cervical.get(level)
        return "absent" if vertebra is None else vertebra.coverage


def predict_volume(localizer: "VolumeLocalizer", volume: "highdicom.Volume") -> Prediction:
    """Localize the vertebrae of a volume, and refuse it where ``cspine predict`` does so for lack of a neck."""
    started = time.perf_counter()
    try:
        spine_map = localizer(volume)
        spine_map.require_cervical()
    except (NotAssessableError, InputError) as error:
        return refused(error, seconds=time.perf_counter() - started)
    return Prediction(
        vertebrae=tuple(_named(vertebra) for vertebra in spine_map.scanned_vertebrae),
        not_found=spine_map.not_found,
        doubts=spine_map.doubts,
        seconds=time.perf_counter() - started,
    )


def refused(error: NotAssessableError | InputError, *, seconds: float = 0.0) -> Prediction:
    """Return the prediction of a scan that an error ended."""
    reason = not_assessable_from(error)
    return Prediction(refusal=reason.code, refusal_reason=reason.reason, seconds=seconds)


def _named(vertebra: "Vertebra") -> NamedVertebra:
    x, y, z = (as_point(axis) for axis in vertebra.frame_lps[:3, :3].T)
    return NamedVertebra(
        level=vertebra.level,
        origin_lps_mm=as_point(vertebra.frame_lps[:3, 3]),
        centroid_lps_mm=as_point(vertebra.centroid_lps_mm),
        axes_lps=(x, y, z),
        coverage=vertebra.coverage,
        confidence=float(np.clip(vertebra.confidence, 0.0, 1.0)),
        alternatives=tuple(level for level, _ in vertebra.alternatives),
    )


def as_point(values: Floats) -> Point:
    """Return three values, rounded to a thousandth of a millimeter."""
    x, y, z = np.round(np.asarray(values, np.float64), 3).tolist()
    return x, y, z
