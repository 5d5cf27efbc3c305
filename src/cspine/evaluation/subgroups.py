"""Subgroup analysis: by level, visibility, type and lost bone of the fracture, by properties of scan and patient."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.core.columns import STUDY
from cspine.core.typing import Bools
from cspine.datasets.phantom_records import VISIBILITY_GRADES
from cspine.datasets.reference_standard import ReferenceStandard, best_visibility
from cspine.evaluation.cases import Cases
from cspine.evaluation.target_metrics import auc_interval, is_small_sample
from cspine.metrics.bootstrap import Interval, proportion_interval

BONE_LOST: Final = "bone lost"
"""Subgroups of fractured vertebrae in which bone is lost, or is not."""

_MAX_CATEGORIES: Final = 12
"""The rarest categories beyond this number are merged."""

_NOT_KNOWN: Final = "not known"
"""Subgroup of the cases without a value of a variable that others have."""

_MAX_DISCRETE_VALUES: Final = 5
"""A numeric variable with at most this many values is split by value."""

_BIN_EDGES: Final[dict[str, tuple[float, ...]]] = {
    "slice_thickness_mm": (1.0, 1.5, 2.0, 3.0),
    "slice_spacing_mm": (0.75, 1.0, 1.5, 2.0),
    "slices": (150, 250, 350, 500),
    "noise_hu": (20, 35, 50),
}
"""Bin edges of known variables; others are split at their tertiles."""


@dataclass(frozen=True)
class SubgroupMetrics:
    """Performance in one subgroup.

    Attributes
    ----------
    group, value : str
        Variable that defines the subgroup, and its value or range.
    unit : str
        What is counted: ``patients`` or ``vertebrae``.
    n_cases, n_positives : int
        Number of cases, and of those that are fractured; answered or not.
    n_unanswered_fractured, n_unanswered_intact : int
        Number of fractured and of intact cases that the model does not answer.
    is_small_sample : bool
        Whether either class has too few cases; see `cspine.evaluation.target_metrics.MIN_CASES`.
    auc : Interval
        Area under the ROC curve. Fractured cases without an answer rank lowest, and intact ones are left out.
    sensitivity : Interval
        Sensitivity at the last operating point. Fractured cases without an answer are missed.
    """

    group: str
    value: str
    unit: str
    n_cases: int
    n_positives: int
    n_unanswered_fractured: int
    n_unanswered_intact: int
    is_small_sample: bool
    auc: Interval
    sensitivity: Interval


def subgroup_metrics(
    reference: ReferenceStandard, cases: Cases, threshold: float, *, n_resamples: int, seed: int = 0
) -> tuple[SubgroupMetrics, ...]:
    """Return the performance in every subgroup of the cases.

    Subgroups by property of the fracture hold the fractured cases with that property and all cases without a fracture;
    others hold their own cases of both classes.

    Parameters
    ----------
    reference : ReferenceStandard
        Reference standard of the cases' studies, with fractures and subgroup variables.
    cases, threshold, n_resamples, seed
        As of `cspine.evaluation.operating_point_metrics.operating_point_metrics`.
    """
    rows = []
    for group, value, is_member in _subgroups(reference, cases):
        members = cases.select(is_member)
        ranked = members.ranked()
        is_called, is_fractured = ranked.probability >= threshold, ranked.truth > 0
        sensitivity = proportion_interval(is_called, is_fractured, ranked.patients, n_resamples=n_resamples, seed=seed)
        rows.append(_metrics(members, group, value, sensitivity))
    return tuple(rows)


def _metrics(members: Cases, group: str, value: str, sensitivity: Interval) -> SubgroupMetrics:
    return SubgroupMetrics(
        group,
        value,
        "patients" if members.is_patient else "vertebrae",
        len(members.truth),
        members.n_positives,
        members.n_unanswered_fractured,
        members.n_unanswered_intact,
        is_small_sample(members),
        auc_interval(members),
        sensitivity,
    )


def _subgroups(reference: ReferenceStandard, cases: Cases) -> Iterator[tuple[str, str, Bools]]:
    """Yield variable, value and membership of each subgroup."""
    if not cases.is_patient:
        for column, level in enumerate(TARGETS):
            if level in VERTEBRAE:
                yield "level", level, cases.columns == column
    if reference.fractures is not None:
        yield from _by_visibility(reference, cases)
        if not cases.is_patient:
            vertebrae = _fractured_vertebrae(reference, cases)
            yield from _by_fracture_type(reference.fractures, vertebrae)
            yield from _by_lost_bone(reference.fractures, vertebrae)
    for name in reference.subgroups.columns:
        values = reference.subgroups[name].iloc[cases.studies]
        group, is_known = str(name).replace("_", " "), values.notna().to_numpy()
        for value, is_member in _split_by_value(str(name), values.reset_index(drop=True)):
            yield group, value, is_member
        if is_known.any() and not is_known.all():
            yield group, _NOT_KNOWN, ~is_known


def _by_visibility(reference: ReferenceStandard, cases: Cases) -> Iterator[tuple[str, str, Bools]]:
    is_intact = cases.truth == 0
    grades = best_visibility(reference).to_numpy(dtype=str)
    ranks = np.select([grades == grade for grade in VISIBILITY_GRADES], list(range(len(VISIBILITY_GRADES))), -1)
    rank_of = ranks.max(axis=1)[cases.studies] if cases.is_patient else ranks[cases.studies, cases.columns - 1]
    for rank, grade in enumerate(VISIBILITY_GRADES):
        yield "visibility", grade, is_intact | ((rank_of == rank) & ~is_intact)
    is_visible = rank_of >= VISIBILITY_GRADES.index("clear")
    yield "visibility", " or ".join(VISIBILITY_GRADES[2:]), is_intact | (is_visible & ~is_intact)


_FracturedVertebrae = list[tuple[str, str] | None]
"""Study and level of each case that is fractured; None of intact ones."""


def _by_fracture_type(fractures: pd.DataFrame, vertebrae: _FracturedVertebrae) -> Iterator[tuple[str, str, Bools]]:
    is_intact = _are_intact(vertebrae)
    for fracture_type, rows in fractures.groupby("fracture_type", sort=True):
        yield "fracture type", str(fracture_type), is_intact | _has_fracture(rows, vertebrae)


def _by_lost_bone(fractures: pd.DataFrame, vertebrae: _FracturedVertebrae) -> Iterator[tuple[str, str, Bools]]:
    """Yield fractured vertebrae with and without lost bone; nothing where no record has any."""
    width_mm = fractures["bone_lost_mm"]
    if not (width_mm > 0).any():
        return
    is_intact, has_lost = _are_intact(vertebrae), _has_fracture(fractures[width_mm > 0], vertebrae)
    yield BONE_LOST, "yes", is_intact | has_lost
    yield BONE_LOST, "no", is_intact | (_has_fracture(fractures[width_mm == 0], vertebrae) & ~has_lost)


def _fractured_vertebrae(reference: ReferenceStandard, cases: Cases) -> _FracturedVertebrae:
    studies = reference.labels.index.to_numpy(dtype=str)
    rows = zip(cases.studies, cases.columns, cases.truth, strict=True)
    return [(studies[study], TARGETS[column]) if truth else None for study, column, truth in rows]


def _are_intact(vertebrae: _FracturedVertebrae) -> Bools:
    return np.array([vertebra is None for vertebra in vertebrae], bool)


def _has_fracture(fractures: pd.DataFrame, vertebrae: _FracturedVertebrae) -> Bools:
    """Return which vertebrae have one of these fractures."""
    fractured = set(zip(fractures[STUDY], fractures["level"], strict=True))
    return np.array([vertebra in fractured for vertebra in vertebrae], bool)


def _split_by_value(name: str, values: "pd.Series[float]") -> Iterator[tuple[str, Bools]]:
    """Yield the subgroups of a variable: its categories, or ranges of its values."""
    is_known = values.notna().to_numpy()
    if not is_known.any():
        return
    is_discrete = name not in _BIN_EDGES and values.nunique() <= _MAX_DISCRETE_VALUES
    if is_discrete or not is_numeric_dtype(values) or is_bool_dtype(values):
        yield from _split_by_category(values, is_known)
        return
    numbers = values.to_numpy(np.float64)
    edges = _BIN_EDGES.get(name) or tuple(np.unique(np.quantile(numbers[is_known], [1 / 3, 2 / 3])).tolist())
    for low, high in pairwise((-np.inf, *edges, np.inf)):
        is_member = is_known & (numbers > low) & (numbers <= high)
        if is_member.any():
            yield _format_range(low, high), is_member


def _split_by_category(values: "pd.Series[Any]", is_known: Bools) -> Iterator[tuple[str, Bools]]:
    categories = values.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    counts = categories[is_known].value_counts()
    common = [str(category) for category in counts.index[:_MAX_CATEGORIES]]
    for category in sorted(common):
        yield category, (categories == category).to_numpy() & is_known
    if len(counts) > _MAX_CATEGORIES:
        yield "others", ~categories.isin(common).to_numpy() & is_known


def _format_range(low: float, high: float) -> str:
    if np.isinf(low):
        return f"up to {_format_number(high)}"
    return (
        f"above {_format_number(low)}" if np.isinf(high) else f"above {_format_number(low)} to {_format_number(high)}"
    )


def _format_number(value: float) -> str:
    """Return a limit with three significant digits, or all digits before its decimal point.

    >>> _format_number(0.42852), _format_number(20210120.3)
    ('0.429', '20210120')
    """
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
