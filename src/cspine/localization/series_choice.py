"""Series choice: of the readable series of a study, the one that shows most of the neck.

Headers do not say what a series shows: a reconstruction of the head or the chest may be thinner and sharper than that
of the neck. Where a study has more than one readable series, the best of them by header are therefore localized in a
thinned volume, and the one that covers most of C1 to C7 is read. Among those that cover equally much, headers decide.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import InputError, NotAssessableError, is_memory_error
from cspine.dicom.ranking.criteria import is_over_limit
from cspine.dicom.series_selection import Rejection
from cspine.localization.coarse import load_thinned
from cspine.localization.localizer import Localizer
from cspine.spine.boxes import box_corners
from cspine.spine.spine_map import MIN_COMPLETE_FRACTION, MIN_PARTIAL_FRACTION

if TYPE_CHECKING:
    import highdicom

    from cspine.core.typing import Bools, Floats
    from cspine.dicom.loading import LoadPlan
    from cspine.dicom.series import Series
    from cspine.localization.compiler import VolumeLocalizer
    from cspine.spine.spine_map import SpineMap

MAX_LOCALIZED: Final = 4
"""Series that are localized to choose one, where they show most of a neck."""

MAX_SEARCHED: Final = 12
"""Series that are localized until one shows most of a neck."""

_MOST_OF_NECK: Final = len(VERTEBRAE) / 2
"""Levels, in sum of their scanned fractions, that no other series can be expected to exceed by much."""

_DOUBTFUL_WEIGHT: Final = 0.5
"""Weight of levels that are uncertain, so that a series whose levels are certain is read instead."""

_EQUAL_LEVELS: Final = 0.25
"""Series whose covered levels differ by less than this cover equally much: thinned volumes are noisy."""

_ELSEWHERE_FRACTION: Final = 0.5
"""A vertebra is shown elsewhere if another series covers so much more of it."""

_SAME_EXTENT_MM: Final = 20.0
"""Series whose bounding boxes differ by less than this show the same part of the patient."""

_HALF_WIDTH_LPS_MM: Final = (66.0, 120.0, np.inf)
"""How far from the middle of the body the neck lies at most, along LPS x, y and z, which saves time in wide scans."""

_BODY_HU: Final = -300
_BODY_STEP: Final = 4
"""The middle of the body is the median of its voxels, of every fourth along each axis."""

_MIN_ALIGNED_COSINE: Final = 0.9
"""Of slices that deviate more from the patient's axes all voxels are localized."""

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Look:
    """What a series shows of the neck.

    Attributes
    ----------
    fractions : (7,)
        Which fraction of C1 to C7 it covers, times the confidence of the level; half of that where the map is doubtful.
    problem : str
        Why it shows nothing; empty where it does.
    error : InputError or None
        Why it cannot be read.
    """

    fractions: Floats
    problem: str = ""
    error: InputError | None = None

    @property
    def total(self) -> float:
        """Number of levels that are covered, fractions summed."""
        return float(self.fractions.sum())

    @property
    def is_full(self) -> bool:
        """Whether the whole neck is covered, so that no series can cover more."""
        return self.total >= len(VERTEBRAE) * MIN_COMPLETE_FRACTION - _EQUAL_LEVELS / 2

    @property
    def levels(self) -> str:
        """Names of the covered levels."""
        return _level_names(self.fractions >= MIN_PARTIAL_FRACTION)


def choose_series(plan: LoadPlan, localizer: VolumeLocalizer | None) -> LoadPlan:
    """Choose the series of a study that shows most of the neck.

    Parameters
    ----------
    plan : LoadPlan
        The series that ranks first by header, and its alternatives, of `cspine.dicom.loading.open_series`.
    localizer : VolumeLocalizer or None
        Localizes the vertebrae of a volume; where None, the ranking by header stays.

    Returns
    -------
    LoadPlan
        The plan itself where there is nothing to choose. Otherwise the reasons of its selection say what the series
        show, and its warnings which part of the neck only another one shows.
    """
    candidates = plan.selection.candidates
    if localizer is None or len(candidates) < 2:
        return plan
    looks = _look_at_best(plan, localizer)
    order = _order(candidates, looks)
    if not looks or not order:  # there is no choice, or none can be read: reading the first one says why
        return plan
    best = order[0]
    _LOGGER.info("localized %d of %d series to choose one", len(looks), len(candidates))
    selection = plan.selection.reordered(
        [candidates[index] for index in order],
        reasons=[_reason(looks, best)],
        against=list(_rejections(candidates, looks, best)),
        warnings=_warnings(candidates, looks, best),
    )
    return plan.retargeted(selection)


def _look_at_best(plan: LoadPlan, localizer: VolumeLocalizer) -> dict[int, _Look]:
    """Localize the best candidates, those that show different parts of the patient first; by index."""
    candidates, looks = plan.selection.candidates, dict[int, _Look]()
    assessable = [index for index, series in enumerate(candidates) if not _is_too_thick(plan, series)]
    if len(assessable) < 2:
        return {}
    originals = _first_of_extent(candidates)
    for index in sorted(assessable, key=lambda index: originals[index] != index):
        if _is_enough(looks, index):
            continue
        selection = plan.selection.reordered([candidates[index]])
        looks[index] = _look_at(plan.retargeted(selection), localizer)
    for index, original in enumerate(originals):  # what lies in the same place shows the same
        if index not in looks and original in looks and looks[original].error is None:
            looks[index] = looks[original]
    return looks


def _is_too_thick(plan: LoadPlan, series: Series) -> bool:
    """Return whether the plan's limits exclude a series."""
    return plan.policy.max_slice_spacing_mm is not None and is_over_limit(series)


def _is_enough(looks: dict[int, _Look], index: int) -> bool:
    """Return whether a further candidate need not be localized."""
    best = max((look.total for look in looks.values()), default=0.0)
    if len(looks) >= (MAX_LOCALIZED if best >= _MOST_OF_NECK else MAX_SEARCHED):
        return True
    return any(look.is_full and better < index for better, look in looks.items())


def _look_at(plan: LoadPlan, localizer: VolumeLocalizer) -> _Look:
    """Localize a series in a thinned volume."""
    nothing = np.zeros(len(VERTEBRAE))
    try:
        volume = _crop_to_midline(load_thinned(plan))
        spine = localizer.localize_as_stated(volume) if isinstance(localizer, Localizer) else localizer(volume)
        spine.require_cervical()
    except NotAssessableError as error:
        is_empty = error.code == "no-cervical-spine"
        return _Look(nothing, "shows no cervical vertebra" if is_empty else f"cannot be assessed: {error.reason}")
    except InputError as error:
        if is_memory_error(error):
            raise
        return _Look(nothing, f"cannot be read: {error}", error)
    return _Look(_fractions(spine))


def _crop_to_midline(volume: highdicom.Volume) -> highdicom.Volume:
    """Return the voxels near the middle of the body; all of them where slices are oblique or show no body."""
    body = np.argwhere(volume.array[::_BODY_STEP, ::_BODY_STEP, ::_BODY_STEP] > _BODY_HU) * _BODY_STEP
    directions = np.abs(volume.affine[:3, :3] / volume.spacing)
    if not len(body) or directions.max(axis=0).min() < _MIN_ALIGNED_COSINE:
        return volume
    half_widths = np.array(_HALF_WIDTH_LPS_MM)[directions.argmax(axis=0)] / volume.spacing
    middle, count = np.median(body, axis=0), np.array(volume.spatial_shape)
    low, high = (np.clip(middle + half, 0, count).astype(int) for half in (-half_widths, half_widths + 1))
    k, j, i = (slice(start, stop) for start, stop in zip(low.tolist(), high.tolist(), strict=True))
    return volume[k, j, i]  # type: ignore[index]  # highdicom's annotation allows tuples of one only


def _fractions(spine: SpineMap) -> Floats:
    vertebrae = [spine.cervical[level] for level in VERTEBRAE]
    fractions = np.array(
        [each.scanned_fraction * each.confidence if each and each.coverage != "absent" else 0.0 for each in vertebrae]
    )
    return fractions * _DOUBTFUL_WEIGHT if spine.doubts else fractions


def _order(candidates: Sequence[Series], looks: dict[int, _Look]) -> list[int]:
    """Return the candidates that may be read, best first.

    Those that show a neck come first, then those that nobody looked at, then those that show none. A series whose
    slices are too far apart comes after all others that show a neck.
    """
    readable = [index for index in range(len(candidates)) if index not in looks or looks[index].error is None]
    totals = {index: looks[index].total for index in readable if index in looks}
    necks = [index for index in readable if totals.get(index, 0.0) > 0]
    order: list[int] = []
    for is_thick in (False, True):
        remaining = [index for index in necks if is_over_limit(candidates[index]) == is_thick]
        while remaining:
            most = max(totals[index] for index in remaining)
            best = next(index for index in remaining if totals[index] >= most - _EQUAL_LEVELS)
            remaining.remove(best)
            order.append(best)
    others = [index for index in readable if index not in order]
    return order + sorted(others, key=lambda index: index in totals)


def _reason(looks: dict[int, _Look], best: int) -> str:
    if best not in looks or not looks[best].total:
        return "no series that was localized shows a cervical vertebra"
    return f"shows {looks[best].levels}"


def _rejections(candidates: Sequence[Series], looks: dict[int, _Look], best: int) -> Iterator[Rejection]:
    """Yield the reasons against candidates that are not in their headers."""
    most = looks[best].total if best in looks else 0.0
    for index, look in looks.items():
        if index == best:
            continue
        if look.problem and (most or look.error):
            yield Rejection(candidates[index], look.problem)
        elif look.total < most - _EQUAL_LEVELS:
            yield Rejection(candidates[index], f"shows only {look.levels}")


def _warnings(candidates: Sequence[Series], looks: dict[int, _Look], best: int) -> list[str]:
    """Return what must be known of the series that are not read."""
    damaged = [look.error for index, look in looks.items() if look.error is not None and index < best]
    warnings = [f"a series that ranks higher cannot be read, so that another one was: {error}" for error in damaged]
    if best not in looks or not looks[best].total:
        return warnings
    missing = np.zeros(len(VERTEBRAE), bool)
    for index, look in sorted(looks.items()):
        elsewhere = (look.fractions >= looks[best].fractions + _ELSEWHERE_FRACTION) & ~missing
        if elsewhere.any():
            missing |= elsewhere
            uid = candidates[index].series_instance_uid
            warnings.append(f"{_level_names(elsewhere)}: shown by another series only, which was not read ({uid})")
    return warnings


def _first_of_extent(candidates: Sequence[Series]) -> list[int]:
    """Return for each candidate the first one that shows the same part of the patient."""
    extents = [_extent_lps_mm(series) for series in candidates]
    frames = [series.headers[0].frame_of_reference_uid for series in candidates]
    return [
        next(
            first
            for first in range(index + 1)
            if first == index
            or (frames[first] == frames[index] and np.abs(extents[first] - extents[index]).max() < _SAME_EXTENT_MM)
        )
        for index in range(len(candidates))
    ]


def _extent_lps_mm(series: Series) -> Floats:
    """Return the lowest and the highest LPS coordinates of the voxels of a series, (2, 3)."""
    stack, first = series.stack, series.headers[0]
    last = np.array([len(stack.order), first.rows or 1, first.columns or 1]) - 1
    affine = stack.affine_lps()
    corners = affine[:3, :3] @ box_corners(np.zeros(3), last) + affine[:3, 3:]
    return np.stack([corners.min(axis=1), corners.max(axis=1)])


def _level_names(mask: Bools) -> str:
    """Return the names of levels; of neighbors the first and the last.

    >>> _level_names(np.array([True, True, True, False, True, False, False]))
    'C1 to C3, C5'
    """
    names, start = [], None
    for number in range(len(VERTEBRAE) + 1):
        is_member = number < len(VERTEBRAE) and bool(mask[number])
        if is_member and start is None:
            start = number
        if not is_member and start is not None:
            first, last = VERTEBRAE[start], VERTEBRAE[number - 1]
            names.append(first if first == last else f"{first} to {last}")
            start = None
    return ", ".join(names)
