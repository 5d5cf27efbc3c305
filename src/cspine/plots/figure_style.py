"""What every figure begins with, and how it is written."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from cspine.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1b1f24"

_COLUMNS: Final = 4


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, atomically; raises `DiskFullError` or `OutputError`."""
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=150)


def canvas(width: float, height: float, *, phantom: bool) -> "tuple[Figure, Axes]":
    """Return a figure, of so many inches, that says what it is not, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    add_disclaimer(figure, phantom=phantom)
    return figure, figure.add_subplot()


def panels(count: int, *, phantom: bool, width: float = 3.2, height: float = 3.4) -> "tuple[Figure, list[Axes]]":
    """Return a figure of panels, four in a row, each of so many inches, and their axes."""
    from matplotlib.figure import Figure

    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    add_disclaimer(figure, phantom=phantom)
    return figure, [figure.add_subplot(rows, columns, number) for number in range(1, count + 1)]


def add_disclaimer(figure: "Figure", *, phantom: bool) -> None:
    """Put the statement that every output carries under a figure."""
    text = "Research use only, not a medical device."
    figure.supxlabel(text + (" Phantom data: not clinical accuracy." if phantom else ""), fontsize=7, color="#57606a")
