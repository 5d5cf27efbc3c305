"""Requirements that the localizer has to meet, line by line."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.localization.rates import Summary
from benchmarks.localization.scans import OPENKBP
from benchmarks.localization.scoring import MAX_CORD_MM, CaseScore
from benchmarks.localization.variants import ALWAYS, AS_IS
from cspine.core.anatomy import VERTEBRAE

MAX_NECK_ERROR_MM: Final = 4.0
MAX_NECK_MEDIAN_MM: Final = 2.5
MIN_EXPLAINED: Final = 20
"""Planning CTs in which all seven levels are named, or the reason is stated why not."""

NECKS: Final = ("vtk-head", "weasis-neck", "visible-human")
WITHOUT_NECK: Final = ("philips-study", "chest-thick", "lidc0314-thoracic", "acrin-ctc-lumbar")


@dataclass(frozen=True)
class Requirement:
    """One requirement, and whether it is met.

    Attributes
    ----------
    text : str
        What has to hold.
    result : str
        What was measured.
    is_met : bool or None
        None where it was not measured.
    """

    text: str
    result: str
    is_met: bool | None


def check_real(scores: Sequence[CaseScore]) -> list[Requirement]:
    """Check the requirements on real CT.

    Parameters
    ----------
    scores : sequence of CaseScore
        Of all real scans and variants; the kind is the name of the variant.
    """
    by_case = {(score.scan, score.kind): score for score in scores}
    rows = [
        _check(f"{scan}, {variant.name}: names right, origins within {MAX_NECK_ERROR_MM:g} mm, median "
               f"{MAX_NECK_MEDIAN_MM:g} mm", by_case.get((scan, variant.name)), check_neck)
        for scan in NECKS
        for variant in ALWAYS
    ]  # fmt: skip
    as_is = {score.scan: score for score in scores if score.kind == AS_IS.name}
    rows.append(_check("weasis-rt: all levels right", as_is.get("weasis-rt"), check_whole))
    rows.append(
        _check("ge-tilt: C1 and C2 at most", as_is.get("ge-tilt"), lambda score: _check_at_most(score, "C1 C2"))
    )
    rows += [
        _check(f"{scan}: no cervical level", as_is.get(scan), lambda score: _check_at_most(score, ""))
        for scan in WITHOUT_NECK
    ]
    text = "lidc0314-thoracic: none but C6 and C7, which are cut, where a reader sees them"
    rows.append(_check(text, as_is.get("lidc0314-thoracic"), check_whole))
    planning = [score for scan, score in as_is.items() if scan.startswith(OPENKBP)]
    rows.append(check_cord(planning))
    rows.append(check_explained(planning))
    return rows


def _check(text: str, score: CaseScore | None, check: Callable[[CaseScore], tuple[str, bool]]) -> Requirement:
    if score is None:
        return Requirement(text, "not run", None)
    result, is_met = check(score)
    return Requirement(text, result, is_met)


def check_neck(score: CaseScore) -> tuple[str, bool]:
    """Return how far off the origins of a neck are, and whether all names and origins are right."""
    if not score.levels:
        return "not read by a reader", False
    errors = score.errors_mm
    if not len(errors):
        return describe_named(score), False
    is_met = score.are_names_right and errors.max() <= MAX_NECK_ERROR_MM and np.median(errors) <= MAX_NECK_MEDIAN_MM
    names = "names right" if score.are_names_right else f"names wrong: {describe_wrong(score)}"
    return f"{names}; {errors.max():.1f} mm at most, median {np.median(errors):.1f} mm", bool(is_met)


def check_whole(score: CaseScore) -> tuple[str, bool]:
    """Return what is wrong in a scan, and whether nothing is."""
    if not score.levels:
        return "not read by a reader", False
    return describe_wrong(score) or "all right", score.is_whole


def _check_at_most(score: CaseScore, allowed: str) -> tuple[str, bool]:
    return describe_named(score), set(score.prediction.cervical) <= set(allowed.split())


def describe_named(score: CaseScore) -> str:
    """Return the cervical levels that are named, or that and why there are none."""
    if score.prediction.refusal:
        return f"none (`{score.prediction.refusal}`)"
    named = [f"{level} {each.confidence:.2f}" for level, each in score.prediction.cervical.items()]
    return ", ".join(named) or "none"


def describe_wrong(score: CaseScore) -> str:
    """Return the levels that are wrong or missing; empty where all are right."""
    wrong = []
    for level in score.levels:
        if level.is_named and not level.is_name_right:
            wrong.append(f"{level.level} is wrong ({level.confidence:.2f})")
        elif level.is_named and not level.is_right:
            wrong.append(f"{level.level} is {level.error_mm:.1f} mm off")
        elif level.is_required and not level.is_named:
            wrong.append(f"{level.level} is missing" + (", as stated" if level.is_stated_not_found else ""))
    return ", ".join(wrong) + (f" (`{score.prediction.refusal}`)" if wrong and score.prediction.refusal else "")


def check_cord(planning: Sequence[CaseScore]) -> Requirement:
    """Check that no level of a planning CT is named far from the cord."""
    text = f"openkbp, whole field: no named level farther than {MAX_CORD_MM:g} mm from the cord in any scan"
    measured = [score for score in planning if score.cord_distances_mm or score.prediction.refusal]
    if not measured:
        return Requirement(text, "not run", None)
    far = sorted(score.scan for score in measured if max(score.cord_distances_mm.values(), default=0.0) > MAX_CORD_MM)
    largest = max((max(score.cord_distances_mm.values(), default=0.0) for score in measured), default=0.0)
    listed = f" ({_listed(far)})" if far else ""
    return Requirement(text, f"in {len(far)} of {len(measured)}{listed}; {largest:.0f} mm at most", not far)


def check_explained(planning: Sequence[CaseScore]) -> Requirement:
    """Check that planning CTs show all seven levels, or that the reason is stated."""
    text = f"openkbp, whole field: seven levels or a stated reason in at least {MIN_EXPLAINED} of 24"
    if not planning:
        return Requirement(text, "not run", None)
    reasons = [explanation(score) for score in planning]
    counts = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    n_explained = sum(count for reason, count in counts.items() if reason not in {UNEXPLAINED, FALSE_REASON})
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda each: -each[1]))
    read = [score for score in planning if score.levels]
    n_named = sum(all(level.is_name_right for level in score.required) for score in read)
    named = f"all levels that a reader sees have their names in {n_named} of {len(read)}"
    return Requirement(text, f"{n_explained} of {len(planning)}: {listed}; {named}", n_explained >= MIN_EXPLAINED)


UNEXPLAINED: Final = "without a reason"
FALSE_REASON: Final = "with a false reason"


def explanation(score: CaseScore) -> str:
    """Return why a scan has fewer than seven named levels: as the localizer states it, where a reader confirms it.

    A level that is not named lies outside the scan, or is stated as not found in it. Both can be false.
    """
    prediction = score.prediction
    missing = [level for level in VERTEBRAE if level not in prediction.cervical]
    if not missing:
        return "with seven levels"
    if prediction.refusal:
        return f"refused (`{prediction.refusal}`)"
    if prediction.doubts:
        return "`level-uncertain`"
    read = {level.level: level for level in score.levels}
    stated = [level for level in missing if level in prediction.not_found]
    unstated = [level for level in missing if level not in prediction.not_found]
    if any(read[level].is_required for level in unstated if level in read):
        return UNEXPLAINED
    if unstated and not read:
        return UNEXPLAINED
    if any(read[level].is_outside for level in stated if level in read):
        return FALSE_REASON
    return "with levels stated as not found" if stated else "whose other levels lie outside"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name.removeprefix(f"{OPENKBP}-") for name in names)


@dataclass(frozen=True)
class _Bound:
    text: str
    value: Callable[[Summary], float]
    limit: float
    is_lower: bool


_PHANTOM_BOUNDS: Final = (
    _Bound("whole-subject rate at least 0.97", lambda s: s.whole.value, 0.97, is_lower=True),
    _Bound("covered vertebrae right within 5 mm at least 0.985", lambda s: s.right.value, 0.985, is_lower=True),
    _Bound("median error of the origin under 1 mm", lambda s: s.median_error_mm, 1.0, is_lower=False),
    _Bound("coverage right at least 0.98", lambda s: s.coverage.value, 0.98, is_lower=True),
    _Bound("no cervical level in at least 0.99 of the scans without one", lambda s: s.none_named.value, 0.99,
           is_lower=True),
    _Bound("expected calibration error of level confidence under 0.03", lambda s: s.calibration_error, 0.03,
           is_lower=False),
    _Bound("of wrong names at most one in five with a confidence above 0.9",
           lambda s: s.n_confident_errors / s.n_wrong_names if s.n_wrong_names else 0.0, 0.2, is_lower=False),
)  # fmt: skip


def check_phantoms(summary: Summary) -> list[Requirement]:
    """Check the requirements on phantoms of the hidden domain."""
    rows = []
    for bound in _PHANTOM_BOUNDS:
        value = bound.value(summary)
        is_met = None if np.isnan(value) else value >= bound.limit if bound.is_lower else value <= bound.limit
        rows.append(Requirement(bound.text, "not run" if is_met is None else f"{value:.3f}", is_met))
    return rows
