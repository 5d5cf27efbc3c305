"""Learning curves: one row per epoch, as CSV and as a figure."""

from pathlib import Path
from typing import Final

import pandas as pd

from cspine.core.files import write_text
from cspine.plots.figure_style import save_figure
from cspine.plots.training_figures import learning_curves_figure

CURVES_FILE: Final = "curves.csv"
FIGURE_FILE: Final = "curves.png"


def write_curves(folder: Path, rows: list[dict[str, float]]) -> None:
    """Write the rows atomically to `CURVES_FILE`.

    Parameters
    ----------
    folder : Path
        Folder of the run, with its checkpoint and learning curves.
    rows : list of dict
        One per epoch: its number from 1, losses, metrics on the validation set, seconds and peak memory.
    """
    write_text(folder / CURVES_FILE, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def draw_curves(folder: Path, rows: list[dict[str, float]], *, title: str, is_phantom: bool) -> None:
    """Draw training and validation loss over the epochs to `FIGURE_FILE`.

    Parameters
    ----------
    folder : Path
        Folder of the run, with its checkpoint and learning curves.
    rows : list of dict
        One row per epoch, as in `write_curves`.
    title : str
        Title of the figure.
    is_phantom : bool
        Whether all training data are phantoms; the figure then says so.
    """
    save_figure(learning_curves_figure(pd.DataFrame(rows), title=title, is_phantom=is_phantom), folder / FIGURE_FILE)
