"""Tables and lines of text from files on a terminal, with nothing that the terminal would interpret."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cspine.cli.application import escape_control_characters, out, say_error

if TYPE_CHECKING:
    from rich.table import Table

    from cspine.core.findings import NotAssessable


def make_table(*headings: str, title: str | None = None) -> "Table":
    """Return an empty table.

    Parameters
    ----------
    *headings : str
        One per column; a column whose heading begins with ``>`` is aligned to the right.
    title : str, optional
        Stands above the table.
    """
    from rich.table import Table

    table = Table(title=title, box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        is_number = heading.startswith(">")
        table.add_column(heading.removeprefix(">"), justify="right" if is_number else "left", overflow="fold")
    return table


def print_table(table: "Table") -> None:
    """Print a table on standard output."""
    out.print(table)


def print_text(label: str, text: str, *, style: str | None = None) -> None:
    """Print a label, which may hold markup, and text from a file, which may not."""
    out.print(f"{label}{escape_control_characters(text)}", style=style, soft_wrap=True)


def print_warnings(warnings: Iterable[str]) -> None:
    """Print one line per warning."""
    for warning in warnings:
        print_text("warning: ", warning, style="yellow")


def print_not_assessable(result: "NotAssessable") -> None:
    """Print why a study is not assessable, and what would help, on standard error."""
    from cspine.core.not_assessable import remedy_of

    say_error(f"not assessable ({result.code}): {result.reason}")
    say_error(f"what would help: {remedy_of(result.code)}")
