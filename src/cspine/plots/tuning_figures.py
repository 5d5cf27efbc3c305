"""Figures of a search over settings: the history of its trials, and which settings matter."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cspine.plots.figure_style import GRAY, INK, add_legend, new_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STATES = {"complete": ("#4477AA", "o", "finished"), "pruned": ("#CCBB44", "x", "stopped early")}


def tuning_figure(table: pd.DataFrame, importances: Mapping[str, float], *, metric: str, direction: str) -> "Figure":
    """Return the history of a search, with its best value so far, and the importance of each setting.

    Parameters
    ----------
    table : DataFrame
        One row per trial, columns trial, state and value.
    importances : mapping of str to float
        Fraction of the metric's variation that each setting explains; may be empty.
    metric : str
        Name of the metric.
    direction : str
        ``minimize`` or ``maximize``.
    """
    figure, (history, importance) = new_panels(2, is_phantom=False, width=4.6, height=3.8)
    for state, (color, marker, label) in _STATES.items():
        rows = table[(table["state"] == state) & table["value"].notna()]
        if len(rows):
            history.plot(rows["trial"], rows["value"], marker, color=color, label=label, markersize=5)
    finished = table[(table["state"] == "complete") & table["value"].notna()].sort_values("trial")
    if len(finished):
        values = finished["value"].to_numpy(float)
        best = np.minimum.accumulate(values) if direction == "minimize" else np.maximum.accumulate(values)
        history.step(finished["trial"], best, where="post", color=INK, linewidth=1, label="best so far")
    history.set(title="History", xlabel="trial", ylabel=metric)
    history.locator_params(axis="x", integer=True)
    add_legend(history, frameon=False, fontsize=8)
    if importances:
        ordered = sorted(importances.items(), key=lambda pair: pair[1])
        importance.barh([name for name, _ in ordered], [value for _, value in ordered], color="#4477AA")
        importance.set_xlim(0.0, 1.0)
    else:
        importance.text(0.5, 0.5, "too few finished trials", ha="center", va="center", color=GRAY)
        importance.set_yticks([])
    importance.set(title="Importance (fANOVA)", xlabel="fraction of the variation")
    return figure
