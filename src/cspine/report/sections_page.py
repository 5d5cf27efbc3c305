"""Sections of text, tables and figures as one HTML page that needs nothing else, not even a script."""

from collections.abc import Mapping, Sequence
from typing import Any

from cspine import __version__
from cspine.anatomy import RESEARCH_USE_ONLY
from cspine.evaluate.report import PHANTOM_STATEMENT
from cspine.evaluate.sections import Section
from cspine.report.pages import environment, inline


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
