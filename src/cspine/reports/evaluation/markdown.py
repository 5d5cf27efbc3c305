"""A judgement as Markdown that can be read as it is."""

from collections.abc import Sequence
from typing import Final

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.evaluation.evaluate import EvaluationResult
from cspine.reports.evaluation.sections import Section, Table, sections_of

PHANTOM_STATEMENT: Final = (
    "Phantom data: these numbers show that the machinery works and compare methods. They are not clinical accuracy."
)


def evaluation_markdown(judgement: EvaluationResult, *, title: str) -> str:
    """Return the tables with intervals, and what the numbers are not.

    Parameters
    ----------
    judgement : Judgement
        What to show.
    title : str
        What was judged, for the heading; pictures are named, which lie beside the file.
    """
    return sections_markdown(sections_of(judgement), title=title, phantom=judgement.is_phantom)


def sections_markdown(sections: Sequence[Section], *, title: str, phantom: bool) -> str:
    """Return sections as Markdown that says what the numbers are not; figures lie beside the file."""
    lines = [f"# {escaped(title)}", "", f"**{RESEARCH_USE_ONLY}**", ""]
    lines += [f"**{PHANTOM_STATEMENT}**", ""] if phantom else []
    for section in sections:
        lines += section_lines(section)
    return "\n".join(lines)


def section_lines(section: Section) -> list[str]:
    """Return a section's lines of Markdown."""
    lines = [f"## {escaped(section.title)}", ""]
    for text in section.text:
        lines += [escaped(text), ""]
    if section.table is not None:
        lines += [*table_lines(section.table), ""]
    if section.figure:
        lines += [f"![{escaped(section.title)}]({section.figure})", ""]
    return lines


def table_lines(table: Table) -> list[str]:
    """Return a table's lines of Markdown, numbers to the right."""
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    return [f"| {' | '.join(map(escaped, row))} |" for row in (table.header, tuple(rule), *table.rows)]


def escaped(text: str) -> str:
    """Return text on one line, in which nothing is markup: names come from files."""
    plain = " ".join(text.split())
    for character in "\\|<>`[]*":
        plain = plain.replace(character, "\\" + character)
    return plain
