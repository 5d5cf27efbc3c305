"""Whether recent findings look like a reference's: probabilities, coverage, refusals, scanners."""

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

LEAST: Final = 20
"""Studies on either side with fewer of which nothing is said."""

ALARM: Final = 0.05
"""How often anything is said to have moved where nothing has."""

MODERATE: Final = 0.1
LARGE: Final = 0.25
"""Usual words for a population stability index (Siddiqi, Credit Risk Scorecards, 2006)."""

_BINS: Final = 10
_HALF: Final = 0.5
"""Added to each count, so that an empty bin has a logarithm."""

_PERMUTED: Final = 4999
_DRAWS: Final = 1000

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shift:
    """How one thing that is told of studies differs between a reference and recent ones.

    Attributes
    ----------
    what : str
        Such as ``probability, patient`` or ``manufacturer``.
    reference, recent : int
        Studies of which it is told.
    stability : Interval
        The population stability index, with its basic bootstrap interval; 0 where both are alike.
    null_p95 : float
        What the index stays below nineteen times in twenty where nothing has moved; the more the fewer studies.
    distance : Interval or None
        Of measures, the Kolmogorov-Smirnov distance of both distributions, with its basic bootstrap interval.
    p : float
        How likely so much is by chance: of measures Kolmogorov and Smirnov's, of words by permutation.
    moved : bool
        Whether it is less likely than `ALARM` once all shifts are looked at together (Holm 1979).
    detail : str
        What changed most, in words.
    """

    what: str
    reference: int
    recent: int
    stability: Interval
    null_p95: float
    distance: Interval | None
    p: float
    moved: bool
    detail: str

    @property
    def size(self) -> str:
        """A word for the stability index."""
        value = self.stability.value
        return "large" if value > LARGE else "moderate" if value > MODERATE else "small"


def find_shifts(
    reference: Predictions, recent: Predictions, *, draws: int = _DRAWS, seed: int = 0
) -> tuple[Shift, ...]:
    """Return how recent answers differ from a reference's, those first that moved.

    Parameters
    ----------
    reference, recent : Answers
        Read from findings; of tables, probabilities alone are compared.
    draws, seed : int
        Of the bootstrap, and what it is made from.

    Raises
    ------
    LabelError
        Either holds fewer than `LEAST` studies.
    """
    tables = [_table(answers) for answers in (reference, recent)]
    for answers, table in zip((reference, recent), tables, strict=True):
        if len(table) < LEAST:
            raise LabelError(f"{answers.name}: {len(table)} studies are too few to compare; give {LEAST} at least")
    rng = np.random.default_rng(seed)
    found = [
        shift
        for column in tables[0].columns.union(tables[1].columns, sort=False)
        if (shift := _shift(str(column), tables[0].get(column), tables[1].get(column), draws, rng)) is not None
    ]
    return tuple(sorted(_holm(found), key=lambda shift: (not shift.moved, -shift.stability.value)))


def stability_index(reference: npt.ArrayLike, recent: npt.ArrayLike) -> Floats:
    """Return the population stability index of counts in the same bins, half a case added to each.

    Parameters
    ----------
    reference, recent : (..., bins)

    >>> float(stability_index([10, 10], [10, 10])), round(float(stability_index([90, 10], [50, 50])), 2)
    (0.0, 0.86)
    """
    first, second = (np.asarray(counts, np.float64) + _HALF for counts in (reference, recent))
    a, b = (counts / counts.sum(axis=-1, keepdims=True) for counts in (first, second))
    return np.asarray(np.sum((a - b) * np.log(a / b), axis=-1))


def _table(answers: Predictions) -> pd.DataFrame:
    """Return a row for each study, of all that is compared."""
    studies = answers.probability.index.union(pd.Index(list(answers.not_assessable)), sort=False)
    columns: dict[str, pd.Series] = {}
    for target in TARGETS:
        name = "patient" if target == OVERALL else target
        columns[f"probability, {name}"] = answers.probability[target].reindex(studies)
    if not answers.about.empty:
        not_assessable = pd.Series({study: answers.not_assessable.get(study, "answered") for study in studies})
        columns["not_assessable"] = not_assessable
        told = {f"{level} coverage": f"coverage, {level}" for level in VERTEBRAE}
        told |= {name: name.replace("_", " ") for name in ("weights", *Acquisition.model_fields)}
        for name, shown in told.items():
            if name in answers.about.columns:
                columns[shown] = answers.about[name].reindex(studies)
    return pd.DataFrame(columns, index=studies)


def _shift(
    what: str,
    reference: "pd.Series | None",
    recent: "pd.Series | None",
    draws: int,
    rng: np.random.Generator,
) -> Shift | None:
    """Return how one column differs; None where too little is known of it."""
    if reference is None or recent is None:
        return None
    first, second = reference.dropna(), recent.dropna()
    if min(len(first), len(second)) < LEAST:
        return None
    if is_numeric_dtype(first) and is_numeric_dtype(second):
        return _of_measures(what, first.to_numpy(np.float64), second.to_numpy(np.float64), draws, rng)
    return _of_words(what, first.astype(str), second.astype(str), draws, rng)


def _of_measures(what: str, first: Floats, second: Floats, draws: int, rng: np.random.Generator) -> Shift:
    counts = _binned(first, second)
    test = stats.ks_2samp(first, second)
    drawn = np.array([_distance(rng.choice(first, len(first)), rng.choice(second, len(second))) for _ in range(draws)])
    chance = _by_chance(counts, rng)
    return Shift(
        what,
        len(first),
        len(second),
        _stability(counts, draws, rng),
        float(np.quantile(chance, 1 - ALARM)),
        basic_interval(float(test.statistic), drawn),
        float(test.pvalue),
        moved=False,
        detail=f"median {np.median(first):.3g}, now {np.median(second):.3g}",
    )


def _binned(first: Floats, second: Floats) -> tuple[Counts, Counts]:
    """Return counts in bins of the reference's tenths, with bins below its least and above its greatest value."""
    least, greatest = float(first.min()), float(first.max())
    inner = np.quantile(first, np.linspace(0, 1, _BINS + 1)[1:-1])
    edges = np.unique([np.nextafter(least, -np.inf), *inner, greatest])
    bins = [np.searchsorted(edges, part, "left") for part in (first, second)]
    one, other = (np.bincount(part, minlength=len(edges) + 1).astype(np.int64) for part in bins)
    return one, other


def _distance(first: Floats, second: Floats) -> float:
    """Return the greatest distance between two distribution functions."""
    both = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(values), both, "right") / len(values) for values in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _of_words(
    what: str, first: "pd.Series[str]", second: "pd.Series[str]", draws: int, rng: np.random.Generator
) -> Shift | None:
    words = sorted({*first, *second})
    if len(words) < 2:
        return None
    one, other = (np.array([int((own == word).sum()) for word in words], np.int64) for own in (first, second))
    value, chance = float(stability_index(one, other)), _by_chance((one, other), rng)
    shares = one / one.sum(), other / other.sum()
    most = int(np.abs(shares[0] - shares[1]).argmax())
    return Shift(
        what,
        len(first),
        len(second),
        _stability((one, other), draws, rng),
        float(np.quantile(chance, 1 - ALARM)),
        None,
        (1 + int(np.sum(chance >= value - 1e-12))) / (1 + len(chance)),
        moved=False,
        detail=f"{words[most]}: {100 * shares[0][most]:.0f} %, now {100 * shares[1][most]:.0f} %",
    )


def _by_chance(counts: tuple[Counts, Counts], rng: np.random.Generator) -> Floats:
    """Return stability indices of the same studies, parted by chance into two sides as large."""
    together = counts[0] + counts[1]
    permuted = rng.multivariate_hypergeometric(together, int(counts[1].sum()), size=_PERMUTED)
    return stability_index(together - permuted, permuted)


def _stability(counts: tuple[Counts, Counts], draws: int, rng: np.random.Generator) -> Interval:
    drawn = [rng.multinomial(own.sum(), own / own.sum(), size=draws) for own in counts]
    return basic_interval(float(stability_index(*counts)), stability_index(*drawn))


def _holm(shifts: list[Shift]) -> Iterator[Shift]:
    """Yield shifts, told which of them moved."""
    order = sorted(range(len(shifts)), key=lambda number: shifts[number].p)
    moved = set()
    for rank, number in enumerate(order):
        if shifts[number].p > ALARM / (len(shifts) - rank):
            break
        moved.add(number)
    for number, shift in enumerate(shifts):
        yield replace(shift, moved=number in moved)
