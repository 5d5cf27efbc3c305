"""Pictures of results and data. matplotlib is loaded when the first is drawn."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cspine.anatomy import COLOURS, OVERALL, TARGETS, VERTEBRAE
from cspine.evaluate import metrics
from cspine.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK: Final = "#1b1f24"
_GEOMETRY: Final = {
    "slices": "slices",
    "slice_spacing_mm": "slice spacing (mm)",
    "pixel_spacing_mm": "pixel spacing (mm)",
}


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, atomically; raises `DiskFullError` or `OutputError`."""
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=150)


def roc_figure(truth: pd.DataFrame, probability: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return the ROC curves of patient and levels; targets with one class only are left out."""
    figure, axes = _figure(6.0, 6.4, phantom=phantom)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    for target in TARGETS:
        value = metrics.auc(truth[target], probability[target])
        if np.isfinite(value):
            x, y = metrics.roc_points(truth[target], probability[target])
            width = 2.6 if target == OVERALL else 1.3
            axes.plot(x, y, color=_colour(target), linewidth=width, label=f"{_name(target)}  {value:.2f}")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", aspect="equal")
    axes.legend(title="AUC", loc="lower right", frameon=False)
    return figure


def reliability_figure(truth: pd.DataFrame, probability: pd.DataFrame, *, phantom: bool) -> "Figure":
    """Return observed frequency against probability, for the patient and for all levels together."""
    figure, axes = _figure(6.0, 6.4, phantom=phantom)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="perfect")
    groups = (("patient", [OVERALL], _INK, "o"), ("levels together", list(VERTEBRAE), "#4477AA", "s"))
    for name, columns, colour, marker in groups:
        mean, observed, counts = metrics.reliability(
            truth[columns].to_numpy().ravel(), probability[columns].to_numpy().ravel()
        )
        there = counts > 0
        axes.plot(mean[there], observed[there], color=colour, marker=marker, label=name)
        for x, y, count in zip(mean[there], observed[there], counts[there], strict=True):
            axes.annotate(f"{count}", (x, y), textcoords="offset points", xytext=(4, 5), fontsize=7, color=colour)
    axes.set(xlabel="probability", ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_title(f"Reliability ({metrics.RELIABILITY_BINS} equal bins, counts beside)")
    axes.legend(loc="upper left", frameon=False)
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
    """Return histograms of slices, slice spacing and pixel spacing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 3.4), layout="constrained")
    for number, (column, name) in enumerate(_GEOMETRY.items(), start=1):
        axes = figure.add_subplot(1, len(_GEOMETRY), number)
        axes.hist(table[column].dropna(), bins=24, color="#4477AA")
        axes.set(xlabel=name, ylabel="studies")
    _footer(figure, phantom=phantom)
    return figure


def curves_figure(curve: pd.DataFrame, *, title: str) -> "Figure":
    """Return the training and held-out losses over the epochs."""
    figure, axes = _figure(7.0, 4.4, phantom=False)
    axes.plot(curve["epoch"], curve["train_loss"], color="#4477AA", marker=".", label="training")
    axes.plot(curve["epoch"], curve["tune_loss"], color="#EE6677", marker=".", label="held-out patients")
    best = curve["tune_loss"].to_numpy().argmin()
    axes.axvline(float(curve["epoch"].iloc[int(best)]), color="#999999", linewidth=1, linestyle=":", label="kept")
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
