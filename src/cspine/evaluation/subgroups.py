"""The same numbers for parts of the cases: by the fracture's level, kind and visibility, and by the scan."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.core.columns import STUDY
from cspine.datasets.reference_standard import WORDS, ReferenceStandard, best_visibility
from cspine.evaluation.cases import Cases
from cspine.evaluation.target_metrics import area_of, is_few
from cspine.metrics.bootstrap import Interval, proportion

_MOST_VALUES: Final = 12
"""A group with more words than this has the rarest put together."""

_FEW_VALUES: Final = 5
"""A measure with no more values than these is parted by value."""

_EDGES: Final[dict[str, tuple[float, ...]]] = {
    "slice_thickness_mm": (1.0, 1.5, 2.0, 3.0),
    "slice_spacing_mm": (0.75, 1.0, 1.5, 2.0),
    "slices": (150, 250, 350, 500),
    "noise_hu": (20, 35, 50),
}
"""Where known measures are cut; others at their terciles."""

Chosen = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SubgroupRow:
    """How a part of the cases is told.

    Attributes
    ----------
    group, value : str
        By what cases are parted, and which part this is.
    of : str
        Patients' studies or vertebrae.
    sensitivity : Interval
        At the last operating point.
    """

    group: str
    value: str
    of: str
    cases: int
    positives: int
    few: bool
    auc: Interval
    sensitivity: Interval


def subgroup_metrics(
    truth: ReferenceStandard, cases: Cases, threshold: float, *, draws: int, seed: int = 0
) -> tuple[SubgroupRow, ...]:
    """Return the rows of every part of the cases.

    Parts by fracture hold the broken ones of that part against all whole ones; others hold their own broken and whole
    ones.

    Parameters
    ----------
    truth : Truth
        With its fractures and groups, of the studies that cases come from.
    cases : Cases
        Patients or vertebrae.
    threshold : float
        From which a probability counts as fractured.
    draws, seed : int
        Of the bootstrap over patients.
    """
    found = []
    for group, value, chosen in _parts(truth, cases):
        part = cases.only(chosen)
        sensitivity = proportion(part.said >= threshold, part.truth > 0, part.patients, draws=draws, seed=seed)
        found.append(_row(part, group, value, sensitivity))
    return tuple(found)


def _row(part: Cases, group: str, value: str, sensitivity: Interval) -> SubgroupRow:
    return SubgroupRow(
        group,
        value,
        "patients" if part.is_patient else "vertebrae",
        len(part.truth),
        part.positives,
        is_few(part),
        area_of(part),
        sensitivity,
    )


def _parts(truth: ReferenceStandard, cases: Cases) -> Iterator[tuple[str, str, Chosen]]:
    whole = cases.truth == 0
    if not cases.is_patient:
        for column, level in enumerate(TARGETS):
            if level in VERTEBRAE:
                yield "level", level, cases.columns == column
    if truth.fractures is not None:
        yield from _by_visibility(truth, cases, whole)
        if not cases.is_patient:
            yield from _by_kind(truth, cases, whole)
    for name in truth.groups.columns:
        values = truth.groups[name].iloc[cases.studies]
        for value, chosen in _bins(str(name), values.reset_index(drop=True)):
            yield str(name).replace("_", " "), value, chosen


def _by_visibility(truth: ReferenceStandard, cases: Cases, whole: Chosen) -> Iterator[tuple[str, str, Chosen]]:
    words = best_visibility(truth).to_numpy(dtype=str)
    ranks = np.select([words == word for word in WORDS], list(range(len(WORDS))), -1)
    own = ranks.max(axis=1)[cases.studies] if cases.is_patient else ranks[cases.studies, cases.columns - 1]
    for rank, word in enumerate(WORDS):
        yield "visibility", word, whole | ((own == rank) & ~whole)
    yield "visibility", " or ".join(WORDS[2:]), whole | ((own >= WORDS.index("clear")) & ~whole)


def _by_kind(truth: ReferenceStandard, cases: Cases, whole: Chosen) -> Iterator[tuple[str, str, Chosen]]:
    if truth.fractures is None:
        return
    names = truth.labels.index.to_numpy(dtype=str)
    held = [(names[study], TARGETS[column]) for study, column in zip(cases.studies, cases.columns, strict=True)]
    for kind, rows in truth.fractures.groupby("kind", sort=True):
        broken = set(zip(rows[STUDY], rows["level"], strict=True))
        yield "kind", str(kind), whole | (np.array([case in broken for case in held], bool) & ~whole)


def _bins(name: str, values: "pd.Series[float]") -> Iterator[tuple[str, Chosen]]:
    """Yield the parts of a column: its words, or ranges of a measure."""
    there = values.notna().to_numpy()
    if not there.any():
        return
    few = name not in _EDGES and values.nunique() <= _FEW_VALUES
    if few or not is_numeric_dtype(values) or is_bool_dtype(values):
        yield from _words(values, there)
        return
    numbers = values.to_numpy(np.float64)
    edges = _EDGES.get(name) or tuple(np.unique(np.quantile(numbers[there], [1 / 3, 2 / 3])).tolist())
    for low, high in pairwise((-np.inf, *edges, np.inf)):
        chosen = there & (numbers > low) & (numbers <= high)
        if chosen.any():
            yield _range(low, high), chosen


def _words(values: "pd.Series[Any]", there: Chosen) -> Iterator[tuple[str, Chosen]]:
    told = values.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    counts = told[there].value_counts()
    common = [str(word) for word in counts.index[:_MOST_VALUES]]
    for word in sorted(common):
        yield word, (told == word).to_numpy() & there
    if len(counts) > _MOST_VALUES:
        yield "others", ~told.isin(common).to_numpy() & there


def _range(low: float, high: float) -> str:
    if np.isinf(low):
        return f"up to {_number(high)}"
    return f"above {_number(low)}" if np.isinf(high) else f"above {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    """Return a limit with three digits, or all before its point.

    >>> _number(0.42852), _number(20210120.3)
    ('0.429', '20210120')
    """
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
