"""A learning curve as a section and a figure."""

from typing import TYPE_CHECKING

from cspine.experiments.learning_curve import LearningCurve, LearningCurvePoint
from cspine.metrics.bootstrap import Interval
from cspine.plots.figure_style import new_panels
from cspine.reports.evaluation.error_bars import error_bars
from cspine.reports.evaluation.sections import NOT_AVAILABLE, Section, Table, format_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve_summary(curve: LearningCurve) -> str:
    """Return a sentence on what the last increase of the number of patients changed."""
    if len(curve.points) < 2:
        return "One fraction was tested; give more for a curve."
    before, last = curve.points[-2:]
    return (
        f"From {before.n_patients} to {last.n_patients} training patients the AUC changes by "
        f"{_change(before.patients_difference)} (patients) and {_change(before.levels_difference)} (vertebrae)."
    )


def _change(difference: Interval | None) -> str:
    """Return the change up to the largest fraction, which is the difference with its sign turned."""
    if difference is None:
        return "not available"
    low, high = -difference.high, -difference.low
    word = "higher" if low > 0 else "lower" if high < 0 else "not significant"
    return f"{-difference.value:+.3f} ({low:+.3f} to {high:+.3f}, {word})"


def learning_curve_sections(curve: LearningCurve) -> tuple[Section, ...]:
    """Return the section with the AUC for each fraction of the patients."""
    largest = f"Δ vs. {100 * curve.points[-1].fraction:g} %"
    header = ("fraction", "patients", "studies", "AUC, patients", largest, "AUC, levels", largest)
    rows = tuple(
        (
            f"{100 * point.fraction:g} %",
            str(point.n_patients),
            str(point.n_studies),
            format_interval(point.patients),
            _difference_cell(point.patients_difference),
            format_interval(point.levels),
            _difference_cell(point.levels_difference),
        )
        for point in curve.points
    )
    views = "views of each vertebra" if curve.network == "levels" else "sagittal images of a study"
    once = "one training" if curve.n_repeats == 1 else f"{curve.n_repeats} trainings with a seed of their own"
    variation = (
        "With one training, only the test patients vary in the intervals: the variance of training is not included."
        if curve.n_repeats == 1
        else "The intervals hold the variation of test patients (bootstrap) and of trainings (Student's t with "
        f"{curve.n_repeats - 1} degrees of freedom)."
    )
    text = (
        learning_curve_summary(curve),
        f"{curve.network} with {curve.views} {views}: {once} for each fraction of the patients, of which smaller "
        f"fractions are subsets of larger ones. The same fifth of the patients selects the epoch. Evaluated on "
        f"{curve.n_test_studies} studies of {curve.n_test_patients} other patients; AUCs are means over the trainings, "
        f"and differences are paired. {variation}",
    )
    return (Section("Number of training patients", text, Table(header, rows), "learning-curve.png"),)


def _difference_cell(difference: Interval | None) -> str:
    return format_interval(difference, sign="+") if difference else NOT_AVAILABLE


def learning_curve_figure(curve: LearningCurve) -> "Figure":
    """Return AUC against the number of training patients: means with intervals, and each training as a dot."""
    figure, panels = new_panels(2, is_phantom=curve.is_phantom, width=4.2, height=3.8)
    counts = [point.n_patients for point in curve.points]
    titles = {"patients": "patients", "levels": "vertebrae"}
    varies = "95 % CI" if curve.n_repeats > 1 else "95 % CI of test patients"
    lowest = min([0.5, *(value for point in curve.points for value in _drawn(point))])
    for panel, (target, color) in zip(panels, {"patients": "#4477AA", "levels": "#EE6677"}.items(), strict=True):
        for point in curve.points:
            repeats = getattr(point, f"{target}_repeats")
            panel.plot([point.n_patients] * len(repeats), repeats, ".", color=color, alpha=0.4, markersize=7)
        values, distances = error_bars([getattr(point, target) for point in curve.points])
        panel.errorbar(counts, values, yerr=distances, color=color, marker="o", capsize=3)
        panel.axhline(0.5, color="#999999", linewidth=1, linestyle=":")
        panel.set_xscale("log")
        panel.set_xticks(counts, [str(count) for count in counts])
        panel.minorticks_off()
        panel.set(title=f"AUC over {titles[target]} ({varies})", xlabel="training patients (log scale)")
        panel.set_ylim(lowest - 0.03, 1.02)
    return figure


def _drawn(point: LearningCurvePoint) -> list[float]:
    """Return all finite values that a point draws."""
    values = [*point.patients_repeats, *point.levels_repeats, point.patients.low, point.levels.low]
    return [value for value in values if value == value]  # noqa: PLR0124 - NaN is not equal to itself
