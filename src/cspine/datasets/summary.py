"""Summary statistics of a data set: labels and series geometry."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.metrics.bootstrap import Interval, wilson_interval

GEOMETRY: Final = ("slices", "slice_spacing_mm", "slice_thickness_mm", "pixel_spacing_mm", "rows", "length_mm")
"""Columns of a table of series geometry."""


@dataclass(frozen=True)
class LabelSummary:
    """Frequency of fractures.

    Attributes
    ----------
    n_studies : int
        Number of studies that were counted.
    counts : dict of str to int
        Positive studies per target.
    prevalence : dict of str to Interval
        Fraction of positive studies per target.
    levels_per_study : dict of int to int
        Number of fractured levels, from 1, to number of studies.
    cooccurrence : DataFrame
        Studies with both levels fractured, C1 to C7 by C1 to C7; the diagonal counts the level.
    """

    n_studies: int
    counts: dict[str, int]
    prevalence: dict[str, Interval]
    levels_per_study: dict[int, int]
    cooccurrence: pd.DataFrame


def summarize_labels(labels: pd.DataFrame) -> LabelSummary:
    """Summarize a table of labels.

    Parameters
    ----------
    labels : DataFrame
        One row per study, columns `TARGETS` of 0 and 1, as returned by `cspine.datasets.rsna2022_labels.read_labels`.
    """
    counts = {target: int(labels[target].sum()) for target in TARGETS}
    levels = labels[list(VERTEBRAE)].to_numpy(np.int64)
    studies_by_count = np.bincount(levels.sum(axis=1), minlength=1)
    return LabelSummary(
        n_studies=len(labels),
        counts=counts,
        prevalence={target: wilson_interval(count, len(labels)) for target, count in counts.items()},
        levels_per_study={n: int(studies) for n, studies in enumerate(studies_by_count) if n and studies},
        cooccurrence=pd.DataFrame(levels.T @ levels, index=list(VERTEBRAE), columns=list(VERTEBRAE)),
    )


def summarize_geometry(table: pd.DataFrame) -> pd.DataFrame:
    """Return minimum, median and maximum of the geometry of series; lengths in mm.

    Parameters
    ----------
    table : DataFrame
        One row per series with any of the columns `GEOMETRY`; missing columns are left out.

    Returns
    -------
    DataFrame
        Indexed by column, columns min, median and max.
    """
    columns = [column for column in GEOMETRY if column in table.columns]
    return table[columns].astype(float).quantile([0.0, 0.5, 1.0]).T.set_axis(["min", "median", "max"], axis=1)
