"""Pictures of data and of training. matplotlib is loaded when the first is drawn."""

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cspine.core.anatomy import COLOURS, OVERALL, TARGETS
from cspine.core.errors import InputError
from cspine.plots.figure_style import INK, add_disclaimer, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GEOMETRY: Final = {
    "slices": "slices",
    "slice_spacing_mm": "slice spacing (mm)",
    "slice_thickness_mm": "slice thickness (mm)",
    "pixel_spacing_mm": "pixel spacing (mm)",
}


def labels_figure(labels: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return the share of studies with a fracture, overall and per level, with the counts."""
    figure, axes = canvas(8.0, 4.2, phantom=phantom)
    counts = labels[list(TARGETS)].sum()
    shares = 100 * counts / len(labels)
    bars = axes.bar([_name(target) for target in TARGETS], shares, color=[_colour(target) for target in TARGETS])
    axes.bar_label(bars, [f"{share:.1f} %\n{count}" for share, count in zip(shares, counts, strict=True)], fontsize=8)
    axes.set(ylabel="studies with a fracture (%)", title=f"Labels of {len(labels):,} studies")
    axes.set_ylim(0, max(1.0, float(shares.max())) * 1.22)
    return figure


def cooccurrence_figure(together: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return how many studies have both of two levels fractured; the diagonal counts the level."""
    figure, axes = canvas(5.8, 5.6, phantom=phantom)
    values = together.to_numpy()
    axes.imshow(values, cmap="Blues")
    for row, column in np.ndindex(*values.shape):
        dark = values[row, column] > 0.6 * values.max()
        axes.text(column, row, str(values[row, column]), ha="center", va="center", color="white" if dark else INK)
    axes.set_xticks(range(len(together)), together.columns)
    axes.set_yticks(range(len(together)), together.index)
    axes.set_title("Studies with both levels fractured")
    return figure


def geometry_figure(table: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return histograms of slices, slice spacing, slice thickness and pixel spacing: those that the table has.

    Raises
    ------
    InputError
        The table has none of them.
    """
    from matplotlib.figure import Figure

    shown = {column: name for column, name in _GEOMETRY.items() if column in table.columns}
    if not shown:
        raise InputError(f"the table has none of the columns {', '.join(_GEOMETRY)}; give a survey of the series")
    figure = Figure(figsize=(3.2 * len(shown), 3.4), layout="constrained")
    for number, (column, name) in enumerate(shown.items(), start=1):
        axes = figure.add_subplot(1, len(shown), number)
        values = table[column].dropna().astype(float)
        if values.empty:
            axes.text(0.5, 0.5, "not stated", ha="center", va="center", transform=axes.transAxes, color="#57606a")
            axes.set(xticks=[], yticks=[])
        else:
            axes.hist(values, bins=24, color="#4477AA")
        axes.set(xlabel=name, ylabel="studies" if number == 1 else "")
    add_disclaimer(figure, phantom=phantom)
    return figure


def curves_figure(curve: pd.DataFrame, *, title: str, phantom: bool = False) -> "Figure":
    """Return the training and held-out losses over the epochs."""
    figure, axes = canvas(7.0, 4.4, phantom=phantom)
    axes.plot(curve["epoch"], curve["train_loss"], color="#4477AA", marker=".", label="training")
    axes.plot(curve["epoch"], curve["val_loss"], color="#EE6677", marker=".", label="held-out patients")
    best = curve["val_loss"].to_numpy().argmin()
    axes.axvline(float(curve["epoch"].iloc[int(best)]), color="#999999", linewidth=1, linestyle=":", label="kept")
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="epoch", ylabel="weighted log loss", title=title)
    axes.legend(frameon=False)
    return figure


def _colour(target: str) -> str:
    return next((colour for level, colour in COLOURS.items() if level == target), INK)


def _name(target: str) -> str:
    return "patient" if target == OVERALL else target
