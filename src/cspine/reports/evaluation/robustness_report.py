"""Trials as sections, Markdown and a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.experiments.perturbations import SUITES
from cspine.experiments.robustness import BLANK, SLICES, UNPERTURBED, RobustnessPoint
from cspine.plots.figure_style import new_panels
from cspine.reports.evaluation.sections import NOTHING, Section, Table, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES: Final = (("patients", "#4477AA", "o"), ("levels", "#EE6677", "s"))


def severity_of(point: RobustnessPoint) -> str:
    """Return a severity with its unit."""
    if point.suite not in SUITES:
        return ""
    return f"{point.severity:g} {SUITES[point.suite].unit}".strip()


def trial_sections(points: Sequence[RobustnessPoint]) -> tuple[Section, ...]:
    """Return what is told of trials."""
    shortcuts = tuple(
        (_SHORTCUT[point.suite], show(point.patients), show(point.levels))
        for point in points
        if point.suite in _SHORTCUT
    )
    rows = tuple(
        (
            f"{SUITES[point.suite].says} {severity_of(point)}" if point.suite in SUITES else UNPERTURBED,
            str(point.answered),
            str(point.not_assessable),
            show(point.patients),
            show(point.levels),
            NOTHING if np.isnan(point.moved) else f"{point.moved:.3f}",
        )
        for point in points
        if point.suite not in _SHORTCUT
    )
    header = ("scans", "answered", "not_assessable", "patients' AUC", "levels' AUC", "probabilities moved")
    worse = "Refused scans are left out of the areas: a fall that refusals hide shows in their number."
    chance = "A system that looks at bone is at chance, 0.5, where there is none, and does better than slices tell."
    return (
        Section("Worse scans", (worse,), Table(header, rows), "robustness.png"),
        Section("Shortcuts", (chance,), Table(("what is left", "patients' AUC", "levels' AUC"), shortcuts)),
    )


_SHORTCUT: Final = {BLANK: "images with their vertebrae blanked out", SLICES: "the number of slices alone"}


def trial_figure(points: Sequence[RobustnessPoint], *, phantom: bool) -> "Figure":
    """Return areas against severity, a panel for each suite."""
    names = [name for name in SUITES if any(point.suite == name for point in points)]
    figure, axes = new_panels(len(names), phantom=phantom)
    first = next(point for point in points if point.suite == UNPERTURBED)
    for name, panel in zip(names, axes, strict=True):
        own = [first, *(point for point in points if point.suite == name)]
        severity = [point.severity for point in own]
        for what, colour, marker in _LINES:
            areas = [getattr(point, what) for point in own]
            values = np.array([area.value for area in areas])
            reach = np.array([[area.value - area.low, area.high - area.value] for area in areas]).T
            panel.errorbar(severity, values, yerr=np.nan_to_num(reach), color=colour, marker=marker, label=what)
        not_assessable = [point.not_assessable / max(point.not_assessable + point.answered, 1) for point in own]
        panel.plot(severity, not_assessable, color="#999999", linestyle=":", label="share refused")
        panel.set(xlabel=f"{SUITES[name].says} ({SUITES[name].unit})" if SUITES[name].unit else SUITES[name].says)
        panel.set(title=name, ylim=(-0.03, 1.03))
    axes[0].legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("AUC (95 %)")
    return figure
