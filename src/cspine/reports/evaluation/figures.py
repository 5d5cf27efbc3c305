"""Pictures of a judgement. matplotlib is loaded when the first is drawn."""

from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.anatomy import COLORS, OVERALL, VERTEBRAE
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult
from cspine.metrics.scores import RELIABILITY_BINS, reliability, roc_points
from cspine.plots.figure_style import INK, new_figure
from cspine.reports.evaluation.sections import name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SYSTEMS: Final = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")
"""Paul Tol's bright colours, told apart by colour-blind eyes too; dashes tell systems apart as well."""

_DASHES: Final = ("-", "--", "-.", ":")


def judged_figures(judgement: EvaluationResult) -> "dict[str, Figure]":
    """Return every picture of a judgement by file name; those that there is nothing to show for are left out."""
    found = {
        "roc.png": _roc(judgement),
        "reliability.png": _reliability(judgement),
        "decision.png": _decision(judgement),
        "froc.png": _froc(judgement),
        "subgroups.png": _subgroups(judgement),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _colour(number: int) -> str:
    return _SYSTEMS[number % len(_SYSTEMS)]


def _dash(number: int) -> str:
    return _DASHES[number % len(_DASHES)]


def _roc(judgement: EvaluationResult) -> "Figure":
    """Of one system patient and levels; of several, patients and all levels of each."""
    figure, axes = new_figure(6.0, 6.4, phantom=judgement.is_phantom)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    alone = len(judgement.models) == 1
    for number, system in enumerate(judgement.models):
        for what in (OVERALL, *VERTEBRAE) if alone else (OVERALL, LEVELS):
            cases, area = judgement.cases[system.name][what], system.target(what).auc.value
            if not np.isfinite(area):
                continue
            colour = _of_target(what) if alone else _colour(number)
            name = name_of(what) if alone else f"{system.name}, {name_of(what)}"
            x, y = roc_points(cases.truth, cases.probability)
            axes.plot(x, y, linewidth=2.4 if what == OVERALL else 1.2, label=f"{name}  {area:.2f}", color=colour)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", aspect="equal")
    axes.legend(title="AUC", loc="lower right", frameon=False, fontsize=8)
    return figure


def _of_target(what: str) -> str:
    return next((colour for level, colour in COLORS.items() if level == what), INK)


def _reliability(judgement: EvaluationResult) -> "Figure":
    figure, axes = new_figure(6.0, 6.4, phantom=judgement.is_phantom)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":", label="perfect")
    for number, system in enumerate(judgement.models):
        for what, marker in ((OVERALL, "o"), (LEVELS, "s")):
            cases = judgement.cases[system.name][what]
            mean, observed, counts = reliability(cases.truth, cases.probability)
            there = counts > 0
            place = 2 * number + (what == LEVELS)
            name = name_of(what) if len(judgement.models) == 1 else f"{system.name}, {name_of(what)}"
            axes.plot(
                mean[there], observed[there], marker=marker, label=name, color=_colour(place), linestyle=_dash(place)
            )
            if len(judgement.models) == 1:
                _count(axes, mean[there], observed[there], counts[there], _colour(place))
    edges = (-0.06, 1.06)  # room for markers and counts at 0 and 1
    axes.set(xlabel="probability", ylabel="observed frequency", xlim=edges, ylim=edges, aspect="equal")
    axes.set_title(
        f"Reliability ({RELIABILITY_BINS} equal bins{', counts beside' if len(judgement.models) == 1 else ''})"
    )
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure


def _count(axes: "Axes", x: np.ndarray, y: np.ndarray, counts: np.ndarray, colour: str) -> None:
    for at, value, count in zip(x, y, counts, strict=True):
        axes.annotate(f"{count:,}", (at, value), (5, -10), textcoords="offset points", fontsize=7, color=colour)


def _decision(judgement: EvaluationResult) -> "Figure":
    figure, axes = new_figure(7.0, 4.6, phantom=judgement.is_phantom)
    for number, system in enumerate(judgement.models):
        axes.plot(
            system.decision_curve.thresholds,
            system.decision_curve.model,
            label=system.name,
            linewidth=2,
            color=_colour(number),
            linestyle=_dash(number),
        )
    first = judgement.models[0].decision_curve
    axes.plot(first.thresholds, first.treat_all, color="#999999", linewidth=1, label="everybody")
    axes.axhline(0.0, color="#999999", linewidth=1, linestyle=":", label="nobody")
    top = max(float(np.max(system.decision_curve.model)) for system in judgement.models)
    axes.set(ylim=(-0.25 * max(top, 0.05), 1.15 * max(top, 0.05)), title="Decision curve, patients")
    axes.set(xlabel="probability from which one acts", ylabel="net benefit")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _froc(judgement: EvaluationResult) -> "Figure | None":
    """Of the systems that point."""
    pointing = [(number, system) for number, system in enumerate(judgement.models) if system.localization]
    if not pointing:
        return None
    figure, axes = new_figure(7.0, 4.6, phantom=judgement.is_phantom)
    for number, system in pointing:
        if system.localization is None:  # pragma: no cover - chosen above
            continue
        curve = system.localization.froc
        axes.step(
            np.r_[0.0, curve.false_positives_per_study],
            np.r_[0.0, curve.sensitivity],
            where="post",
            label=system.name,
            color=_colour(number),
            linestyle=_dash(number),
        )
    axes.set(
        xlim=(0, 4), ylim=(0, 1), title="FROC", xlabel="false alarms a study", ylabel="broken vertebrae pointed at"
    )
    axes.legend(frameon=False, loc="lower right", fontsize=8)
    return figure


def _subgroups(judgement: EvaluationResult) -> "Figure | None":
    """Areas of every part with their intervals, systems beside each other."""
    rows = [row for row in judgement.models[0].subgroups if np.isfinite(row.auc.value)]
    if not rows:
        return None
    figure, axes = new_figure(8.0, 1.6 + 0.26 * len(rows), phantom=judgement.is_phantom)
    names = [f"{row.unit}, {row.group}: {row.value} ({row.n_positives} of {row.n_cases})" for row in rows]
    offsets = np.linspace(-0.22, 0.22, len(judgement.models)) if len(judgement.models) > 1 else np.zeros(1)
    for number, (system, offset) in enumerate(zip(judgement.models, offsets.tolist(), strict=True)):
        known = {(row.unit, row.group, row.value): row for row in system.subgroups}
        own = [known[row.unit, row.group, row.value] for row in rows]
        values = np.array([row.auc.value for row in own])
        reach = np.array([[row.auc.value - row.auc.low, row.auc.high - row.auc.value] for row in own]).T
        colour = _colour(number)
        axes.errorbar(
            values,
            np.arange(len(rows)) + offset,
            xerr=np.nan_to_num(reach),
            label=system.name,
            color=colour,
            fmt="o",
            markersize=4,
        )
    axes.axvline(0.5, color="#999999", linewidth=1, linestyle=":")
    axes.set_yticks(
        range(len(rows)), [f"{name} *" if row.is_small_sample else name for name, row in zip(names, rows, strict=True)]
    )
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    least = min([0.4, *(row.auc.low for row in rows if np.isfinite(row.auc.low))])
    axes.set(xlabel="AUC (95 %)", xlim=(least, 1.02))
    if len(judgement.models) > 1:
        axes.legend(frameon=False, fontsize=8)
    return figure
