"""Robustness to perturbations and shortcut learning, as sections and a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.experiments.perturbations import PERTURBATIONS
from cspine.experiments.perturbed_predictions import BLANK, SLICES, UNPERTURBED
from cspine.experiments.robustness import RobustnessPoint
from cspine.plots.figure_style import new_panels
from cspine.reports.evaluation.error_bars import error_bars
from cspine.reports.evaluation.sections import NOT_AVAILABLE, Section, Table, format_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES: Final = (("patients", "#4477AA", "o"), ("levels", "#EE6677", "s"))
_SHORTCUTS: Final = {BLANK: "images with the vertebrae blanked out", SLICES: "number of slices only"}


def format_severity(point: RobustnessPoint) -> str:
    """Return a severity with its unit; empty for scans without perturbation."""
    if point.perturbation not in PERTURBATIONS:
        return ""
    return f"{point.severity:g} {PERTURBATIONS[point.perturbation].unit}".strip()


def robustness_sections(points: Sequence[RobustnessPoint]) -> tuple[Section, ...]:
    """Return the sections on image degradation and on shortcuts.

    Parameters
    ----------
    points : sequence of RobustnessPoint
        Points that `cspine.experiments.robustness.evaluate_perturbations` returned.
    """
    return _degradation(points), _shortcuts(points)


def _degradation(points: Sequence[RobustnessPoint]) -> Section:
    header = (
        "perturbation", "n assessed", "n not assessable", "AUC, patients", "AUC, levels",
        "mean absolute change in probability",
    )  # fmt: skip
    rows = tuple(
        (
            _describe(point),
            str(point.n_predicted),
            str(point.n_not_assessable),
            format_interval(point.patients),
            format_interval(point.levels),
            NOT_AVAILABLE if np.isnan(point.mean_change) else f"{point.mean_change:.3f}",
        )
        for point in points
        if point.perturbation not in _SHORTCUTS
    )
    text = (
        "Fractured patients of studies that are not assessable, and fractured vertebrae that are not found, rank "
        "lowest: they are missed. Intact ones are excluded from the AUC; if their number rises with the severity, the "
        "AUC underestimates the effect of a perturbation."
    )
    return Section("Robustness to image degradation", (text,), Table(header, rows), "robustness.png")


def _describe(point: RobustnessPoint) -> str:
    if point.perturbation not in PERTURBATIONS:
        return UNPERTURBED
    return f"{PERTURBATIONS[point.perturbation].description} {format_severity(point)}"


def _shortcuts(points: Sequence[RobustnessPoint]) -> Section:
    header = ("remaining information", "AUC, patients", "AUC, levels")
    rows = tuple(
        (_SHORTCUTS[point.perturbation], format_interval(point.patients), format_interval(point.levels))
        for point in points
        if point.perturbation in _SHORTCUTS
    )
    text = (
        "A model that relies on bone has an AUC of 0.5 on images without vertebrae, and a higher AUC on the original "
        "images than the number of slices alone achieves."
    )
    return Section("Shortcut learning", (text,), Table(header, rows))


def robustness_figure(points: Sequence[RobustnessPoint], *, is_phantom: bool) -> "Figure":
    """Return the AUC against the severity, one panel per perturbation.

    Parameters
    ----------
    points : sequence of RobustnessPoint
        Points that `cspine.experiments.robustness.evaluate_perturbations` returned.
    is_phantom : bool
        Whether all studies are phantoms; the figure then says so.
    """
    names = [name for name in PERTURBATIONS if any(point.perturbation == name for point in points)]
    figure, panels = new_panels(len(names), is_phantom=is_phantom)
    unperturbed = next(point for point in points if point.perturbation == UNPERTURBED)
    for name, panel in zip(names, panels, strict=True):
        series = [unperturbed, *(point for point in points if point.perturbation == name)]
        severities = [point.severity for point in series]
        for target, color, marker in _LINES:
            values, distances = error_bars([getattr(point, target) for point in series])
            panel.errorbar(severities, values, yerr=distances, color=color, marker=marker, label=target)
        fractions = [point.n_not_assessable / max(point.n_not_assessable + point.n_predicted, 1) for point in series]
        panel.plot(severities, fractions, color="#999999", linestyle=":", label="fraction not assessable")
        unit = PERTURBATIONS[name].unit
        panel.set(xlabel=f"{PERTURBATIONS[name].description} ({unit})" if unit else PERTURBATIONS[name].description)
        panel.set(title=name, ylim=(-0.03, 1.03))
    panels[0].legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("AUC (95 % CI)")
    return figure
