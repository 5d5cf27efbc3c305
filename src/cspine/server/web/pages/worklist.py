"""The worklist: the most urgent study first."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from cspine.server.database.engine import utc_now
from cspine.server.web.context import WebContext
from cspine.server.web.pages.rendering import digest_of, render_page
from cspine.server.web.pages.worklist_query import PERIODS, VIEWS, WorklistFilter, read_worklist
from cspine.server.web.security.access import Context, Reader
from cspine.server.web.security.identity import Identity

router = APIRouter(include_in_schema=False)

_Text = Annotated[str, Query(max_length=128)]
_Days = Annotated[int, Query(ge=0, le=36_500)]
_PageNumber = Annotated[int, Query(ge=1, le=100_000)]


def _wanted(view: _Text = "unread", days: _Days = 7, q: _Text = "", page: _PageNumber = 1) -> WorklistFilter:
    return WorklistFilter.of(view, days, q, page)


Wanted = Annotated[WorklistFilter, Depends(_wanted)]
"""What the query of an address asks for."""


@router.get("/")
def go_to_worklist() -> Response:
    """Lead to the worklist."""
    return RedirectResponse("/worklist", 307)


@router.get("/worklist")
def show_worklist(
    request: Request,
    context: Context,
    identity: Reader,
    wanted: Wanted,
) -> Response:
    """Return the worklist."""
    return render_page(
        request, "worklist.html", identity=identity, views=VIEWS, periods=PERIODS, **_values(context, wanted)
    )


@router.get("/worklist/rows")
def show_rows(
    request: Request,
    context: Context,
    identity: Reader,
    wanted: Wanted,
) -> Response:
    """Return the rows alone, by which the page keeps itself up to date; 304 where they are the same."""
    response = _render_rows(request, context, identity, wanted)
    tag = f'"{digest_of(bytes(response.body))}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return response


def _render_rows(request: Request, context: WebContext, identity: Identity, wanted: WorklistFilter) -> Response:
    return render_page(request, "_rows.html", identity=identity, **_values(context, wanted))


def _values(context: WebContext, wanted: WorklistFilter) -> dict[str, Any]:
    max_wait_min = context.settings.web.max_wait_min
    with context.database.reading() as session:
        worklist = read_worklist(session, wanted, max_wait_min=max_wait_min, now=utc_now())
    return {"wanted": wanted, "worklist": worklist, "max_wait_min": max_wait_min, "address": _address_of(wanted)}


def _address_of(wanted: WorklistFilter) -> Any:  # noqa: ANN401 - a function for templates
    """Return a function that returns the address of the worklist with other choices."""

    def address(**changes: object) -> str:
        values: dict[str, object] = {"view": wanted.view, "days": wanted.days, "q": wanted.search, "page": 1, **changes}
        return "/worklist?" + urlencode({name: value for name, value in values.items() if value != ""})

    return address
