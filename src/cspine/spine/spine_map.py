"""Which vertebra is where: frames, extents and coverage, and the canal's course through them."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import NotAssessableError
from cspine.core.findings import Coverage
from cspine.core.typing import Floats

WHOLE_FROM: Final = 0.98
"""A vertebra counts as whole where at least this share of it was scanned."""

ABSENT_BELOW: Final = 0.05
"""And as absent where less than this was."""

_LEAST_SURE: Final = 0.5
"""Where no vertebra is cervical with at least this confidence, the scan is taken for one of something else."""

_CANAL_BEHIND_MM: Final = {"C1": 7.2, "C2": 14.8}
_CANAL_BEHIND_BODY_MM: Final = 14.4
"""From a vertebra's origin to the canal's middle: half a body (15.5) and half a canal (13)."""

_CANAL_STEP_MM: Final = 2.0


def coverage_of(scanned_fraction: float) -> Coverage:
    """Return the word for a share of a vertebra."""
    if scanned_fraction < ABSENT_BELOW:
        return "absent"
    return "complete" if scanned_fraction >= WHOLE_FROM else "partial"


@dataclass(frozen=True)
class Vertebra:
    """One vertebra that was found.

    Attributes
    ----------
    level : str
        C1 to C7; T1 and so on are counted down from C7.
    frame_lps : (4, 4)
        From its own frame (x left, y back, z up; origin amid the body, of C1 where the dens stands) to LPS mm.
    centroid_lps_mm : (3,)
        The middle of what of it was scanned.
    box_mm : (2, 3)
        The corners of what it fills in its own frame.
    scanned_fraction : float
        How much of it was scanned.
    confidence : float
        How sure its level is, from 0 to 1.
    volume_mm3 : float
        Of what was scanned.
    """

    level: str
    frame_lps: Floats
    centroid_lps_mm: Floats
    box_mm: Floats
    scanned_fraction: float
    confidence: float
    volume_mm3: float

    @property
    def coverage(self) -> Coverage:
        """Whether it was scanned as a whole."""
        return coverage_of(self.scanned_fraction)

    @property
    def canal_lps_mm(self) -> Floats:
        """The middle of the vertebral canal at its height."""
        behind = _CANAL_BEHIND_MM.get(self.level, _CANAL_BEHIND_BODY_MM)
        return np.asarray((self.frame_lps @ [0.0, behind, 0.0, 1.0])[:3])


@dataclass(frozen=True)
class BoneMap:
    """Which places are a vertebra's, as coarse as the localizer looks.

    Attributes
    ----------
    numbers : (k, j, i) uint8
        `SEGMENT_NUMBERS` of vertebrae, 0 elsewhere.
    chances : (k, j, i) float32
        How likely each voxel is a vertebra's, 0 where it is no vertebra's that was found.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    """

    numbers: npt.NDArray[np.uint8]
    chances: npt.NDArray[np.float32]
    affine_lps: Floats


@dataclass(frozen=True)
class SpineMap:
    """The vertebrae of a scan, from the head down.

    Attributes
    ----------
    bone : BoneMap or None
        What of the scan is theirs; None where only frames are known.
    """

    vertebrae: tuple[Vertebra, ...]
    bone: BoneMap | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, level: str) -> Vertebra:
        """Return a vertebra by its level; KeyError where it was not found."""
        for vertebra in self.vertebrae:
            if vertebra.level == level:
                return vertebra
        raise KeyError(level)

    @property
    def shown(self) -> tuple["Vertebra", ...]:
        """Those of which the scan shows something."""
        return tuple(vertebra for vertebra in self.vertebrae if vertebra.coverage != "absent")

    @property
    def cervical(self) -> dict[str, Vertebra | None]:
        """C1 to C7, None where it was not found."""
        found = {vertebra.level: vertebra for vertebra in self.vertebrae}
        return {level: found.get(level) for level in VERTEBRAE}

    def require_cervical(self) -> None:
        """Refuse a scan without a neck.

        Raises
        ------
        NotAssessableError
            ``no-cervical-spine``.
        """
        shown = [vertebra for vertebra in self.shown if vertebra.level in VERTEBRAE]
        if not shown:
            raise NotAssessableError("no-cervical-spine", "no cervical vertebra was found in the scan")
        if max(vertebra.confidence for vertebra in shown) < _LEAST_SURE:
            raise NotAssessableError(
                "no-cervical-spine", "vertebrae were found in the scan, but none that is likely to be cervical"
            )

    def coverage(self, level: str) -> Coverage:
        """Return how much of a level was scanned."""
        found = self.cervical[level]
        return "absent" if found is None else found.coverage

    def canal(self) -> Floats:
        """Return the canal's middle as points (n, 3), LPS mm, from the head down; straight beyond the last vertebra.

        Two vertebrae are needed; with fewer there are as many points.
        """
        points = np.array([vertebra.canal_lps_mm for vertebra in self.vertebrae]).reshape(-1, 3)
        if len(points) < 2:
            return points
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        steps = np.linspace(0.0, along[-1], max(int(along[-1] / _CANAL_STEP_MM), 2))
        return np.asarray(PchipInterpolator(along, points)(steps))
