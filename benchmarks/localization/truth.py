"""What a scan shows: the vertebrae of a reader or of a phantom, and which of them a localizer has to name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import highdicom
import numpy as np

from benchmarks.localization.variants import CORD, to_index
from cspine.core.files import read_json
from cspine.core.findings import Coverage
from cspine.core.typing import Floats

REFERENCE: Final = Path(__file__).parents[1] / "reference" / "real_ct_vertebrae.json"
"""The vertebrae that a reader saw in each real scan."""

MAX_ERROR_MM: Final = 5.0
"""A named vertebra is right up to this distance."""

MAX_NAME_ERROR_MM: Final = 10.0
"""A name is right up to this distance, if no other vertebra is nearer: half of the distance between neighbors."""

_MAX_READ_ERROR_MM: Final = 3.0
"""Where a reader's own error is larger than this, a vertebra need not be named, and is right if its name is."""

_REQUIRED_INSIDE_MM: Final = 2.0
"""A vertebra has to be named where its origin lies this far inside the scan."""

_COMPLETE_INSIDE_MM, _MAYBE_COMPLETE_INSIDE_MM = 20.0, 6.0
"""Where a scan is cut, a vertebra is complete if its origin lies the first far inside, and may be from the second on:
its body extends 6 to 7 mm beyond the origin, its spinous process up to 20 mm."""

_ABSENT_OUTSIDE_MM: Final = 18.0
"""A vertebra whose origin lies this far outside of a cut scan is absent, and may be from 6 mm on."""

_COVERAGE_OF: Final[dict[str, Coverage]] = {"complete": "complete", "partial": "partial", "outside": "absent"}


@dataclass(frozen=True)
class TrueVertebra:
    """A vertebra of the patient.

    Attributes
    ----------
    level : str
        C1 to C7, T1 and below.
    point_lps_mm : (3,) or None
        The point that is compared, the origin of its frame. None where it is not known.
    axes_lps : (3, 3) or None
        Columns are the axes of its frame, x to the left, y to the back, z up.
    coverages : frozenset of str
        Coverages that count as right: two of them where a reader cannot tell.
    is_required : bool
        Whether it has to be named.
    tolerance_mm : float
        Largest distance at which it is right.
    """

    level: str
    point_lps_mm: Floats | None
    axes_lps: Floats | None
    coverages: frozenset[Coverage]
    is_required: bool
    tolerance_mm: float = MAX_ERROR_MM


@dataclass(frozen=True)
class ScanTruth:
    """What is known about a scan.

    Attributes
    ----------
    vertebrae : dict or None
        Level to vertebra, of all that were scanned or lie near the scan; None where nobody has read them.
    cord_lps_mm : (n, 3) or None
        The center of the spinal cord, from the head down.
    """

    vertebrae: Mapping[str, TrueVertebra] | None = None
    cord_lps_mm: Floats | None = field(default=None)

    def landmarks(self) -> dict[str, Floats]:
        """Return the points that variants need: origins of vertebrae, and the middle of the cord."""
        known = {
            level: vertebra.point_lps_mm
            for level, vertebra in (self.vertebrae or {}).items()
            if vertebra.point_lps_mm is not None
        }
        cord = self.cord_lps_mm if self.cord_lps_mm is not None else np.array(list(known.values()))
        if len(cord):
            known[CORD] = (cord.min(axis=0) + cord.max(axis=0)) / 2
        return known


def read_truth(name: str, real: Path, reference: Path = REFERENCE) -> ScanTruth:
    """Read what is known about a real scan.

    Parameters
    ----------
    name : str
        Name of the scan; patients of openkbp are also found without its name in front.
    real : Path
        Folder of real CT, with the cords of openkbp.
    reference : Path
        JSON file of the readers' vertebrae.
    """
    key = name.removeprefix("openkbp-")
    scans: dict[str, Any] = read_json(reference)["scans"] if reference.is_file() else {}
    scan = scans.get(name, scans.get(key))
    cords_file = real / "openkbp" / "cord_lps_mm.json"
    cords = read_json(cords_file) if cords_file.is_file() else {}
    cord = np.array(cords[key], np.float64) if key in cords else None
    if scan is None or scan["naming"]["certainty"] == "doubtful":
        return ScanTruth(None, cord)
    vertebrae = {level: _read_vertebra(level, entry) for level, entry in scan["vertebrae"].items()}
    return ScanTruth(vertebrae, cord)


def _read_vertebra(level: str, entry: Mapping[str, Any]) -> TrueVertebra:
    coverage, is_exact = _COVERAGE_OF[entry["scanned"]], (entry.get("accuracy_mm") or 0.0) <= _MAX_READ_ERROR_MM
    point, axes = (None if entry.get(key) is None else np.array(entry[key], float) for key in ("origin_lps_mm", "axes"))
    return TrueVertebra(
        level,
        point,
        axes,
        frozenset([coverage]),
        is_required=coverage != "absent" and point is not None and is_exact,
        tolerance_mm=MAX_ERROR_MM if is_exact else MAX_NAME_ERROR_MM,
    )


def truth_in(truth: ScanTruth, volume: highdicom.VolumeGeometry, *, is_cut: bool, is_neck: bool = True) -> ScanTruth:
    """Return what a volume shows of a scan.

    Parameters
    ----------
    truth : ScanTruth
        What the scan as published shows.
    volume : highdicom.VolumeGeometry
        The voxels of the scan, or of a variant of it.
    is_cut : bool
        Whether the variant is shorter or narrower than the scan. Coverage then follows from the distance of origins
        from its borders.
    is_neck : bool
        Whether levels have to be named; in a scan of another part of the body they may be, where they are right.
    """
    if truth.vertebrae is None:
        return truth
    vertebrae = {level: _vertebra_in(vertebra, volume, is_cut=is_cut) for level, vertebra in truth.vertebrae.items()}
    if not is_neck:
        vertebrae = {level: replace(vertebra, is_required=False) for level, vertebra in vertebrae.items()}
    return ScanTruth(vertebrae, truth.cord_lps_mm)


def _vertebra_in(vertebra: TrueVertebra, volume: highdicom.VolumeGeometry, *, is_cut: bool) -> TrueVertebra:
    if vertebra.point_lps_mm is None:
        return vertebra
    inside_mm = depth_mm(volume, vertebra.point_lps_mm)
    is_required = vertebra.is_required and inside_mm >= _REQUIRED_INSIDE_MM
    coverages = vertebra.coverages
    if is_cut:
        coverages = frozenset(_less_covered(coverages, _coverages_at(inside_mm)))
    return replace(vertebra, coverages=coverages, is_required=is_required)


def depth_mm(volume: highdicom.VolumeGeometry, lps_mm: Floats) -> float:
    """Return how far inside a volume a point lies: its distance from the nearest border, negative outside."""
    index, counts = to_index(volume, lps_mm), np.array(volume.spatial_shape)
    return float((np.minimum(index + 0.5, counts - 0.5 - index) * np.array(volume.spacing)).min())


def _coverages_at(inside_mm: float) -> set[Coverage]:
    """Return the coverages that are possible for a vertebra whose origin lies so far inside a cut scan.

    >>> sorted(_coverages_at(10.0)), sorted(_coverages_at(-20.0))
    (['complete', 'partial'], ['absent'])
    """
    coverages: set[Coverage] = set()
    if inside_mm >= _MAYBE_COMPLETE_INSIDE_MM:
        coverages.add("complete")
    if -_ABSENT_OUTSIDE_MM < inside_mm < _COMPLETE_INSIDE_MM:
        coverages.add("partial")
    if inside_mm <= -_MAYBE_COMPLETE_INSIDE_MM:
        coverages.add("absent")
    return coverages


def _less_covered(before: Iterable[Coverage], now: Iterable[Coverage]) -> set[Coverage]:
    """Return the coverages that are possible after a cut, of those before and by the position alone."""
    order: tuple[Coverage, ...] = ("absent", "partial", "complete")
    return {order[min(order.index(one), order.index(other))] for one in before for other in now}
