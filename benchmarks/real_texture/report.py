"""Tables and JSON of a run, beside those of the level network of versions 0.1 and 0.2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from benchmarks.localization.must_hold import Requirement
from benchmarks.localization.report import EARLIER_NAME, NEW_NAME, RESULTS
from benchmarks.real_texture.measures import IntactScan, VirtualFractures, groups_of_necks, mean_over_necks
from benchmarks.real_texture.variants import VARIANTS
from cspine.core.anatomy import VERTEBRAE
from cspine.core.files import plain_json
from cspine.evaluation.target_metrics import MIN_CASES
from cspine.metrics.bootstrap import Interval
from cspine.reports.evaluation.sections import NOT_AVAILABLE, Table, format_interval

EARLIER: Final = RESULTS / "real-texture-0.1.json"
"""Results of the level network that versions 0.1 and 0.2 shipped, in the frames of the localizer 0839b0730bf4: the one
of that time no longer runs."""

Results = Mapping[str, Any]
"""What `to_json` returns."""


def to_json(
    intact: Sequence[IntactScan], virtual: VirtualFractures | None, requirements: Sequence[Requirement]
) -> dict[str, Any]:
    """Return the results of a run as they are kept."""
    numbers = {
        "requirements": [[each.text, each.result, each.is_met] for each in requirements],
        "intact": {each.scan: _intact_json(each) for each in intact},
        "virtual": asdict(virtual) if virtual else None,
    }
    return dict(plain_json(numbers))


def _intact_json(intact: IntactScan) -> dict[str, Any]:
    return {
        **asdict(intact),
        "level_alarms": intact.level_alarms,
        "is_patient_alarm": intact.is_patient_alarm,
        "sharpness_points": intact.spread_points("sharpness"),
        "kernel_points": intact.spread_points("kernel"),
        "repeatability": intact.repeatability(),
    }


def intact_table(results: Results, earlier: Results) -> Table:
    """Return a table of intact scans: alarms, spread over sharpness, and decisions kept."""
    rows = []
    for scan, new in results["intact"].items():
        old = earlier.get("intact", {}).get(scan)
        cells = [cell for part in _INTACT_CELLS.values() for cell in (part(old) if old else NOT_AVAILABLE, part(new))]
        rows.append((scan, *cells))
    header = [f"{name}{column}" for name in _INTACT_CELLS for column in (f", {EARLIER_NAME}", "")]
    return Table(("scan", *header), tuple(rows))


def _patient(intact: Results) -> str:
    return _percent(intact["patient"], is_alarm=intact["is_patient_alarm"])


def _points(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:.0f}"


_INTACT_CELLS: Final[dict[str, Callable[[Results], str]]] = {
    "patient": _patient,
    "levels above triage": lambda intact: f"{len(intact['level_alarms'])} of {len(intact['levels'])}",
    "points by slices and blur": lambda intact: _points(intact["sharpness_points"]),
    "points by kernel and HU": lambda intact: _points(intact["kernel_points"]),
    "decisions kept": lambda intact: " of ".join(map(str, intact["repeatability"])),
}
"""Columns of `intact_table`: name, and the cell of a scan's results."""


def level_table(results: Results) -> Table:
    """Return a table of the probabilities of all levels of intact scans; a triangle marks alarms."""
    rows = [
        (
            scan,
            *(_percent(intact["levels"].get(level), is_alarm=level in intact["level_alarms"]) for level in VERTEBRAE),
            _patient(intact),
        )
        for scan, intact in results["intact"].items()
    ]
    return Table(("scan", *VERTEBRAE, "patient"), tuple(rows))


def _percent(probability: float | None, *, is_alarm: bool) -> str:
    """Return a probability as text, marked where it is an alarm.

    >>> _percent(0.251, is_alarm=True), _percent(None, is_alarm=False)
    ('▲ 25 %', '-')
    """
    if probability is None:
        return NOT_AVAILABLE
    return "▲ " * is_alarm + f"{100 * probability:.0f} %"


def variant_table(results: Results) -> Table:
    """Return a table of the patient's probability by variant of each intact scan; a triangle marks alarms."""
    scans = results["intact"]
    rows = []
    for variant in VARIANTS:
        cells = []
        for intact in scans.values():
            value = intact["patients"].get(variant.name)
            cells.append(_percent(value, is_alarm=value is not None and value >= intact["patient_threshold"]))
        rows.append((variant.variant.description, *cells))
    return Table(("variant", *scans), tuple(rows))


def group_table(results: Results, earlier: Results) -> Table:
    """Return a table of groups of virtual fractures."""
    before = ((earlier.get("virtual") or {}).get("groups")) or {}
    rows = []
    for name, new in results["virtual"]["groups"].items():
        old = before.get(name, {})
        cells = [_interval(part.get(key)) for key in _GROUP_CELLS.values() for part in (old, new)]
        rows.append((f"{name}{' *' * (new['n_fractured'] < MIN_CASES)}", str(new["n_fractured"]), *cells))
    header = [f"{name}{column}" for name in _GROUP_CELLS for column in (f", {EARLIER_NAME}", "")]
    return Table(("virtual fractures", "number", *header), tuple(rows))


_GROUP_CELLS: Final = {
    "level AUC": "auc",
    "AUC within the same vertebra": "auc_within",
    "sensitivity": "sensitivity",
    "place within 10 mm": "place",
}

_OVERALL: Final = (
    ("specificity of vertebrae without a fracture", "specificity"),
    ("vertebrae with shams above the triage point", "sham_alarms"),
    ("the same vertebrae where nothing was done", "untouched_alarms"),
    ("intact vertebrae beside a fractured one above it", "neighbor_alarms"),
    ("patient AUC, clear or obvious fractures against shams", "patient_auc"),
    ("patient sensitivity, clear or obvious fractures", "patient_sensitivity"),
    ("patients with shams above the triage point", "sham_patient_alarms"),
    ("level AUC, clear or obvious: mean of the necks, interval over necks", "neck_auc"),
    ("sensitivity, clear or obvious: the same", "neck_sensitivity"),
    ("place within 10 mm, clear or obvious: the same", "neck_place"),
)


def overall_table(results: Results, earlier: Results) -> Table:
    """Return a table of what is measured on all virtual studies together."""
    before, virtual = _with_neck_means(earlier.get("virtual") or {}), results["virtual"]
    rows = [(text, _interval(before.get(key)), _interval(virtual.get(key))) for text, key in _OVERALL]
    return Table(
        (f"{virtual['n_studies']} studies with fractures, as many with shams", EARLIER_NAME, NEW_NAME), tuple(rows)
    )


def _with_neck_means(virtual: Results) -> Results:
    """Return results with the means over necks, which early ones lack; they are computed of the groups by neck."""
    necks = groups_of_necks(virtual.get("groups", {}))
    means = {
        key: mean_over_necks([float("nan") if neck[part]["value"] is None else neck[part]["value"] for neck in necks])
        for key, part in (("neck_auc", "auc"), ("neck_sensitivity", "sensitivity"), ("neck_place", "place"))
    }
    return {key: asdict(mean) for key, mean in means.items()} | dict(virtual)


def _interval(value: Mapping[str, float | None] | None) -> str:
    """Return an interval of the results as text.

    >>> _interval({"value": 0.5, "low": None, "high": None}), _interval(None)
    ('0.50', '-')
    """
    numbers = [None if value is None else value[name] for name in ("value", "low", "high")]
    estimate, low, high = (float("nan") if number is None else number for number in numbers)
    return format_interval(Interval(estimate, low, high), 2)


def to_requirements(results: Results) -> list[Requirement]:
    """Return the requirements of the results."""
    return [Requirement(text, result, is_met) for text, result, is_met in results["requirements"]]
