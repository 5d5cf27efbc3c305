"""The application that answers HTTP: routers, and around them limits, headers and metrics."""

import logging
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.server.database.engine import Database
from cspine.server.settings import ServerSettings
from cspine.server.spool.folders import Spool
from cspine.server.web import viewer
from cspine.server.web.api import operation, studies, uploads
from cspine.server.web.api.metrics import RequestMetrics
from cspine.server.web.context import WebContext, make_context
from cspine.server.web.dicomweb import qido, stow, wado
from cspine.server.web.errors import HttpError, error_response
from cspine.server.web.pages import login, status, study, worklist
from cspine.server.web.pages.rendering import render_page
from cspine.server.web.security.headers import SecurityHeaders
from cspine.server.web.security.limits import RateLimit, RequestLimits

_LOGGER: Final = logging.getLogger(__name__)


def create_app(settings: ServerSettings, database: Database, spool: Spool) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    settings : ServerSettings
        Settings of the server.
    database : Database
        Its records, upgraded to this version.
    spool : Spool
        Its objects and results, created.

    Raises
    ------
    OutputError
        The spool cannot be written.
    """
    context = make_context(settings, database, spool)
    app = FastAPI(
        title="cspine",
        version=__version__,
        description=f"Fractures of the cervical spine in CT. {RESEARCH_USE_ONLY}",
        docs_url=None,  # pages of our own: those of FastAPI load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=_middleware(context),
        generate_unique_id_function=_operation_id,
    )
    app.state.context = context
    for part in (operation, studies, uploads, qido, wado, stow, login, worklist, study, status, viewer):
        app.include_router(part.router)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(SQLAlchemyError, _answer_database_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_failure)
    return app


def _middleware(context: WebContext) -> list[Middleware]:
    """Return what is around the routers, the outermost first."""
    web = context.settings.web
    return [
        Middleware(SecurityHeaders, is_secure=context.authenticator.is_secure),
        Middleware(RequestMetrics, metrics=context.metrics),
        Middleware(
            RequestLimits,
            rate=RateLimit(web.requests_per_minute),
            max_upload_gb=web.max_upload_gb,
            sender_of=context.authenticator.origin_of,
            is_upload=is_upload,
        ),
    ]


def is_upload(method: str, path: str) -> bool:
    """Return whether a request may have a large body.

    >>> is_upload("POST", "/dicom-web/studies"), is_upload("POST", "/api/uploads"), is_upload("POST", "/login")
    (True, True, False)
    """
    return method == "POST" and (path == "/api/uploads" or path.startswith("/dicom-web/studies"))


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0] if route.tags else 'page'}-{route.name}"


def _is_page(request: HTTPConnection) -> bool:
    """Return whether a browser asks for a page, and not a program for data."""
    is_data = request.url.path.startswith(("/api/", "/dicom-web/", "/metrics", "/health", "/ready"))
    return not is_data and "text/html" in request.headers.get("accept", "")


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HttpError):
        status = error.status_code if isinstance(error, HTTPException) else 500
        error = HttpError(status, _SENTENCES.get(status, "the request cannot be answered; see the documentation"))
    if error.status_code == 401 and request.method == "GET" and _is_page(request):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)
    if _is_page(request):
        identity = request.app.state.context.authenticator.identify(request)
        page = render_page(
            request,
            "error.html",
            identity=identity,
            status_code=error.status_code,
            code=error.code,
            message=error.detail,
        )
        page.headers.update(error.headers or {})
        return page
    return error_response(error)


_SENTENCES: Final = {
    400: "the request cannot be read; see the documentation",
    404: "there is nothing at this address; check it",
    405: "the address does not know this method; see the documentation",
}


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """Answer a request with values that do not fit; the values themselves, which may be personal, are not repeated."""
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    where = ".".join(str(part) for part in first.get("loc", ())[1:3])
    sentence = f"{where or 'the request'}: {first.get('msg', 'does not fit')}; see the documentation"
    return await _answer_http_error(request, HttpError(422, sentence[:300]))


async def _answer_database_error(request: Request, error: Exception) -> Response:
    _LOGGER.error("the database failed (%s)", type(error).__name__)
    sentence = "the database does not answer; try again, and see the log where it lasts"
    return await _answer_http_error(request, HttpError(503, sentence, headers={"Retry-After": "5"}))


async def _answer_nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # the client is gone


async def _answer_failure(request: Request, error: Exception) -> Response:
    route = getattr(request.scope.get("route"), "path", "other")
    _LOGGER.error("%s %s failed (%s)", request.method, route, type(error).__name__, exc_info=error)
    return await _answer_http_error(request, HttpError(500, "failed by a mistake of the server; see its log"))
