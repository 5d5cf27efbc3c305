"""Figures of a training run."""

from typing import TYPE_CHECKING

import pandas as pd

from cspine.plots.figure_style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curves_figure(curve: pd.DataFrame, *, title: str, is_phantom: bool = False) -> "Figure":
    """Return training and validation loss over the epochs.

    Parameters
    ----------
    curve : DataFrame
        One row per epoch, columns epoch, train_loss and val_loss.
    title : str
        Title of the figure.
    is_phantom : bool
        Whether the studies are phantoms.
    """
    figure, axes = new_figure(7.0, 4.4, is_phantom=is_phantom)
    axes.plot(curve["epoch"], curve["train_loss"], color="#4477AA", marker=".", label="training")
    axes.plot(curve["epoch"], curve["val_loss"], color="#EE6677", marker=".", label="validation")
    best = curve["val_loss"].to_numpy().argmin()
    axes.axvline(float(curve["epoch"].iloc[int(best)]), color="#999999", linewidth=1, linestyle=":", label="best epoch")
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="epoch", ylabel="weighted log loss", title=title)
    axes.legend(frameon=False)
    return figure
