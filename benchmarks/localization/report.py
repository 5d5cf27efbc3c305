"""Tables and JSON of a run, beside those of an earlier localizer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.localization.must_hold import Requirement, describe_named, describe_wrong, explanation
from benchmarks.localization.rates import Summary
from benchmarks.localization.scans import OPENKBP, REAL_SCANS
from benchmarks.localization.scoring import CaseScore
from benchmarks.localization.variants import AS_IS
from cspine.core.files import plain_json
from cspine.metrics.bootstrap import Interval
from cspine.reports.evaluation.sections import NOT_AVAILABLE, Table, format_interval, format_number

RESULTS: Final = Path(__file__).parents[1] / "results"
"""Folder of the kept results of earlier localizers."""

EARLIER: Final = RESULTS / "localization-0.1.json"
"""Results of the localizer that versions 0.1 and 0.2 shipped."""

EARLIER_NAME: Final = "0.1"
NEW_NAME: Final = "this"

_MET: Final = {True: "yes", False: "no", None: NOT_AVAILABLE}


def to_json(
    scores: Sequence[CaseScore], requirements: Iterable[Requirement], summaries: Mapping[str, Summary]
) -> dict[str, Any]:
    """Return the results of a run as they are kept: requirements, summaries of groups, and one line of each case."""
    numbers = {
        "requirements": [[each.text, each.result, each.is_met] for each in requirements],
        "summaries": {name: _summary_json(summary) for name, summary in summaries.items()},
        "cases": {f"{score.scan}, {score.kind}": describe_case(score) for score in scores},
    }
    return dict(plain_json(numbers))


def _summary_json(summary: Summary) -> dict[str, Any]:
    return {
        name: [value.value, value.low, value.high] if isinstance(value, Interval) else value
        for name, value in vars(summary).items()
    }


def _of_kind(scores: Sequence[CaseScore], kind: str) -> list[CaseScore]:
    return [score for score in scores if score.kind == kind]


def describe_case(score: CaseScore) -> str:
    """Return the outcome of a case in a few words."""
    if not score.levels:
        return f"{describe_named(score)} (not read by a reader)"
    wrong = describe_wrong(score)
    if wrong:
        return wrong
    if score.has_neck:
        return "right"
    return f"right: {describe_named(score)}" if score.named else "none, as is right" + _refusal(score)


def _refusal(score: CaseScore) -> str:
    return f" (`{score.prediction.refusal}`)" if score.prediction.refusal else ""


# --- tables ----------------------------------------------------------------------------------------------------------


def requirement_table(requirements: Sequence[Requirement], earlier: Mapping[str, Any]) -> Table:
    """Return a table of requirements, beside the results of the earlier localizer.

    Parameters
    ----------
    requirements : sequence of Requirement
        Requirements, checked on the run.
    earlier : dict
        Results of `to_json`; empty where there are none.
    """
    before = {text: (result, is_met) for text, result, is_met in earlier.get("requirements", [])}
    rows = []
    for each in requirements:
        result, is_met = before.get(each.text, (NOT_AVAILABLE, None))
        rows.append((each.text, result, _MET[is_met], each.result, _MET[each.is_met]))
    return Table(("must hold", EARLIER_NAME, "met", NEW_NAME, "met"), tuple(rows))


_MEASURES: Final = (
    ("scans", "n_scans"),
    ("levels to be named", "n_levels"),
    ("whole-subject rate", "whole"),
    ("whole-subject rate, names alone", "whole_names"),
    ("levels right within 5 mm", "right"),
    ("error of the origin, median, mm", "median_error_mm"),
    ("error of the origin, 95th percentile, mm", "p95_error_mm"),
    ("bias along x, y, z of the vertebra, mm", "bias_mm"),
    ("coverage right", "coverage"),
    ("no cervical level named where there is none", "none_named"),
    ("expected calibration error of level confidence", "calibration_error"),
    ("wrong names", "n_wrong_names"),
    ("wrong names with a confidence above 0.9", "n_confident_errors"),
    ("wrong names that state the right one as alternative", "n_right_alternatives"),
    ("missing, and stated as not found", "n_not_found"),
    ("scans with uncertain levels", "n_uncertain"),
    ("scans refused", "refusals"),
)
"""Rows of summaries: name, and the attribute of `Summary`."""


def summary_table(summaries: Mapping[str, Summary], earlier: Mapping[str, Any]) -> Table:
    """Return a table of summaries, one column for each group of scans, beside the earlier localizer's.

    Parameters
    ----------
    summaries : dict
        Name of each group to its summary.
    earlier : dict
        Results of `to_json`; groups that it does not hold have one column.
    """
    before = earlier.get("summaries", {})
    columns: list[tuple[str, dict[str, Any]]] = []
    for name, summary in summaries.items():
        if name in before:
            columns.append((f"{name}, {EARLIER_NAME}", before[name]))
        columns.append((name, dict(plain_json(_summary_json(summary)))))
    rows = tuple((text, *(_cell(column.get(key)) for _, column in columns)) for text, key in _MEASURES)
    return Table(("measure", *(name for name, _ in columns)), rows)


def _cell(value: Any) -> str:
    """Return a value of a summary as text.

    >>> _cell(3), _cell(None), _cell({}), _cell([0.5, 0.25, 0.75]), _cell({"too-thick": 2})
    ('3', '-', '0', '0.500 (0.250 to 0.750)', '2 `too-thick`')
    """
    if value is None or value == [None, None, None]:
        return NOT_AVAILABLE
    if isinstance(value, dict):
        return ", ".join(f"{count} `{code}`" for code, count in value.items()) or "0"
    if isinstance(value, list):
        numbers = [float("nan") if each is None else float(each) for each in value]
        if numbers[1] <= numbers[0] <= numbers[2] and 0 <= numbers[0] <= 1:
            return format_interval(Interval(numbers[0], numbers[1], numbers[2]))
        return ", ".join(f"{each:+.1f}" for each in numbers)
    return str(value) if isinstance(value, int) else format_number(value, 2 if value >= 0.1 else 3)


def rate_table(summaries: Mapping[str, Summary], earlier: Mapping[str, Any]) -> Table:
    """Return a table of the main rates, one row for each group of scans, the earlier localizer's in front.

    Parameters
    ----------
    summaries : dict
        Name of each group to its summary.
    earlier : dict
        Results of `to_json`.
    """
    before, rows = earlier.get("summaries", {}), []
    for name, summary in summaries.items():
        old, new = before.get(name, {}), dict(plain_json(_summary_json(summary)))
        rows.append((name, str(summary.n_scans), *(cell(part) for cell in _RATES.values() for part in (old, new))))
    header = [f"{measure}{column}" for measure in _RATES for column in (f", {EARLIER_NAME}", "")]
    return Table(("scans", "number", *header), tuple(rows))


def fraction_table(scores: Mapping[float, Sequence[CaseScore]]) -> Table:
    """Return a table of how the rates depend on which vertebrae have to be named.

    Parameters
    ----------
    scores : dict
        Scanned fraction from which on a vertebra has to be named, the lowest first, to the scores of all scans. All
        rows are of the scans in which one has to be at the lowest.
    """
    with_neck = {score.scan for score in next(iter(scores.values())) if score.has_neck}
    rows = []
    for fraction, of_all in scores.items():
        kept = [score for score in of_all if score.scan in with_neck]
        levels = [level.is_right for score in kept for level in score.required]
        names = [score.are_names_right for score in kept]
        rates = [float(np.mean(part)) for part in ([score.is_whole for score in kept], names, levels)]
        rows.append((f"{100 * fraction:.0f} %", str(len(levels)), *(f"{rate:.3f}" for rate in rates)))
    header = ("scanned at least", "levels", "wholly right", "wholly right, names alone", "levels right within 5 mm")
    return Table(header, tuple(rows))


_RATES: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "wholly right": lambda part: _first(part.get("whole")),
    "levels right": lambda part: _first(part.get("right")),
    "none named": lambda part: _first(part.get("none_named")),
    "coverage right": lambda part: _first(part.get("coverage")),
    "median error, mm": lambda part: _cell(part.get("median_error_mm")),
    "wrong names": lambda part: _cell(part.get("n_wrong_names")),
    "calibration error": lambda part: _cell(part.get("calibration_error")),
}
"""Columns of `rate_table`: name, and the cell of a summary."""


def _first(interval: list[float | None] | None) -> str:
    value = (interval or [None])[0]
    return NOT_AVAILABLE if value is None else f"{value:.3f}"


def scan_table(scores: Sequence[CaseScore], earlier: Mapping[str, Any]) -> Table:
    """Return a table of all scans but planning CTs, as published: what is right and wrong, beside the earlier."""
    cases, rows = earlier.get("cases", {}), []
    contents = {scan.name: scan.content for scan in REAL_SCANS}
    for score in _of_kind(scores, AS_IS.name):
        if not score.scan.startswith(OPENKBP):
            before = str(cases.get(f"{score.scan}, {score.kind}", NOT_AVAILABLE))
            name = f"{score.scan} ({contents.get(score.scan, '')})"
            rows.append((name, before, describe_case(score), *_counts(score), _errors(score)))
    header = ("scan", EARLIER_NAME, NEW_NAME, "levels right", "coverage right", _ERRORS)
    return Table(header, tuple(rows))


def variant_table(scores: Sequence[CaseScore], earlier: Mapping[str, Any]) -> Table:
    """Return a table of the variants of all scans but planning CTs in which something is wrong."""
    cases, rows = earlier.get("cases", {}), []
    for score in scores:
        if not score.scan.startswith(OPENKBP) and score.kind != AS_IS.name:
            before = str(cases.get(f"{score.scan}, {score.kind}", NOT_AVAILABLE))
            now = describe_case(score)
            if not (_is_fine(before) and _is_fine(now)):
                rows.append((f"{score.scan}, {score.kind}", before, now))
    return Table(("scan and variant", EARLIER_NAME, NEW_NAME), tuple(rows))


def _is_fine(outcome: str) -> bool:
    return outcome.startswith(("right", "none, as is right", NOT_AVAILABLE))


def planning_table(scores: Sequence[CaseScore], earlier: Mapping[str, Any]) -> Table:
    """Return a table of planning CTs in their whole field: levels, distance from the cord, and what is missing."""
    cases, rows = earlier.get("cases", {}), []
    for score in _of_kind(scores, AS_IS.name):
        if score.scan.startswith(OPENKBP):
            levels = list(score.prediction.cervical)
            named = f"{levels[0]} to {levels[-1]}" if levels else describe_named(score)
            distance = max(score.cord_distances_mm.values(), default=float("nan"))
            before = str(cases.get(f"{score.scan}, {score.kind}", NOT_AVAILABLE))
            rows.append(
                (score.scan, before, describe_case(score), named, explanation(score), format_number(distance, 0))
            )
    header = ("scan", EARLIER_NAME, NEW_NAME, "named", "reason", "farthest from the cord, mm")
    return Table(header, tuple(rows))


_ERRORS: Final = "error, mm: median, 95th percentile, largest"


def _errors(score: CaseScore) -> str:
    errors = score.errors_mm
    if not len(errors):
        return NOT_AVAILABLE
    return f"{np.median(errors):.1f}, {np.quantile(errors, 0.95):.1f}, {errors.max():.1f}"


def _counts(score: CaseScore) -> tuple[str, str]:
    """Return how many of the levels to be named are right, and of how many levels the coverage is."""
    if not score.levels:
        return NOT_AVAILABLE, NOT_AVAILABLE
    right, required = sum(level.is_right for level in score.required), len(score.required)
    coverage = sum(level.is_coverage_right for level in score.levels)
    return f"{right} of {required}" if required else NOT_AVAILABLE, f"{coverage} of {len(score.levels)}"


# --- pictures --------------------------------------------------------------------------------------------------------


def gallery(scores: Sequence[CaseScore], earlier: Mapping[str, Any], folder: str) -> str:
    """Return Markdown that shows the picture of each scan with what is right and wrong in it.

    Parameters
    ----------
    scores : sequence of CaseScore
        Of all scans; the ones as published are shown.
    earlier : dict
        Results of `to_json`.
    folder : str
        Folder of the pictures, relative to the page.
    """
    by_scan = {score.scan: score for score in _of_kind(scores, AS_IS.name)}
    parts = []
    for scan in REAL_SCANS:
        score = by_scan.get(scan.name)
        if score is None:
            continue
        before = earlier.get("cases", {}).get(f"{scan.name}, {AS_IS.name}")
        parts.append(
            f"**{scan.name}**: {scan.content}. {_sentence(describe_case(score))}"
            + (f" {EARLIER_NAME}: {before}." if before else "")
            + f"\n\n![{scan.name}, sagittal and coronal]({folder}/{scan.name}.jpg)\n\nScan: {scan.source}.\n"
        )
    return "\n".join(parts)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
