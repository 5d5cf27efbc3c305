"""Sections as a self-contained HTML page without scripts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.files import write_text
from cspine.plots.figure_style import save_figure
from cspine.reports.evaluation.markdown import PHANTOM_STATEMENT, sections_markdown
from cspine.reports.evaluation.sections import Section
from cspine.reports.pages import data_url, environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sections_page(
    sections: Sequence[Section],
    *,
    title: str,
    figures: Mapping[str, bytes],
    is_phantom: bool,
    template: str = "sections.html",
    variables: Mapping[str, Any] | None = None,
) -> str:
    """Return sections as HTML; all text that comes from files is escaped.

    Parameters
    ----------
    sections : sequence of Section
        The sections, in order.
    title : str
        Heading of the page.
    figures : mapping of str to bytes
        PNG files, keyed by the names that sections give their figures.
    is_phantom : bool
        Whether all studies are phantoms; the page then says so.
    template : str
        ``sections.html``, or a template that extends it.
    variables : mapping of str to object, optional
        Additional variables of the template.
    """
    return (
        environment()
        .get_template(template)
        .render(
            title=title,
            statement=RESEARCH_USE_ONLY,
            phantom_statement=PHANTOM_STATEMENT if is_phantom else "",
            sections=sections,
            figures={name: data_url(data, "png") for name, data in figures.items()},
            version=__version__,
            **(variables or {}),
        )
    )


def write_sections(
    out: Path,
    name: str,
    sections: Sequence[Section],
    figure: "Figure",
    *,
    title: str,
    is_phantom: bool,
    markdown: bool = True,
) -> Path:
    """Write sections with their one figure as ``NAME.html``, ``NAME.png`` and ``NAME.md``; return the HTML page.

    Parameters
    ----------
    out : Path
        Folder into which page, tables and figures are written.
    name : str
        Stem of the file names; the sections refer to the figure as ``NAME.png``.
    sections : sequence of Section
        The sections, in order.
    figure : Figure
        Figure that is embedded in the page.
    title : str
        Heading of the page.
    is_phantom : bool
        Whether all studies are phantoms; the page then says so.
    markdown : bool
        Whether Markdown is written as well.

    Raises
    ------
    DiskFullError, OutputError
        A file cannot be written.
    """
    figure_path, page_path = out / f"{name}.png", out / f"{name}.html"
    save_figure(figure, figure_path)
    if markdown:
        write_text(out / f"{name}.md", sections_markdown(sections, title=title, is_phantom=is_phantom))
    figures = {figure_path.name: figure_path.read_bytes()}
    write_text(page_path, sections_page(sections, title=title, figures=figures, is_phantom=is_phantom))
    return page_path
