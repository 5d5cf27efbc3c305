"""Drift between reference and recent findings as a section and a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.anatomy import TARGETS
from cspine.evaluation.drift import LARGE_PSI, MIN_STUDIES, MODERATE_PSI, SIGNIFICANCE_LEVEL, Shift
from cspine.evaluation.predictions import Predictions
from cspine.plots.figure_style import new_panels
from cspine.reports.evaluation.evaluation_sections import target_name
from cspine.reports.evaluation.sections import NOT_AVAILABLE, Section, Table, format_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_NAMED: Final = 5
"""Number of drifted variables that the summary names."""


def drift_summary(shifts: Sequence[Shift]) -> str:
    """Return a sentence that says which variables drifted."""
    drifted = [shift for shift in shifts if shift.is_significant]
    if not drifted:
        return f"No significant drift in {len(shifts)} variables."
    names = "; ".join(f"{shift.variable} ({shift.detail})" for shift in drifted[:_MAX_NAMED])
    more = f"; and {len(drifted) - _MAX_NAMED} more" if len(drifted) > _MAX_NAMED else ""
    return f"Significant drift in {len(drifted)} of {len(shifts)} variables: {names}{more}."


def drift_sections(shifts: Sequence[Shift], reference: Predictions, recent: Predictions) -> tuple[Section, ...]:
    """Return the section on drift, with the statistics of each variable.

    Parameters
    ----------
    shifts : sequence of Shift
        Shifts that `cspine.evaluation.drift.find_shifts` returned.
    reference, recent : Predictions
        The predictions that were compared.
    """
    header = ("variable", "drift", "n reference", "n recent", "PSI", "PSI, null 95 %", "KS distance", "p", "detail")
    rows = tuple(
        (
            shift.variable,
            shift.magnitude if shift.is_significant else "no",
            str(shift.n_reference),
            str(shift.n_recent),
            format_interval(shift.stability_index, 2),
            f"{shift.null_p95:.2f}",
            format_interval(shift.ks_distance, 2) if shift.ks_distance else NOT_AVAILABLE,
            f"{shift.p_value:.2g}",
            shift.detail,
        )
        for shift in shifts
    )
    text = (
        drift_summary(shifts),
        f"Reference: {reference.name}; recent: {recent.name}. Drift: significant at a family-wise error rate of "
        f"{100 * SIGNIFICANCE_LEVEL:.0f} % over all variables (Holm). PSI: population stability index, small up to "
        f"{MODERATE_PSI:g}, large above {LARGE_PSI:g}; null 95 %: its 95th percentile without drift, by permutation. "
        f"KS distance: Kolmogorov-Smirnov distance. Variables known for fewer than {MIN_STUDIES} studies are omitted.",
        *(f"{each.name}: {warning}." for each in (reference, recent) for warning in each.warnings),
        "Drift means that scans, patients or weights have changed. Whether performance has changed can only be "
        "evaluated with labels.",
    )
    return (Section("Drift", text, Table(header, rows), "drift.png"),)


def drift_figure(reference: Predictions, recent: Predictions, *, is_phantom: bool) -> "Figure":
    """Return the empirical distribution functions of the probabilities, one panel per target.

    Parameters
    ----------
    reference, recent : Predictions
        The predictions that were compared.
    is_phantom : bool
        Whether all studies are phantoms; the figure then says so.
    """
    figure, panels = new_panels(len(TARGETS), is_phantom=is_phantom, height=2.8)
    for target, panel in zip(TARGETS, panels, strict=True):
        for predictions, color, line_style in ((reference, "#4477AA", "-"), (recent, "#EE6677", "--")):
            values = np.sort(predictions.probability[target].dropna().to_numpy(np.float64))
            fractions = np.arange(1, len(values) + 1) / max(len(values), 1)
            panel.step(values, fractions, where="post", color=color, linestyle=line_style, label=predictions.name)
        panel.set(title=target_name(target), xlim=(0, 1), ylim=(0, 1.02))
    panels[0].legend(frameon=False, fontsize=7)
    panels[0].set(xlabel="probability", ylabel="cumulative fraction of studies")
    return figure
