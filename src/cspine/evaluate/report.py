"""A judgement as Markdown that can be read as it is."""

from typing import Final

from cspine.anatomy import RESEARCH_USE_ONLY
from cspine.evaluate.judge import Judgement
from cspine.evaluate.sections import Section, Table, sections_of

PHANTOM_STATEMENT: Final = (
    "Phantom data: these numbers show that the machinery works and compare methods. They are not clinical accuracy."
)


def judgement_markdown(judgement: Judgement, *, title: str, figures: bool = True) -> str:
    """Return the tables with intervals, and what the numbers are not.

    Parameters
    ----------
    judgement : Judgement
        What to show.
    title : str
        What was judged, for the heading.
    figures : bool
        Whether pictures are named, which then lie beside the file.
    """
    lines = [f"# {_cell(title)}", "", f"**{RESEARCH_USE_ONLY}**", ""]
    if judgement.is_phantom:
        lines += [f"**{PHANTOM_STATEMENT}**", ""]
    for section in sections_of(judgement):
        lines += section_lines(section, figures=figures)
    return "\n".join(lines)


def section_lines(section: Section, *, figures: bool = True, depth: int = 2) -> list[str]:
    """Return a section's lines of Markdown."""
    lines = [f"{'#' * depth} {_cell(section.title)}", ""]
    for text in section.text:
        lines += [_cell(text), ""]
    if section.table is not None:
        lines += [*table_lines(section.table), ""]
    if section.figure and figures:
        lines += [f"![{_cell(section.title)}]({section.figure})", ""]
    return lines


def table_lines(table: Table) -> list[str]:
    """Return a table's lines of Markdown, numbers to the right."""
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    return [f"| {' | '.join(map(_cell, row))} |" for row in (table.header, tuple(rule), *table.rows)]


def _cell(text: str) -> str:
    """Return text on one line, in which nothing is markup: names come from files."""
    plain = " ".join(text.split())
    for character in "\\|<>`[]":
        plain = plain.replace(character, "\\" + character)
    return plain
