"""An ablation of the number of views as a section and a figure."""

from typing import TYPE_CHECKING

from cspine.experiments.ablation import Ablation, AblationRow
from cspine.metrics.delong import AucDifference
from cspine.plots.figure_style import new_panels
from cspine.reports.evaluation.error_bars import error_bars
from cspine.reports.evaluation.sections import NOT_AVAILABLE, Section, Table, format_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ablation_summary(ablation: Ablation) -> str:
    """Return a sentence on the differences in AUC with more views than the reference."""
    rows = [row for row in ablation.rows if row.views > ablation.reference]
    if not rows:
        return f"No number of views above {ablation.reference} was tested."
    differences = "; ".join(f"{row.views} views: {_differences(row)}" for row in rows)
    return f"Difference in AUC (patients and vertebrae) to {ablation.reference} views: {differences}."


def _differences(row: AblationRow) -> str:
    return f"{_difference(row.patients_difference)} and {_difference(row.levels_difference)}"


def _difference(difference: AucDifference | None) -> str:
    if difference is None:
        return "not available"
    interval = difference.interval
    word = "higher" if interval.low > 0 else "lower" if interval.high < 0 else "not significant"
    return f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f}, {word})"


def ablation_sections(ablation: Ablation) -> tuple[Section, ...]:
    """Return the section with the AUC, size and time for each number of views."""
    is_levels = ablation.network == "levels"
    views = "views of each vertebra" if is_levels else "sagittal images of a study"
    initialization = ", from the embedded encoder and a randomly initialized head" if is_levels else ""
    difference = f"Δ vs. {ablation.reference} views"
    header = (
        "views", "AUC, patients", difference, "AUC, levels", difference,
        "kB per study", "s per epoch", "ms per study",
    )  # fmt: skip
    rows = tuple(
        (
            str(row.views),
            format_interval(row.patients),
            _difference_cell(row.patients_difference),
            format_interval(row.levels),
            _difference_cell(row.levels_difference),
            f"{row.bytes_per_study / 1000:,.0f}",
            f"{row.seconds_per_epoch:.1f}",
            f"{1000 * row.seconds_per_study:.1f}",
        )
        for row in ablation.rows
    )
    result = ablation.evaluation
    text = (
        ablation_summary(ablation),
        f"{ablation.network}, trained once with each number of {views}{initialization}; evaluated on "
        f"{result.n_studies} studies of {result.n_patients} patients. Differences are on the same studies "
        "(DeLong; Obuchowski for vertebrae). The intervals do not include the variance of training.",
    )
    return (Section("Number of views", text, Table(header, rows), "ablation.png"),)


def _difference_cell(difference: AucDifference | None) -> str:
    return format_interval(difference.interval, sign="+") if difference else NOT_AVAILABLE


def ablation_figure(ablation: Ablation) -> "Figure":
    """Return AUC, size and training time against the number of views."""
    figure, panels = new_panels(3, is_phantom=ablation.evaluation.is_phantom, width=3.6)
    views = [row.views for row in ablation.rows]
    for target, color, marker in (("patients", "#4477AA", "o"), ("levels", "#EE6677", "s")):
        values, distances = error_bars([getattr(row, target) for row in ablation.rows])
        panels[0].errorbar(views, values, yerr=distances, color=color, marker=marker, label=target)
    panels[0].set(title="AUC (95 % CI)", xlabel="views", ylim=(0.3, 1.02))
    panels[0].axhline(0.5, color="#999999", linewidth=1, linestyle=":")
    panels[0].legend(frameon=False, fontsize=8)
    panels[1].plot(views, [row.bytes_per_study / 1000 for row in ablation.rows], color="#228833", marker="o")
    panels[1].set(title="kB per study", xlabel="views", ylim=(0, None))
    panels[2].plot(views, [row.seconds_per_epoch for row in ablation.rows], color="#AA3377", marker="o")
    panels[2].set(title="seconds per epoch", xlabel="views", ylim=(0, None))
    return figure
