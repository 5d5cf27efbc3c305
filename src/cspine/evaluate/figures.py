"""Pictures of results and data. matplotlib is loaded when the first is drawn."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cspine.anatomy import COLOURS, OVERALL, TARGETS, VERTEBRAE
from cspine.errors import InputError
from cspine.evaluate import metrics
from cspine.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK: Final = "#1b1f24"
_GEOMETRY: Final = {
    "slices": "slices",
    "slice_spacing_mm": "slice spacing (mm)",
    "slice_thickness_mm": "slice thickness (mm)",
    "pixel_spacing_mm": "pixel spacing (mm)",
}


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, atomically; raises `DiskFullError` or `OutputError`."""
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=150)


def roc_figure(truth: pd.DataFrame, probability: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return the ROC curves of patient and levels; a target with one class only has '-' for its AUC and no curve."""
    figure, axes = _figure(6.0, 6.4, phantom=phantom)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    for target in TARGETS:
        value = metrics.auc(truth[target], probability[target])
        x, y, shown = np.empty(0), np.empty(0), "-"
        if np.isfinite(value):
            (x, y), shown = metrics.roc_points(truth[target], probability[target]), f"{value:.2f}"
        width = 2.6 if target == OVERALL else 1.3
        axes.plot(x, y, color=_colour(target), linewidth=width, label=f"{_name(target)}  {shown}")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", aspect="equal")
    axes.legend(title="AUC", loc="lower right", frameon=False)
    return figure


def reliability_figure(truth: pd.DataFrame, probability: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return observed frequency against probability, for the patient and for all levels together."""
    figure, axes = _figure(6.0, 6.4, phantom=phantom)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="perfect")
    groups = (
        ("patient", [OVERALL], _INK, "o", (-5, 5, "right")),
        ("levels together", list(VERTEBRAE), "#4477AA", "s", (5, -10, "left")),
    )
    for name, columns, colour, marker, (right, up, align) in groups:
        mean, observed, counts = metrics.reliability(
            truth[columns].to_numpy().ravel(), probability[columns].to_numpy().ravel()
        )
        there = counts > 0
        axes.plot(mean[there], observed[there], color=colour, marker=marker, label=name)
        for x, y, count in zip(mean[there], observed[there], counts[there], strict=True):
            axes.annotate(
                f"{count:,}", (x, y), (right, up), textcoords="offset points", ha=align, fontsize=7, color=colour
            )
    edges = (-0.06, 1.06)  # room for markers and counts at 0 and 1
    axes.set(xlabel="probability", ylabel="observed frequency", xlim=edges, ylim=edges, aspect="equal")
    axes.set_title(f"Reliability ({metrics.RELIABILITY_BINS} equal bins, counts beside)")
    axes.legend(loc="lower right", frameon=False)
    return figure


def labels_figure(labels: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return the share of studies with a fracture, overall and per level, with the counts."""
    figure, axes = _figure(8.0, 4.2, phantom=phantom)
    counts = labels[list(TARGETS)].sum()
    shares = 100 * counts / len(labels)
    bars = axes.bar([_name(target) for target in TARGETS], shares, color=[_colour(target) for target in TARGETS])
    axes.bar_label(bars, [f"{share:.1f} %\n{count}" for share, count in zip(shares, counts, strict=True)], fontsize=8)
    axes.set(ylabel="studies with a fracture (%)", title=f"Labels of {len(labels):,} studies")
    axes.set_ylim(0, max(1.0, float(shares.max())) * 1.22)
    return figure


def cooccurrence_figure(together: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return how many studies have both of two levels fractured; the diagonal counts the level."""
    figure, axes = _figure(5.8, 5.6, phantom=phantom)
    values = together.to_numpy()
    axes.imshow(values, cmap="Blues")
    for row, column in np.ndindex(*values.shape):
        dark = values[row, column] > 0.6 * values.max()
        axes.text(column, row, str(values[row, column]), ha="center", va="center", color="white" if dark else _INK)
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
    _footer(figure, phantom=phantom)
    return figure


def curves_figure(curve: pd.DataFrame, *, title: str, phantom: bool = False) -> "Figure":
    """Return the training and held-out losses over the epochs."""
    figure, axes = _figure(7.0, 4.4, phantom=phantom)
    axes.plot(curve["epoch"], curve["train_loss"], color="#4477AA", marker=".", label="training")
    axes.plot(curve["epoch"], curve["tune_loss"], color="#EE6677", marker=".", label="held-out patients")
    best = curve["tune_loss"].to_numpy().argmin()
    axes.axvline(float(curve["epoch"].iloc[int(best)]), color="#999999", linewidth=1, linestyle=":", label="kept")
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="epoch", ylabel="weighted log loss", title=title)
    axes.legend(frameon=False)
    return figure


def _figure(width: float, height: float, *, phantom: bool) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    _footer(figure, phantom=phantom)
    return figure, figure.add_subplot()


def _footer(figure: "Figure", *, phantom: bool) -> None:
    text = "Research use only, not a medical device."
    figure.supxlabel(text + (" Phantom data: not clinical accuracy." if phantom else ""), fontsize=7, color="#57606a")


def _colour(target: str) -> str:
    return next((colour for level, colour in COLOURS.items() if level == target), _INK)


def _name(target: str) -> str:
    return "patient" if target == OVERALL else target
