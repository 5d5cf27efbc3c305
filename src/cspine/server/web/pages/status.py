"""The status page, the check of the configuration, and the description of the API."""

import shutil
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from cspine.server.check import check_server
from cspine.server.database.engine import utc_now
from cspine.server.web.api import actions
from cspine.server.web.api.studies import Id
from cspine.server.web.errors import HttpError
from cspine.server.web.pages.rendering import digest_of, render_page, script, style_sheet
from cspine.server.web.pages.status_query import read_status
from cspine.server.web.security.access import Context, Operator, OperatorForm, Reader

router = APIRouter(include_in_schema=False)

_MAX_AGE_S: Final = 86_400
_METHODS: Final = ("get", "put", "post", "delete")


@router.get("/status")
def show_status(request: Request, context: Context, identity: Operator) -> Response:
    """Return the state of queues, destinations, processes and space, the last errors and drift."""
    with context.database.reading() as session:
        status = read_status(session, context.settings, now=utc_now())
    return render_page(
        request,
        "status.html",
        identity=identity,
        status=status,
        disk=shutil.disk_usage(context.spool.folder),
        settings=context.settings,
        now=utc_now(),
        checks=None,
    )


@router.get("/status/check")
def show_check(request: Request, context: Context, identity: Operator) -> Response:
    """Return whether everything that the settings name can be used."""
    checks = check_server(context.settings, with_ports=False)
    return render_page(request, "check.html", identity=identity, checks=checks)


@router.post("/deliveries/{delivery_id}/retry")
def retry(delivery_id: Id, context: Context, identity: OperatorForm) -> Response:
    """Put a delivery that was given up back into its queue."""
    actions.retry(context, identity, delivery_id)
    return RedirectResponse("/status#errors", 303)


@router.get("/api/docs")
def show_api(request: Request, identity: Reader) -> Response:
    """Return the description of the HTTP interface for people."""
    schema: dict[str, Any] = request.app.openapi()
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "text": operation.get("description", ""),
            "tags": operation.get("tags", []),
            "query": [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"],
        }
        for path, item in schema["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    ]
    tags = dict.fromkeys(tag for operation in operations for tag in operation["tags"])
    return render_page(request, "api.html", identity=identity, operations=operations, tags=list(tags))


@router.get("/static/{name}")
def show_static(name: str) -> Response:
    """Return the style sheet or a script; needs no token."""
    content, kind = (style_sheet(), "text/css") if name == "pages.css" else (script(name), "text/javascript")
    if content is None:
        raise HttpError(404, "there is nothing at this address; check it")
    headers = {"Cache-Control": f"public, max-age={_MAX_AGE_S}", "ETag": f'"{digest_of(content)}"'}
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)
