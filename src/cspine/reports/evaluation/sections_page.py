"""Sections of text, tables and figures as one HTML page that needs nothing else, not even a script."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import write_text
from cspine.plots.figure_style import save_figure
from cspine.reports.evaluation.markdown import PHANTOM_STATEMENT, sections_markdown
from cspine.reports.evaluation.sections import Section
from cspine.reports.pages import environment, inline

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sections_page(
    sections: Sequence[Section],
    *,
    title: str,
    figures: Mapping[str, bytes],
    phantom: bool,
    template: str = "sections.html",
    more: Mapping[str, Any] | None = None,
) -> str:
    """Return sections as HTML; everything that comes from files is escaped.

    Parameters
    ----------
    sections : sequence of Section
        In their order.
    title : str
        Of the page.
    figures : mapping of str to bytes
        PNG, by the names that sections give their figures.
    phantom : bool
        Whether no patient is among the studies, which is then said.
    template : str
        One that extends ``sections.html``, and what it needs more.
    """
    shown = {name: inline(data, "png") for name, data in figures.items()}
    return (
        environment()
        .get_template(template)
        .render(
            title=title,
            statement=RESEARCH_USE_ONLY,
            phantom=PHANTOM_STATEMENT if phantom else "",
            sections=sections,
            figures=shown,
            version=__version__,
            **(more or {}),
        )
    )


def write_sections(
    out: Path,
    name: str,
    sections: Sequence[Section],
    figure: "Figure",
    *,
    title: str,
    phantom: bool,
    markdown: bool = True,
) -> Path:
    """Write sections with their one figure as ``NAME.html``, ``NAME.png`` and ``NAME.md``; return the page.

    Parameters
    ----------
    out : Path
        The folder.
    name : str
        Of the files; sections name the figure so, too.
    sections : sequence of Section
        In their order.
    figure : Figure
        Of matplotlib.
    title, phantom
        As of `sections_page`.
    markdown : bool
        Whether Markdown is written.

    Raises
    ------
    DiskFullError, OutputError
    """
    picture, page = out / f"{name}.png", out / f"{name}.html"
    save_figure(figure, picture)
    if markdown:
        write_text(out / f"{name}.md", sections_markdown(sections, title=title, phantom=phantom))
    figures = {picture.name: picture.read_bytes()}
    write_text(page, sections_page(sections, title=title, figures=figures, phantom=phantom))
    return page
