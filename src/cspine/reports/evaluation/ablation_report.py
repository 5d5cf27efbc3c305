"""An ablation as sections and a figure, with the sentence that it comes to."""

from typing import TYPE_CHECKING

import numpy as np

from cspine.experiments.ablation import Ablation, AblationRow
from cspine.metrics.delong import AucDifference
from cspine.plots.figure_style import new_panels
from cspine.reports.evaluation.sections import NOTHING, Section, Table, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def verdict(ablation: Ablation) -> str:
    """Return what the numbers say of more views than the reference's."""
    more = [row for row in ablation.rows if row.views > ablation.reference]
    if not more:
        return f"No number of views above {ablation.reference} was tried."
    said = [f"{row.views}: {_gap(row)}" for row in more]
    return f"Against {ablation.reference} views, patients' and vertebrae's AUC with more: {'; '.join(said)}."


def _gap(row: AblationRow) -> str:
    return f"{_told(row.patients_gap)} and {_told(row.levels_gap)}"


def _told(gap: AucDifference | None) -> str:
    if gap is None:
        return "not to be told"
    found = gap.interval
    word = "higher" if found.low > 0 else "lower" if found.high < 0 else "not told from chance"
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f}, {word})"


def ablation_sections(ablation: Ablation) -> tuple[Section, ...]:
    """Return the table, the sentence and the figure."""
    what = "sagittal images of a study" if ablation.network == "baseline-cnn" else "views of each vertebra"
    areas = ("patients' AUC", "difference", "levels' AUC", "difference")
    header = ("views", *areas, "kB a study", "s an epoch", "ms a study")
    rows = tuple(
        (
            str(row.views),
            show(row.patients),
            show(row.patients_gap.interval, sign="+") if row.patients_gap else NOTHING,
            show(row.levels),
            show(row.levels_gap.interval, sign="+") if row.levels_gap else NOTHING,
            f"{row.bytes_per_study / 1000:,.0f}",
            f"{row.seconds_per_epoch:.1f}",
            f"{1000 * row.seconds_per_study:.1f}",
        )
        for row in ablation.rows
    )
    judged, begun = ablation.judgement, ""
    if ablation.network == "levels":
        begun = ", from the encoder that comes with cspine and a head that knows nothing"
    text = (
        verdict(ablation),
        f"{ablation.network}, trained anew with each number of {what}{begun}; judged on {judged.n_studies} studies of "
        f"{judged.n_patients} patients. Differences are to {ablation.reference} views, on the same studies (DeLong; of "
        "vertebrae Obuchowski). Each network is trained once: what chance in training adds is not in the intervals.",
    )
    return (Section("How many views", text, Table(header, rows), "ablation.png"),)


def ablation_figure(ablation: Ablation) -> "Figure":
    """Return areas, bytes and seconds against the number of views."""
    figure, axes = new_panels(3, phantom=ablation.judgement.is_phantom, width=3.6)
    views = [row.views for row in ablation.rows]
    for name, colour, marker in (("patients", "#4477AA", "o"), ("levels", "#EE6677", "s")):
        found = [getattr(row, name) for row in ablation.rows]
        values = np.array([area.value for area in found])
        reach = np.array([[area.value - area.low, area.high - area.value] for area in found]).T
        axes[0].errorbar(views, values, yerr=np.nan_to_num(reach), color=colour, marker=marker, label=name)
    axes[0].set(title="AUC (95 %)", xlabel="views", ylim=(0.3, 1.02))
    axes[0].axhline(0.5, color="#999999", linewidth=1, linestyle=":")
    axes[0].legend(frameon=False, fontsize=8)
    axes[1].plot(views, [row.bytes_per_study / 1000 for row in ablation.rows], color="#228833", marker="o")
    axes[1].set(title="kB a study", xlabel="views", ylim=(0, None))
    axes[2].plot(views, [row.seconds_per_epoch for row in ablation.rows], color="#AA3377", marker="o")
    axes[2].set(title="seconds an epoch", xlabel="views", ylim=(0, None))
    return figure
