"""Figures of an evaluation. matplotlib is imported when the first one is drawn."""

from typing import TYPE_CHECKING, Final

import numpy as np

from cspine.core.anatomy import COLORS, OVERALL, VERTEBRAE
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult, ModelResult
from cspine.evaluation.subgroups import SubgroupMetrics
from cspine.metrics.scores import RELIABILITY_BINS, reliability, roc_points
from cspine.plots.figure_style import INK, add_legend, new_figure
from cspine.reports.evaluation.error_bars import error_bars
from cspine.reports.evaluation.evaluation_sections import target_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MODEL_COLORS: Final = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")
"""Paul Tol's bright scheme, distinguishable with color vision deficiency."""

_LINE_STYLES: Final = ("-", "--", "-.", ":")

_REFERENCE_COLOR: Final = "#999999"
"""Color of lines for comparison, such as the diagonal of a ROC plot."""

_MAX_FALSE_POSITIVES: Final = 4
"""Right end of the FROC curve."""


def evaluation_figures(result: EvaluationResult) -> "dict[str, Figure]":
    """Return the figures of an evaluation, keyed by file name.

    The FROC curve is omitted if no model reports marks, and the subgroups if there are none with an AUC.
    """
    figures = {
        "roc.png": _roc(result),
        "reliability.png": _reliability(result),
        "decision.png": _decision_curve(result),
        "froc.png": _froc(result),
        "subgroups.png": _subgroups(result),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _color(index: int) -> str:
    return _MODEL_COLORS[index % len(_MODEL_COLORS)]


def _line_style(index: int) -> str:
    return _LINE_STYLES[index % len(_LINE_STYLES)]


def _label(result: EvaluationResult, model: ModelResult, target: str) -> str:
    """Return the target's name, preceded by the model's if there are several models."""
    return target_name(target) if len(result.models) == 1 else f"{model.name}, {target_name(target)}"


def _roc(result: EvaluationResult) -> "Figure":
    """Draw the ROC curves of patient and levels for one model, of patient and all levels for several."""
    figure, axes = new_figure(6.0, 6.4, is_phantom=result.is_phantom)
    axes.plot([0, 1], [0, 1], color=_REFERENCE_COLOR, linewidth=1, linestyle=":")
    is_single = len(result.models) == 1
    for index, model in enumerate(result.models):
        for target in (OVERALL, *VERTEBRAE) if is_single else (OVERALL, LEVELS):
            cases, auc = result.cases[model.name][target].ranked(), model.target(target).auc.value
            if not np.isfinite(auc):
                continue
            x, y = roc_points(cases.truth, cases.probability)
            axes.plot(
                x,
                y,
                linewidth=2.4 if target == OVERALL else 1.2,
                label=f"{_label(result, model, target)}  {auc:.2f}",
                color=_target_color(target) if is_single else _color(index),
            )
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC curves", aspect="equal")
    add_legend(axes, title="AUC", loc="lower right", frameon=False, fontsize=8)
    return figure


def _target_color(target: str) -> str:
    return next((color for level, color in COLORS.items() if level == target), INK)


def _reliability(result: EvaluationResult) -> "Figure":
    """Draw the reliability diagrams of patient and all levels; for one model with the counts of the bins."""
    figure, axes = new_figure(6.0, 6.4, is_phantom=result.is_phantom)
    axes.plot([0, 1], [0, 1], color=_REFERENCE_COLOR, linewidth=1, linestyle=":", label="perfect calibration")
    is_single = len(result.models) == 1
    for index, model in enumerate(result.models):
        for target, marker in ((OVERALL, "o"), (LEVELS, "s")):
            cases = result.cases[model.name][target].answered()
            predicted, observed, counts = reliability(cases.truth, cases.probability)
            filled = counts > 0
            number = 2 * index + (target == LEVELS)
            axes.plot(
                predicted[filled],
                observed[filled],
                marker=marker,
                label=_label(result, model, target),
                color=_color(number),
                linestyle=_line_style(number),
            )
            if is_single:
                _annotate_counts(axes, predicted[filled], observed[filled], counts[filled], _color(number))
    limits = (-0.06, 1.06)  # room for markers and counts at 0 and 1
    axes.set(xlabel="predicted probability", ylabel="observed frequency", xlim=limits, ylim=limits, aspect="equal")
    counts_note = ", with counts" if is_single else ""
    axes.set_title(f"Reliability diagram ({RELIABILITY_BINS} bins of equal width{counts_note})")
    add_legend(axes, loc="lower right", frameon=False, fontsize=8)
    return figure


def _annotate_counts(axes: "Axes", x: np.ndarray, y: np.ndarray, counts: np.ndarray, color: str) -> None:
    for left, bottom, count in zip(x, y, counts, strict=True):
        axes.annotate(f"{count:,}", (left, bottom), (5, -10), textcoords="offset points", fontsize=7, color=color)


def _decision_curve(result: EvaluationResult) -> "Figure":
    figure, axes = new_figure(7.0, 4.6, is_phantom=result.is_phantom)
    for index, model in enumerate(result.models):
        axes.plot(
            model.decision_curve.thresholds,
            model.decision_curve.model,
            label=model.name,
            linewidth=2,
            color=_color(index),
            linestyle=_line_style(index),
        )
    first = result.models[0].decision_curve
    axes.plot(first.thresholds, first.treat_all, color=_REFERENCE_COLOR, linewidth=1, label="treat all")
    axes.axhline(0.0, color=_REFERENCE_COLOR, linewidth=1, linestyle=":", label="treat none")
    top = max(0.05, *(float(np.max(model.decision_curve.model)) for model in result.models))
    axes.set(ylim=(-0.25 * top, 1.15 * top), title="Decision curves, patients")
    axes.set(xlabel="threshold probability", ylabel="net benefit")
    add_legend(axes, frameon=False, fontsize=8)
    return figure


def _froc(result: EvaluationResult) -> "Figure | None":
    """Draw the FROC curves of the models that report marks."""
    if not any(model.localization for model in result.models):
        return None
    figure, axes = new_figure(7.0, 4.6, is_phantom=result.is_phantom)
    for index, model in enumerate(result.models):
        if model.localization is None:
            continue
        curve = model.localization.froc
        axes.step(
            np.r_[0.0, curve.false_positives_per_study],
            np.r_[0.0, curve.sensitivity],
            where="post",
            label=model.name,
            color=_color(index),
            linestyle=_line_style(index),
        )
    axes.set(xlim=(0, _MAX_FALSE_POSITIVES), ylim=(0, 1), title="FROC curves")
    axes.set(xlabel="false positives per study", ylabel="sensitivity (fractured vertebrae)")
    add_legend(axes, frameon=False, loc="lower right", fontsize=8)
    return figure


def _subgroups(result: EvaluationResult) -> "Figure | None":
    """Draw the AUC of all subgroups with their intervals, models beside each other."""
    rows = [row for row in result.models[0].subgroups if np.isfinite(row.auc.value)]
    if not rows:
        return None
    figure, axes = new_figure(8.0, 1.6 + 0.26 * len(rows), is_phantom=result.is_phantom)
    offsets = np.linspace(-0.22, 0.22, len(result.models)) if len(result.models) > 1 else np.zeros(1)
    for index, (model, offset) in enumerate(zip(result.models, offsets.tolist(), strict=True)):
        aucs = {(row.unit, row.group, row.value): row.auc for row in model.subgroups}
        values, distances = error_bars([aucs[row.unit, row.group, row.value] for row in rows])
        axes.errorbar(
            values,
            np.arange(len(rows)) + offset,
            xerr=distances,
            label=model.name,
            color=_color(index),
            fmt="o",
            markersize=4,
        )
    axes.axvline(0.5, color=_REFERENCE_COLOR, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(rows)), [_subgroup_label(row) for row in rows])
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    left = min([0.4, *(row.auc.low for row in rows if np.isfinite(row.auc.low))])
    axes.set(xlabel="AUC (95 % CI)", xlim=(left, 1.02), title="Subgroup analysis")
    if len(result.models) > 1:
        add_legend(axes, frameon=False, fontsize=8)
    return figure


def _subgroup_label(row: SubgroupMetrics) -> str:
    star = " *" if row.is_small_sample else ""
    return f"{row.unit}, {row.group}: {row.value} ({row.n_positives} of {row.n_cases}){star}"
