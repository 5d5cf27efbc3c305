"""The vertebrae of a scan: levels, frames, extents and coverage, and the course of the vertebral canal."""

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.core.errors import NotAssessableError
from cspine.core.findings import Coverage, NotAssessable, alternatives_of, level_label
from cspine.core.typing import Floats, Floats32, Labels
from cspine.spine.interpolation import interpolate_monotone

MIN_COMPLETE_FRACTION: Final = 0.98
"""A vertebra's coverage is complete at or above this scanned fraction."""

MIN_PARTIAL_FRACTION: Final = 0.05
"""Its coverage is absent below this scanned fraction."""

LEVEL_UNCERTAIN: Final = "level-uncertain"
"""Code in front of the sentences of a map that is doubtful."""

Alternatives = tuple[tuple[str, float], ...]
"""Other levels that a vertebra may be of, with their probabilities, the best first."""

_MIN_CERVICAL_CONFIDENCE: Final = 0.5
"""A scan in which no vertebra is cervical with this confidence is taken for one of another body part."""

_CANAL_POSTERIOR_MM: Final = {"C1": 7.2, "C2": 14.8}
_SUBAXIAL_CANAL_POSTERIOR_MM: Final = 14.4
"""From a vertebra's origin back to the center of the canal: half a body (15.5 mm) and half a canal (13 mm)."""

_CANAL_STEP_MM: Final = 2.0


def coverage_of(scanned_fraction: float) -> Coverage:
    """Return the coverage of a vertebra of which a fraction was scanned.

    >>> coverage_of(1.0), coverage_of(0.4), coverage_of(0.0)
    ('complete', 'partial', 'absent')
    """
    if scanned_fraction < MIN_PARTIAL_FRACTION:
        return "absent"
    return "complete" if scanned_fraction >= MIN_COMPLETE_FRACTION else "partial"


@dataclass(frozen=True)
class Vertebra:
    """One localized vertebra.

    Attributes
    ----------
    level : str
        C1 to C7, T1 to T12, L1 to L5, S1; ``T`` or ``L`` in scans below the neck where nothing tells the number.
    frame_lps : (4, 4)
        Affine from its own frame to LPS mm. In the frame, x points to the left, y to the back and z up; the origin is
        the center of the body, in C1 the position of the dens.
    centroid_lps_mm : (3,)
        Centroid of its scanned part.
    box_mm : (2, 3)
        Lower and upper corner of its bounding box, in its own frame.
    scanned_fraction : float
        Which fraction of it was scanned.
    confidence : float
        Probability that its level is right.
    volume_mm3 : float
        Bone volume of its scanned part.
    alternatives : tuple of (str, float)
        Other levels, the best first: those with a probability of 0.1 or more, and where the sequence leaves the level
        open at least one.
    """

    level: str
    frame_lps: Floats
    centroid_lps_mm: Floats
    box_mm: Floats
    scanned_fraction: float
    confidence: float
    volume_mm3: float
    alternatives: Alternatives = ()

    @property
    def coverage(self) -> Coverage:
        """Whether it was scanned completely, partially or not at all."""
        return coverage_of(self.scanned_fraction)

    @property
    def level_label(self) -> str:
        """The level with its alternatives, as pictures show it."""
        return level_label(self.level, alternatives_of(self.alternatives))

    @property
    def canal_lps_mm(self) -> Floats:
        """The center of the vertebral canal at its height, (3,)."""
        posterior_mm = _CANAL_POSTERIOR_MM.get(self.level, _SUBAXIAL_CANAL_POSTERIOR_MM)
        return np.asarray((self.frame_lps @ [0.0, posterior_mm, 0.0, 1.0])[:3])


@dataclass(frozen=True)
class VertebraLabelMap:
    """Instance segmentation of the vertebrae at the localizer's resolution.

    Attributes
    ----------
    labels : (k, j, i) uint8
        `SEGMENT_NUMBERS` of the vertebra that a voxel belongs to, 0 elsewhere.
    probability : (k, j, i) float32
        Probability that a voxel belongs to a vertebra; 0 where `labels` is 0.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    """

    labels: Labels
    probability: Floats32
    affine_lps: Floats


@dataclass(frozen=True)
class SpineMap:
    """The localized vertebrae of a scan, from the head down.

    Attributes
    ----------
    vertebrae : tuple of Vertebra
        In order; numbered levels do not repeat.
    label_map : VertebraLabelMap or None
        Their segmentation; None where only frames are known.
    doubts : tuple of str
        Sentences about what makes the levels uncertain, each with the code ``level-uncertain`` in front.
    implausible : NotAssessable or None
        Why the map cannot be that of a cervical spine in the orientation that the headers state.
    not_found : tuple of str
        Levels C1 to C7 that lie within the scan, but were not localized in it.
    warnings : tuple of str
        Sentences about how the vertebrae were found that say nothing against their levels.
    """

    vertebrae: tuple[Vertebra, ...]
    label_map: VertebraLabelMap | None = field(default=None, repr=False, compare=False)
    doubts: tuple[str, ...] = ()
    implausible: NotAssessable | None = None
    not_found: tuple[Level, ...] = ()
    warnings: tuple[str, ...] = ()

    def __getitem__(self, level: str) -> Vertebra:
        """Return the vertebra of a level; KeyError where it was not localized."""
        for vertebra in self.vertebrae:
            if vertebra.level == level:
                return vertebra
        raise KeyError(level)

    @property
    def scanned_vertebrae(self) -> tuple["Vertebra", ...]:
        """The vertebrae that were at least partially scanned."""
        return tuple(vertebra for vertebra in self.vertebrae if vertebra.coverage != "absent")

    @property
    def cervical(self) -> dict[str, Vertebra | None]:
        """The vertebrae of C1 to C7; None where a level was not localized."""
        by_level = {vertebra.level: vertebra for vertebra in self.vertebrae}
        return {level: by_level.get(level) for level in VERTEBRAE}

    def scaled(self, factor: float) -> "SpineMap":
        """Return the map of a scan that is enlarged by a factor about the origin of LPS."""
        enlarge = np.diag([factor, factor, factor, 1.0])
        vertebrae = tuple(
            replace(
                each,
                frame_lps=enlarge @ each.frame_lps @ np.linalg.inv(enlarge),
                centroid_lps_mm=factor * each.centroid_lps_mm,
                box_mm=factor * each.box_mm,
                volume_mm3=factor**3 * each.volume_mm3,
            )
            for each in self.vertebrae
        )
        label_map = self.label_map
        if label_map is not None:
            label_map = replace(label_map, affine_lps=enlarge @ label_map.affine_lps)
        return replace(self, vertebrae=vertebrae, label_map=label_map)

    def require_cervical(self) -> None:
        """Raise an error unless the scan shows a cervical spine.

        Raises
        ------
        NotAssessableError
            ``no-cervical-spine``: no cervical vertebra was localized, or none with enough confidence in its level.
            The code of `implausible` where it is set.
        """
        if self.implausible is not None:
            raise NotAssessableError(self.implausible.code, self.implausible.reason)
        cervical = [vertebra for vertebra in self.scanned_vertebrae if vertebra.level in VERTEBRAE]
        if not cervical:
            raise NotAssessableError("no-cervical-spine", "no cervical vertebra was found in the scan")
        if max(vertebra.confidence for vertebra in cervical) < _MIN_CERVICAL_CONFIDENCE:
            raise NotAssessableError(
                "no-cervical-spine", "vertebrae were found in the scan, but none that is likely to be cervical"
            )

    def coverage(self, level: str) -> Coverage:
        """Return the coverage of a cervical level; absent where it was not localized."""
        vertebra = self.cervical[level]
        return "absent" if vertebra is None else vertebra.coverage

    def canal(self) -> Floats:
        """Return the center of the vertebral canal as a polyline, (n, 3) LPS mm, from the head down.

        The points lie about 2 mm apart on a monotone cubic interpolation between the vertebrae. With fewer than two
        vertebrae there are as many points.
        """
        points = np.array([vertebra.canal_lps_mm for vertebra in self.vertebrae]).reshape(-1, 3)
        if len(points) < 2:
            return points
        arc_length_mm = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        steps_mm = np.linspace(0.0, arc_length_mm[-1], max(int(arc_length_mm[-1] / _CANAL_STEP_MM), 2))
        return interpolate_monotone(arc_length_mm, points, steps_mm)
