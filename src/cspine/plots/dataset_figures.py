"""Figures of a data set: labels, co-occurrence of fractures, and series geometry."""

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS
from cspine.core.errors import InputError
from cspine.plots.figure_style import GRAY, INK, new_figure, new_panels, target_color, target_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GEOMETRY_LABELS: Final = {
    "slices": "slices",
    "slice_spacing_mm": "slice spacing (mm)",
    "slice_thickness_mm": "slice thickness (mm)",
    "pixel_spacing_mm": "pixel spacing (mm)",
}


def labels_figure(labels: pd.DataFrame, *, is_phantom: bool) -> "Figure":
    """Return a bar chart of the fraction of studies with a fracture, overall and per level.

    Parameters
    ----------
    labels : DataFrame
        One row per study, columns `TARGETS` of 0 and 1.
    is_phantom : bool
        Whether the studies are phantoms.
    """
    figure, axes = new_figure(8.0, 4.2, is_phantom=is_phantom)
    counts = labels[list(TARGETS)].sum()
    percent = 100 * counts / len(labels)
    bars = axes.bar(
        [target_label(target) for target in TARGETS], percent, color=[target_color(target) for target in TARGETS]
    )
    axes.bar_label(bars, [f"{part:.1f} %\n{count}" for part, count in zip(percent, counts, strict=True)], fontsize=8)
    axes.set(ylabel="studies with a fracture (%)", title=f"Labels of {len(labels):,} studies")
    axes.set_ylim(0, max(1.0, float(percent.max())) * 1.22)
    return figure


def cooccurrence_figure(cooccurrence: pd.DataFrame, *, is_phantom: bool) -> "Figure":
    """Return a heat map of the number of studies with both of two levels fractured.

    Parameters
    ----------
    cooccurrence : DataFrame
        C1 to C7 by C1 to C7, as `cspine.datasets.summary.LabelSummary.cooccurrence`.
    is_phantom : bool
        Whether the studies are phantoms.
    """
    figure, axes = new_figure(5.8, 5.6, is_phantom=is_phantom)
    values = cooccurrence.to_numpy()
    axes.imshow(values, cmap="Blues")
    for row, column in np.ndindex(*values.shape):
        is_dark = values[row, column] > 0.6 * values.max()
        axes.text(column, row, str(values[row, column]), ha="center", va="center", color="white" if is_dark else INK)
    axes.set_xticks(range(len(cooccurrence)), cooccurrence.columns)
    axes.set_yticks(range(len(cooccurrence)), cooccurrence.index)
    axes.set_title("Studies with both levels fractured")
    return figure


def geometry_figure(table: pd.DataFrame, *, is_phantom: bool) -> "Figure":
    """Return histograms of number of slices, slice spacing, slice thickness and pixel spacing.

    Parameters
    ----------
    table : DataFrame
        One row per series; measures whose column is missing are left out.
    is_phantom : bool
        Whether the studies are phantoms.

    Raises
    ------
    InputError
        The table has none of the columns.
    """
    labels = {column: label for column, label in _GEOMETRY_LABELS.items() if column in table.columns}
    if not labels:
        raise InputError(
            f"the table has none of the columns {', '.join(_GEOMETRY_LABELS)}; give a survey of the series"
        )
    figure, panels = new_panels(len(labels), is_phantom=is_phantom)
    for axes, (column, label) in zip(panels, labels.items(), strict=True):
        values = table[column].dropna().astype(float)
        if values.empty:
            axes.text(0.5, 0.5, "not stated", ha="center", va="center", transform=axes.transAxes, color=GRAY)
            axes.set(xticks=[], yticks=[])
        else:
            axes.hist(values, bins=24, color="#4477AA")
        axes.set(xlabel=label, ylabel="studies" if axes is panels[0] else "")
    return figure
