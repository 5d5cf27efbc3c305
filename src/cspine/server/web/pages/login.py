"""Log-in by a token, and log-out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from cspine.server.web.context import WebContext
from cspine.server.web.errors import HttpError
from cspine.server.web.pages.rendering import render_page
from cspine.server.web.security.access import Context, FormSender, require_own_site
from cspine.server.web.security.sessions import SESSION_HOURS

router = APIRouter(include_in_schema=False)

_HOME = "/worklist"


@router.get("/login")
def show_login(request: Request, context: Context, next: str = _HOME) -> Response:  # noqa: A002 - name of the parameter
    """Return the page that asks for a token; who is recognized already goes on."""
    if context.authenticator.identify(request) is not None:
        return RedirectResponse(_safe_target(next), 303)
    return render_page(request, "login.html", target=_safe_target(next), problem="")


@router.post("/login")
def log_in(
    request: Request,
    context: Context,
    token: Annotated[str, Form(max_length=512)],
    next: Annotated[str, Form(max_length=2000)] = _HOME,  # noqa: A002
) -> Response:
    """Begin a session of a token's holder."""
    require_own_site(request)
    address = context.authenticator.origin_of(request)
    if wait_s := context.logins.wait_s(address):
        raise HttpError(429, "too many attempts; try again in a minute", headers={"Retry-After": str(int(wait_s) + 1)})
    holder = context.authenticator.holder_of(token.strip())
    if holder is None:
        context.audit.record(address, "login.refused")
        problem = "This token is not known. Ask who runs the server."
        return render_page(request, "login.html", status_code=401, target=_safe_target(next), problem=problem)
    context.audit.record(holder.name, "login")
    response = RedirectResponse(_safe_target(next), 303)
    _set_cookie(response, context, context.sessions.make(holder.name, holder.sha256), SESSION_HOURS * 3600)
    return response


@router.post("/logout")
def log_out(context: Context, identity: FormSender) -> Response:
    """End the session."""
    context.audit.record(identity.name, "logout")
    response = RedirectResponse("/login", 303)
    _set_cookie(response, context, "", 0)
    return response


def _set_cookie(response: Response, context: WebContext, value: str, max_age_s: int) -> None:
    response.set_cookie(
        context.authenticator.cookie_name,
        value,
        max_age=max_age_s,
        path="/",
        secure=context.authenticator.is_secure,
        httponly=True,
        samesite="strict",
    )


def _safe_target(target: str) -> str:
    r"""Return where to go after the log-in: a path of ours alone.

    >>> _safe_target("/studies/1?x=2"), _safe_target("//elsewhere.example"), _safe_target("/\\elsewhere")
    ('/studies/1?x=2', '/worklist', '/worklist')
    """
    is_ours = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if is_ours else _HOME
