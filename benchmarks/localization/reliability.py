"""The reliability diagram of level confidence, overall and for each kind of scan."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.localization.rates import calibration_error
from benchmarks.localization.scoring import CaseScore, LevelScore
from cspine.metrics.scores import reliability
from cspine.plots.figure_style import GRAY, INK, new_panels, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def save_reliability(scores: Sequence[CaseScore], path: Path) -> None:
    """Draw how often names are right against their confidence, and write the figure as PNG.

    Parameters
    ----------
    scores : sequence of CaseScore
        Of phantoms; the kind is that of the scan. Kinds without a named level have no panel.
    path : Path
        File to write.
    """
    named = {"all": [level for score in scores for level in score.named]}
    for score in sorted(scores, key=lambda each: each.kind):
        if score.named:
            named.setdefault(score.kind, []).extend(score.named)
    figure, panels = new_panels(len(named), is_phantom=True, width=2.4, height=2.6)
    for axes, (kind, levels) in zip(panels, named.items(), strict=True):
        _draw(axes, kind, levels)
    save_figure(figure, path)


def _draw(axes: "Axes", kind: str, levels: Sequence[LevelScore]) -> None:
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=1, linestyle=":")
    if levels:
        is_right = np.array([level.is_name_right for level in levels], float)
        confidence, observed, counts = reliability(is_right, [level.confidence for level in levels])
        filled = counts > 0
        axes.plot(confidence[filled], observed[filled], color=INK, marker="o", markersize=4)
        for x, y, count in zip(confidence[filled], observed[filled], counts[filled], strict=True):
            axes.annotate(f"{count:,}", (x, y), (4, -9), textcoords="offset points", fontsize=6, color=GRAY)
    limits = (-0.06, 1.06)
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="confidence", ylabel="names right")
    axes.set_title(f"{kind}: calibration error {calibration_error(levels):.3f}", fontsize=7)
