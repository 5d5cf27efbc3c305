"""Requirements on real bone, line by line."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.localization.must_hold import Requirement
from benchmarks.real_texture.measures import VISIBLE_NAME, IntactScan, VirtualFractures
from benchmarks.real_texture.run import NECKS
from cspine.metrics.bootstrap import Interval
from cspine.reports.evaluation.sections import format_interval

MAX_LEVEL_ALARMS: Final = 0.10
MIN_QUIET_PATIENTS: Final = 0.8
"""Fraction of intact scans whose patient is below the triage point: 4 of 5."""

MAX_SPREAD_POINTS: Final = 10.0
MIN_REPEATABILITY: Final = 0.95
MIN_AUC: Final = 0.92
MIN_SENSITIVITY: Final = 0.75
MIN_PLACE: Final = 0.80


def check(intact: Sequence[IntactScan], virtual: VirtualFractures | None) -> list[Requirement]:
    """Check the requirements on intact scans and on virtual fractures."""
    necks = [each for each in intact if each.scan in NECKS]
    return [
        _check_levels(f"intact necks: at most {MAX_LEVEL_ALARMS:.0%} of the levels above the triage point", necks),
        _check_levels(f"all intact scans: at most {MAX_LEVEL_ALARMS:.0%} of the levels above it", intact),
        _check_patients(intact),
        *(_check_spread(each) for each in necks),
        _check_repeatability(necks),
        *_check_virtual(virtual),
    ]


def _check_levels(text: str, intact: Sequence[IntactScan]) -> Requirement:
    n_levels, n_alarms = sum(len(each.levels) for each in intact), sum(len(each.level_alarms) for each in intact)
    if not n_levels:
        return Requirement(text, "not run", None)
    return Requirement(text, f"{n_alarms} of {n_levels}", n_alarms <= MAX_LEVEL_ALARMS * n_levels)


def _check_patients(intact: Sequence[IntactScan]) -> Requirement:
    text = "all intact scans: no patient above the triage point in at least 4 of 5"
    if not intact:
        return Requirement(text, "not run", None)
    alarms = [each.scan for each in intact if each.is_patient_alarm]
    listed = f" (above: {', '.join(alarms)})" if alarms else ""
    n_quiet = len(intact) - len(alarms)
    return Requirement(text, f"{n_quiet} of {len(intact)}{listed}", n_quiet >= MIN_QUIET_PATIENTS * len(intact))


def _check_spread(intact: IntactScan) -> Requirement:
    text = f"{intact.scan}: patient within {MAX_SPREAD_POINTS:g} points at 1 to 3 mm and blurred by 0 to 1 mm"
    spread = intact.spread_points("sharpness")
    if spread is None:
        return Requirement(text, "not run", None)
    return Requirement(text, f"{spread:.0f} points", spread <= MAX_SPREAD_POINTS)


def _check_repeatability(necks: Sequence[IntactScan]) -> Requirement:
    text = f"intact necks: other noise and grid keep at least {MIN_REPEATABILITY:.0%} of the decisions of vertebrae"
    pairs = [each.repeatability() for each in necks]
    n_kept, n_decisions = sum(kept for kept, _ in pairs), sum(total for _, total in pairs)
    if not n_decisions:
        return Requirement(text, "not run", None)
    rate = n_kept / n_decisions
    return Requirement(text, f"{rate:.1%} ({n_kept} of {n_decisions})", rate >= MIN_REPEATABILITY)


def _check_virtual(virtual: VirtualFractures | None) -> list[Requirement]:
    group = virtual.groups.get(VISIBLE_NAME) if virtual else None
    bounds: tuple[tuple[str, Interval | None, float], ...] = (
        ("level AUC", group.auc if group else None, MIN_AUC),
        ("sensitivity at the triage point", group.sensitivity if group else None, MIN_SENSITIVITY),
        ("place within 10 mm of those detected", group.place if group else None, MIN_PLACE),
    )
    rows = []
    for name, interval, least in bounds:
        text = f"{VISIBLE_NAME} virtual fractures: {name} at least {least:.2f}"
        if interval is None or np.isnan(interval.value):
            rows.append(Requirement(text, "not run", None))
        else:
            rows.append(Requirement(text, format_interval(interval), interval.value >= least))
    return rows
