"""Templates of the pages, and what all of them show."""

import hashlib
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.reports.pages import environment
from cspine.reports.priority import format_minutes
from cspine.server.web.context import context_of
from cspine.server.web.security.identity import Identity

_PACKAGE: Final = "cspine.server.web.pages"

_STATES: Final = {
    "": "receiving",
    "complete": "waiting",
    "running": "running",
    "done": "done",
    "not_assessable": "not assessable",
    "failed": "failed",
    "canceled": "canceled",
}
"""What pages call the states of jobs."""


def render_page(
    request: Request, template: str, *, identity: Identity | None = None, status_code: int = 200, **values: object
) -> HTMLResponse:
    """Return a page; all text is escaped."""
    context = context_of(request)
    html = environment(_PACKAGE).get_template(template).render(
        statement=RESEARCH_USE_ONLY,
        version=__version__,
        identity=identity,
        csrf=identity.csrf if identity is not None else "",
        is_silent=context.settings.storage.silent,
        has_viewer=context.settings.web.viewer_folder is not None,
        style_version=digest_of(style_sheet()),
        format_minutes=format_minutes,
        format_time=format_time,
        format_name=format_name,
        format_date=format_date,
        format_bytes=format_bytes,
        states=_STATES,
        path=request.url.path,
        **values,
    )  # fmt: skip
    return HTMLResponse(html, status_code)


@cache
def style_sheet() -> bytes:
    """Return the style sheet: the one of all reports, and what the pages add."""
    common = environment().get_template("_style.css").render()
    own = resources.files(_PACKAGE).joinpath("static/pages.css").read_text("utf-8")
    return f"{common}\n{own}".encode()


@cache
def script(name: str) -> bytes | None:
    """Return a script of the pages; None where there is none."""
    names = {entry.name for entry in resources.files(_PACKAGE).joinpath("static").iterdir() if entry.is_file()}
    if name not in names or not name.endswith(".js"):
        return None
    return resources.files(_PACKAGE).joinpath("static", name).read_bytes()


def digest_of(content: bytes) -> str:
    """Return the first digits of a file's hash, by which browsers know whether they have it."""
    return hashlib.sha256(content).hexdigest()[:12]


def format_time(time: datetime | None) -> Markup:
    """Return a time in UTC, which a script of the pages shows in the reader's time zone.

    >>> from datetime import UTC
    >>> format_time(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    Markup('<time datetime="2026-01-02T03:04:05Z">2026-01-02 03:04 UTC</time>')
    """
    if time is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(
        time.strftime("%Y-%m-%dT%H:%M:%SZ"), time.strftime("%Y-%m-%d %H:%M UTC")
    )


def format_name(name: str) -> str:
    """Return a patient's name as people write it.

    >>> format_name("Doe^Jane^^Dr."), format_name("Yamada^Tarou=山田^太郎"), format_name("")
    ('Doe, Jane', 'Yamada, Tarou (山田, 太郎)', 'no name')
    """
    groups = [", ".join(part.strip() for part in group.split("^")[:2] if part.strip()) for group in name.split("=")[:2]]
    shown = [group for group in groups if group]
    if not shown:
        return "no name"
    return shown[0] if len(shown) == 1 else f"{shown[0]} ({shown[1]})"


def format_date(date: str) -> str:
    """Return a DICOM date with hyphens; as it is where it is none.

    >>> format_date("20260102"), format_date("yesterday")
    ('2026-01-02', 'yesterday')
    """
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else date


def format_bytes(count: float) -> str:
    """Return a size with a decimal unit.

    >>> format_bytes(1_234_567), format_bytes(12.0)
    ('1.2 MB', '12 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000.0:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000.0
    return f"{count:.1f} TB"
