"""Common style of all figures, and writing them. matplotlib is imported when the first figure is created."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cspine.core.anatomy import COLORS, OVERALL
from cspine.core.files import atomic_path
from cspine.core.logging import quiet_logger

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1b1f24"
"""Color of text, and of the patient among the targets."""

GRAY: Final = "#57606a"
"""Color of annotations."""

_MAX_COLUMNS: Final = 4
_DPI: Final = 150


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure atomically as PNG; raises `DiskFullError` or `OutputError`."""
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=_DPI)


def new_figure(width: float, height: float, *, is_phantom: bool) -> "tuple[Figure, Axes]":
    """Return a figure with a disclaimer, and its axes.

    Parameters
    ----------
    width, height : float
        Size of the figure in inches.
    is_phantom : bool
        Whether the data are phantoms, which the disclaimer then says.
    """
    figure = _empty_figure(width, height)
    add_disclaimer(figure, is_phantom=is_phantom)
    return figure, figure.add_subplot()


def new_panels(count: int, *, is_phantom: bool, width: float = 3.2, height: float = 3.4) -> "tuple[Figure, list[Axes]]":
    """Return a figure with panels, four in a row, and their axes.

    Parameters
    ----------
    count : int
        Number of panels, four in a row.
    is_phantom : bool
        Whether the data are phantoms, which the disclaimer then says.
    width, height : float
        Size of one panel in inches.
    """
    columns = min(count, _MAX_COLUMNS)
    rows = -(-count // columns)
    figure = _empty_figure(width * columns, height * rows)
    add_disclaimer(figure, is_phantom=is_phantom)
    return figure, [figure.add_subplot(rows, columns, number) for number in range(1, count + 1)]


def _empty_figure(width: float, height: float) -> "Figure":
    """Return a figure, without matplotlib's remark where no home can be written and it uses a temporary folder."""
    with quiet_logger("matplotlib", logging.ERROR):
        from matplotlib.figure import Figure

        return Figure(figsize=(width, height), layout="constrained")


def add_disclaimer(figure: "Figure", *, is_phantom: bool) -> None:
    """Put the disclaimer of every output below a figure."""
    text = "Research use only, not a medical device."
    figure.supxlabel(text + (" Phantom data: not clinical accuracy." if is_phantom else ""), fontsize=7, color=GRAY)


def target_color(target: str) -> str:
    """Return the color of a target: that of its level, or `INK`."""
    return next((color for level, color in COLORS.items() if level == target), INK)


def target_label(target: str) -> str:
    """Return the name of a target in figures: its level, or ``patient``."""
    return "patient" if target == OVERALL else target


def add_legend(axes: Any, **options: Any) -> None:  # noqa: ANN401 - matplotlib's axes and options
    """Add a legend where the axes have labeled artists; matplotlib warns where they have none.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Axes whose labeled artists get a legend.
    **options
        As of ``Axes.legend``.
    """
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)
