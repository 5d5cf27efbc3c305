"""Sections of a report, independent of its format: headings, sentences, tables, and names of figures."""

import math
from dataclasses import dataclass
from typing import Final

from cspine.metrics.bootstrap import Interval

Row = tuple[str, ...]

NOT_AVAILABLE: Final = "-"
"""Table cell of a value that cannot be computed."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    header : tuple of str
        Names of the columns.
    rows : tuple of tuple of str
        The cells; all columns but the first are aligned as numbers.
    """

    header: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes
    ----------
    title : str
        Heading of the section.
    text : tuple of str
        Paragraphs above the table.
    table : Table or None
        The table below the paragraphs.
    figure : str or None
        File name of the figure below the table.
    """

    title: str
    text: tuple[str, ...] = ()
    table: Table | None = None
    figure: str | None = None


def format_interval(interval: Interval, digits: int = 3, *, sign: str = "") -> str:
    """Return a value with its interval.

    Parameters
    ----------
    interval : Interval
        A value with its lower and upper bound; NaN if they cannot be computed.
    digits : int
        Number of decimal places.
    sign : str
        ``"+"`` to show the sign of positive values as well.

    >>> format_interval(Interval(0.5, 0.25, 0.75), 2), format_interval(Interval(float("nan"), 0.0, 0.0))
    ('0.50 (0.25 to 0.75)', '-')
    """
    if math.isnan(interval.value):
        return NOT_AVAILABLE
    form = f"{sign}.{digits}f"
    if math.isnan(interval.low):
        return f"{interval.value:{form}}"
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def format_number(value: float, digits: int = 3) -> str:
    """Return a value without interval.

    >>> format_number(0.12345), format_number(float("nan"))
    ('0.123', '-')
    """
    return NOT_AVAILABLE if math.isnan(value) else f"{value:.{digits}f}"
