"""Learning curves: one row per epoch, as CSV and as a picture."""

from pathlib import Path
from typing import Final

import pandas as pd

from cspine.core.files import write_text
from cspine.plots.dataset_figures import curves_figure
from cspine.plots.figure_style import save_figure

CURVES_FILE: Final = "curves.csv"
FIGURE_FILE: Final = "curves.png"


def write_curves(folder: Path, rows: list[dict[str, float]]) -> None:
    """Write the curve's CSV, atomically, after every epoch.

    Parameters
    ----------
    folder : Path
        The run.
    rows : list of dict
        One per epoch: epoch, losses, seconds, peak memory.
    """
    write_text(folder / CURVES_FILE, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))


def draw_curves(folder: Path, rows: list[dict[str, float]], *, title: str, phantom: bool) -> None:
    """Draw the losses over the epochs as a PNG."""
    save_figure(curves_figure(pd.DataFrame(rows), title=title, phantom=phantom), folder / FIGURE_FILE)
