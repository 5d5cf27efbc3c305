"""Shifts as sections and a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cspine.core.anatomy import OVERALL, TARGETS
from cspine.evaluation.drift import SIGNIFICANCE_LEVEL, LARGE, MIN_STUDIES, MODERATE, Shift
from cspine.evaluation.predictions import Predictions
from cspine.plots.figure_style import new_panels
from cspine.reports.evaluation.sections import NOTHING, Section, Table, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def verdict(shifts: Sequence[Shift]) -> str:
    """Say in a sentence whether anything moved."""
    moved = [shift for shift in shifts if shift.is_significant]
    if not moved:
        return f"Nothing moved beyond chance, of {len(shifts)} things compared."
    named = "; ".join(f"{shift.variable} ({shift.detail})" for shift in moved[:5])
    more = f", and {len(moved) - 5} more" if len(moved) > 5 else ""
    return f"{len(moved)} of {len(shifts)} things compared moved: {named}{more}."


def drift_sections(shifts: Sequence[Shift], reference: Predictions, recent: Predictions) -> tuple[Section, ...]:
    """Return what is told of shifts."""
    header = ("what", "moved", "reference", "recent", "stability index", "by chance", "distance", "p", "detail")
    rows = tuple(
        (
            shift.variable,
            shift.magnitude if shift.is_significant else "no",
            str(shift.n_reference),
            str(shift.n_recent),
            show(shift.stability_index, 2),
            f"{shift.null_p95:.2f}",
            show(shift.ks_distance, 2) if shift.ks_distance else NOTHING,
            f"{shift.p_value:.2g}",
            shift.detail,
        )
        for shift in shifts
    )
    text = (
        verdict(shifts),
        f"Reference: {reference.name}; recent: {recent.name}. Moved: less likely by chance than {100 * SIGNIFICANCE_LEVEL:.0f} % of "
        f"all comparisons together (Holm). Stability index: up to {MODERATE:g} small, above {LARGE:g} large; by "
        "chance: what it stays below nineteen times in twenty where nothing moved. Distance: Kolmogorov and Smirnov's. "
        f"What fewer than {MIN_STUDIES} studies tell is left out.",
        "A shift says that scans, patients or weights have changed, not that answers are worse: that takes labels.",
    )
    return (Section("What moved", text, Table(header, rows), "drift.png"),)


def drift_figure(reference: Predictions, recent: Predictions, *, phantom: bool) -> "Figure":
    """Return the distribution functions of probabilities, a panel for each target."""
    figure, axes = new_panels(len(TARGETS), phantom=phantom, height=2.8)
    for target, panel in zip(TARGETS, axes, strict=True):
        for answers, colour, dash in ((reference, "#4477AA", "-"), (recent, "#EE6677", "--")):
            values = np.sort(answers.probability[target].dropna().to_numpy(np.float64))
            shares = np.arange(1, len(values) + 1) / max(len(values), 1)
            panel.step(values, shares, where="post", color=colour, linestyle=dash, label=answers.name)
        panel.set(title="patient" if target == OVERALL else target, xlim=(0, 1), ylim=(0, 1.02))
    axes[0].legend(frameon=False, fontsize=7)
    axes[0].set(xlabel="probability", ylabel="share of studies at or below")
    return figure
