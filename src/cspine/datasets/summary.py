"""What a data set holds, in numbers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.metrics.bootstrap import Interval, wilson

GEOMETRY = ("slices", "slice_spacing_mm", "slice_thickness_mm", "pixel_spacing_mm", "rows", "length_mm")


@dataclass(frozen=True)
class LabelDescription:
    """How often levels are fractured.

    Attributes
    ----------
    counts : dict
        Positive studies per target.
    shares : dict
        The same as a fraction with its interval.
    levels_per_study : dict
        Number of fractured levels, 1 and more, to studies.
    together : DataFrame
        C1..C7 by C1..C7: studies with both fractured.
    """

    studies: int
    counts: dict[str, int]
    shares: dict[str, Interval]
    levels_per_study: dict[int, int]
    together: pd.DataFrame


def describe_labels(labels: pd.DataFrame) -> LabelDescription:
    """Describe a table of labels.

    Parameters
    ----------
    labels : DataFrame
        One row per study, columns `TARGETS` of 0 and 1, as `cspine.datasets.rsna2022_labels.read_labels` gives it.
    """
    counts = {target: int(labels[target].sum()) for target in TARGETS}
    levels = labels[list(VERTEBRAE)].to_numpy(np.int64)
    per_study = np.bincount(levels.sum(axis=1), minlength=1)
    return LabelDescription(
        studies=len(labels),
        counts=counts,
        shares={target: wilson(count, len(labels)) for target, count in counts.items()},
        levels_per_study={n: int(count) for n, count in enumerate(per_study) if n and count},
        together=pd.DataFrame(levels.T @ levels, index=list(VERTEBRAE), columns=list(VERTEBRAE)),
    )


def describe_geometry(table: pd.DataFrame) -> pd.DataFrame:
    """Return minimum, median and maximum of the series' measures that the table has; lengths in mm.

    Parameters
    ----------
    table : DataFrame
        One row per series, any of the columns `GEOMETRY`; a missing measure is left out.

    Returns
    -------
    DataFrame
        Indexed by measure, columns min, median and max.
    """
    columns = [column for column in GEOMETRY if column in table.columns]
    return table[columns].astype(float).quantile([0.0, 0.5, 1.0]).T.set_axis(["min", "median", "max"], axis=1)
