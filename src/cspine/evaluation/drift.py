"""Drift detection without labels: differences between recent findings and those of a reference period."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_numeric_dtype
from scipy import stats

from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.core.findings import Acquisition
from cspine.core.typing import Floats
from cspine.evaluation.predictions import Predictions
from cspine.metrics.bootstrap import Interval, basic_interval

MIN_STUDIES: Final = 20
"""A variable is compared if both sides have at least this many studies with a value."""

SIGNIFICANCE_LEVEL: Final = 0.05
"""Family-wise error rate: probability of any significant shift without drift."""

MODERATE_PSI: Final = 0.1
LARGE_PSI: Final = 0.25
"""Conventional limits of the population stability index (Siddiqi, Credit Risk Scorecards, 2006)."""

_N_BINS: Final = 10
_PSEUDOCOUNT: Final = 0.5
"""Added to each count, so that the logarithm of an empty bin is defined."""

_N_PERMUTATIONS: Final = 4999
_N_RESAMPLES: Final = 1000

_ASSESSED: Final = "assessed"

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shift:
    """Difference of one variable between reference and recent studies.

    Attributes
    ----------
    variable : str
        Such as ``probability, patient`` or ``manufacturer``.
    n_reference, n_recent : int
        Studies with a value of the variable.
    stability_index : Interval
        Population stability index with its basic bootstrap interval; 0 for equal distributions.
    null_p95 : float
        95th percentile of the index without drift; it grows as the number of studies falls.
    ks_distance : Interval or None
        Kolmogorov-Smirnov distance of a numeric variable with its basic bootstrap interval.
    p_value : float
        Kolmogorov-Smirnov test for numeric variables, permutation test for categories.
    is_significant : bool
        Whether the shift is significant at `SIGNIFICANCE_LEVEL` after Holm's correction over all variables (1979).
    detail : str
        Largest change, for reports.
    """

    variable: str
    n_reference: int
    n_recent: int
    stability_index: Interval
    null_p95: float
    ks_distance: Interval | None
    p_value: float
    is_significant: bool
    detail: str

    @property
    def magnitude(self) -> str:
        """Conventional word for the stability index."""
        value = self.stability_index.value
        return "large" if value > LARGE_PSI else "moderate" if value > MODERATE_PSI else "small"


def find_shifts(
    reference: Predictions, recent: Predictions, *, n_resamples: int = _N_RESAMPLES, seed: int = 0
) -> tuple[Shift, ...]:
    """Return the shift of each variable, significant ones first.

    Parameters
    ----------
    reference, recent : Predictions
        Read from findings; of tables, only probabilities are compared.
    n_resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of bootstrap and permutations.

    Raises
    ------
    LabelError
        Either holds fewer than `MIN_STUDIES` studies.
    """
    tables = [_variables(predictions) for predictions in (reference, recent)]
    for predictions, table in zip((reference, recent), tables, strict=True):
        if len(table) < MIN_STUDIES:
            raise LabelError(
                f"{predictions.name}: {len(table)} studies are too few to compare; give {MIN_STUDIES} at least"
            )
    rng = np.random.default_rng(seed)
    shifts = [
        shift
        for column in tables[0].columns.union(tables[1].columns, sort=False)
        if (shift := _compare(str(column), tables[0].get(column), tables[1].get(column), n_resamples, rng)) is not None
    ]
    return tuple(
        sorted(_correct_holm(shifts), key=lambda shift: (not shift.is_significant, -shift.stability_index.value))
    )


def stability_index(reference: npt.ArrayLike, recent: npt.ArrayLike) -> Floats:
    """Return the population stability index of counts in the same bins, with half a case added to each.

    Parameters
    ----------
    reference, recent : (..., bins) array_like
        Number of cases in each bin.

    Returns
    -------
    (...) float

    Examples
    --------
    >>> float(stability_index([10, 10], [10, 10])), round(float(stability_index([90, 10], [50, 50])), 2)
    (0.0, 0.85)
    """
    first, second = (np.asarray(counts, np.float64) + _PSEUDOCOUNT for counts in (reference, recent))
    a, b = (counts / counts.sum(axis=-1, keepdims=True) for counts in (first, second))
    return np.asarray(np.sum((a - b) * np.log(a / b), axis=-1))


def _variables(predictions: Predictions) -> pd.DataFrame:
    """Return the compared variables, one row per study."""
    studies = predictions.probability.index.union(pd.Index(list(predictions.not_assessable)), sort=False)
    columns: dict[str, pd.Series] = {}
    for target in TARGETS:
        name = "patient" if target == OVERALL else target
        columns[f"probability, {name}"] = predictions.probability[target].reindex(studies)
    metadata = predictions.study_metadata
    if not metadata.empty:
        columns["not assessable"] = pd.Series(
            {study: predictions.not_assessable.get(study, _ASSESSED) for study in studies}
        )
        headings = {f"{level} coverage": f"coverage, {level}" for level in VERTEBRAE}
        headings |= {name: name.replace("_", " ") for name in ("weights", *Acquisition.model_fields)}
        for name, heading in headings.items():
            if name in metadata.columns:
                columns[heading] = metadata[name].reindex(studies)
    return pd.DataFrame(columns, index=studies)


def _compare(
    variable: str,
    reference: "pd.Series | None",
    recent: "pd.Series | None",
    n_resamples: int,
    rng: np.random.Generator,
) -> Shift | None:
    """Return the shift of one variable; None with too few values."""
    if reference is None or recent is None:
        return None
    first, second = reference.dropna(), recent.dropna()
    if min(len(first), len(second)) < MIN_STUDIES:
        return None
    if is_numeric_dtype(first) and is_numeric_dtype(second):
        return _compare_numbers(variable, first.to_numpy(np.float64), second.to_numpy(np.float64), n_resamples, rng)
    return _compare_categories(variable, first.astype(str), second.astype(str), n_resamples, rng)


def _compare_numbers(variable: str, first: Floats, second: Floats, n_resamples: int, rng: np.random.Generator) -> Shift:
    counts = _bin_counts(first, second)
    test = stats.ks_2samp(first, second)
    resampled = np.array(
        [_ks_distance(rng.choice(first, len(first)), rng.choice(second, len(second))) for _ in range(n_resamples)]
    )
    null = _permuted_indices(counts, rng)
    return Shift(
        variable,
        len(first),
        len(second),
        _stability_interval(counts, n_resamples, rng),
        float(np.quantile(null, 1 - SIGNIFICANCE_LEVEL)),
        basic_interval(float(test.statistic), resampled),
        float(test.pvalue),
        is_significant=False,
        detail=f"median {np.median(first):.3g}, now {np.median(second):.3g}",
    )


def _bin_counts(first: Floats, second: Floats) -> tuple[Counts, Counts]:
    """Return counts in bins of the reference's deciles, with bins below its minimum and above its maximum."""
    minimum, maximum = float(first.min()), float(first.max())
    deciles = np.quantile(first, np.linspace(0, 1, _N_BINS + 1)[1:-1])
    edges = np.unique([np.nextafter(minimum, -np.inf), *deciles, maximum])
    bins = [np.searchsorted(edges, values, "left") for values in (first, second)]
    reference, recent = (np.bincount(part, minlength=len(edges) + 1).astype(np.int64) for part in bins)
    return reference, recent


def _ks_distance(first: Floats, second: Floats) -> float:
    """Return the greatest distance between two empirical distribution functions."""
    both = np.concatenate([first, second])
    fractions = [np.searchsorted(np.sort(values), both, "right") / len(values) for values in (first, second)]
    return float(np.abs(fractions[0] - fractions[1]).max())


def _compare_categories(
    variable: str, first: "pd.Series[str]", second: "pd.Series[str]", n_resamples: int, rng: np.random.Generator
) -> Shift | None:
    categories = sorted({*first, *second})
    if len(categories) < 2:
        return None
    reference, recent = (
        np.array([int((values == category).sum()) for category in categories], np.int64) for values in (first, second)
    )
    value, null = float(stability_index(reference, recent)), _permuted_indices((reference, recent), rng)
    fractions = reference / reference.sum(), recent / recent.sum()
    largest = int(np.abs(fractions[0] - fractions[1]).argmax())
    return Shift(
        variable,
        len(first),
        len(second),
        _stability_interval((reference, recent), n_resamples, rng),
        float(np.quantile(null, 1 - SIGNIFICANCE_LEVEL)),
        None,
        (1 + int(np.sum(null >= value - 1e-12))) / (1 + len(null)),
        is_significant=False,
        detail=f"{categories[largest]}: {100 * fractions[0][largest]:.0f} %, now {100 * fractions[1][largest]:.0f} %",
    )


def _permuted_indices(counts: tuple[Counts, Counts], rng: np.random.Generator) -> Floats:
    """Return stability indices of the same studies, divided at random into two sides of the same sizes."""
    pooled = counts[0] + counts[1]
    permuted = rng.multivariate_hypergeometric(pooled, int(counts[1].sum()), size=_N_PERMUTATIONS)
    return stability_index(pooled - permuted, permuted)


def _stability_interval(counts: tuple[Counts, Counts], n_resamples: int, rng: np.random.Generator) -> Interval:
    resampled = [rng.multinomial(side.sum(), side / side.sum(), size=n_resamples) for side in counts]
    return basic_interval(float(stability_index(*counts)), stability_index(*resampled))


def _correct_holm(shifts: list[Shift]) -> Iterator[Shift]:
    """Yield the shifts with their significance after Holm's correction."""
    ascending = sorted(range(len(shifts)), key=lambda index: shifts[index].p_value)
    significant = set()
    for rank, index in enumerate(ascending):
        if shifts[index].p_value > SIGNIFICANCE_LEVEL / (len(shifts) - rank):
            break
        significant.add(index)
    for index, shift in enumerate(shifts):
        yield replace(shift, is_significant=index in significant)
