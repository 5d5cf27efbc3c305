"""What a handler needs of the sender: a role, and that no other site sends the request."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Form, Request

from cspine.server.settings import LOOPBACK, Role
from cspine.server.web.context import WebContext, context_of
from cspine.server.web.errors import HttpError
from cspine.server.web.security.identity import Identity


async def get_context(request: Request) -> WebContext:
    """Return the parts of the server; without a thread of its own, as all of this module."""
    return context_of(request)


Context = Annotated[WebContext, Depends(get_context)]
"""The parts of the server."""

_OWN_SITES: Final = {"same-origin", "none"}
"""Values of Sec-Fetch-Site: from our pages, or typed by the user."""


async def identify(request: Request) -> Identity:
    """Return who sends a request.

    Raises
    ------
    HttpError
        401: nobody is recognized. 403: the page of another site asks, by a name that leads to this machine.
    """
    context = context_of(request)
    identity = context.authenticator.identify(request)
    if identity is None:
        raise HttpError(
            401,
            "not authenticated; send a token as Authorization: Bearer, or log in",
            headers={"WWW-Authenticate": 'Bearer realm="cspine"'},
        )
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if identity.kind == "local" and host not in LOOPBACK:  # DNS rebinding
        raise HttpError(403, "without tokens the server is reached as localhost alone; add [[web.tokens]]")
    return identity


def _require(identity: Identity, role: Role) -> Identity:
    if not identity.has(role):
        raise HttpError(403, f"the role {role} is missing; ask who runs the server")
    return identity


async def require_reader(identity: Annotated[Identity, Depends(identify)]) -> Identity:
    """Return the sender, who is a reader."""
    return _require(identity, "reader")


async def require_operator(identity: Annotated[Identity, Depends(identify)]) -> Identity:
    """Return the sender, who is an operator."""
    return _require(identity, "operator")


async def require_origin(request: Request, identity: Annotated[Identity, Depends(identify)]) -> Identity:
    """Return the sender of an upload; browsers tell where it comes from, and other programs do not.

    Raises
    ------
    HttpError
        403: the page of another site sends the request.
    """
    if identity.is_ambient:
        require_own_site(request)
    return _require(identity, "reader")


def require_own_site(request: Request) -> None:
    """Check that no page of another site sends a request; programs that are no browsers say nothing of it.

    Browsers tell by Sec-Fetch-Site, which no page can set. Older ones tell by Origin, which is ``null`` of pages that
    send no referrer.

    Raises
    ------
    HttpError
        403: the page of another site sends the request.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_foreign = site not in _OWN_SITES
    else:
        is_foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if is_foreign:
        raise HttpError(403, "the request comes from another site; open the page again")


def _check_csrf(request: Request, identity: Identity, sent: str) -> None:
    if identity.is_ambient and not context_of(request).sessions.is_csrf(identity.csrf, sent):
        raise HttpError(403, "the page is too old or of another user; load it again")


async def require_change(request: Request, identity: Annotated[Identity, Depends(require_origin)]) -> Identity:
    """Return the sender of a change by a program, or by a script of our pages (header ``X-CSRF-Token``)."""
    _check_csrf(request, identity, request.headers.get("x-csrf-token", ""))
    return identity


async def require_operator_change(identity: Annotated[Identity, Depends(require_change)]) -> Identity:
    """Return the sender of a change, who is an operator."""
    return _require(identity, "operator")


async def require_form(
    request: Request, identity: Annotated[Identity, Depends(require_origin)], csrf: Annotated[str, Form()] = ""
) -> Identity:
    """Return the sender of a form of our pages."""
    _check_csrf(request, identity, csrf)
    return identity


async def require_operator_form(identity: Annotated[Identity, Depends(require_form)]) -> Identity:
    """Return the sender of a form, who is an operator."""
    return _require(identity, "operator")


Reader = Annotated[Identity, Depends(require_reader)]
Operator = Annotated[Identity, Depends(require_operator)]
Uploader = Annotated[Identity, Depends(require_origin)]
Change = Annotated[Identity, Depends(require_change)]
OperatorChange = Annotated[Identity, Depends(require_operator_change)]
FormSender = Annotated[Identity, Depends(require_form)]
OperatorForm = Annotated[Identity, Depends(require_operator_form)]
