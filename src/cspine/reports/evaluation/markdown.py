"""Sections as Markdown that is legible without rendering."""

from collections.abc import Sequence
from typing import Final

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.evaluation.evaluate import EvaluationResult
from cspine.reports.evaluation.evaluation_sections import evaluation_sections
from cspine.reports.evaluation.sections import Section, Table

PHANTOM_STATEMENT: Final = (
    "Phantom data: these numbers show that the software works and compare methods. They are not clinical accuracy."
)
"""Disclaimer of evaluations on phantoms."""


def evaluation_markdown(result: EvaluationResult, *, title: str) -> str:
    """Return an evaluation as Markdown.

    Parameters
    ----------
    result : EvaluationResult
        Result of the evaluation that is reported.
    title : str
        The heading. Figures are referred to by name and must be written beside the Markdown file.
    """
    return sections_markdown(evaluation_sections(result), title=title, is_phantom=result.is_phantom)


def sections_markdown(sections: Sequence[Section], *, title: str, is_phantom: bool) -> str:
    """Return sections as Markdown, with the disclaimers below the title; figures lie beside the file."""
    lines = [f"# {escape_markdown(title)}", "", f"**{RESEARCH_USE_ONLY}**", ""]
    lines += [f"**{PHANTOM_STATEMENT}**", ""] if is_phantom else []
    for section in sections:
        lines += section_lines(section)
    return "\n".join(lines)


def section_lines(section: Section) -> list[str]:
    """Return the lines of a section."""
    lines = [f"## {escape_markdown(section.title)}", ""]
    for text in section.text:
        lines += [escape_markdown(text), ""]
    if section.table is not None:
        lines += [*table_lines(section.table), ""]
    if section.figure:
        lines += [f"![{escape_markdown(section.title)}]({section.figure})", ""]
    return lines


def table_lines(table: Table) -> list[str]:
    """Return the lines of a table, with all columns but the first aligned to the right."""
    rule = ("---", *["---:"] * (len(table.header) - 1))
    return [f"| {' | '.join(map(escape_markdown, row))} |" for row in (table.header, rule, *table.rows)]


def escape_markdown(text: str) -> str:
    """Return text on one line and without markup, because names come from files."""
    line = " ".join(text.split())
    for character in "\\|<>`[]*":
        line = line.replace(character, "\\" + character)
    return line
