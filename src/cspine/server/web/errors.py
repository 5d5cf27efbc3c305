"""Errors of the HTTP interface: one form of body for programs, and the same sentences for people."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.UNAUTHORIZED: "not-authenticated",
    HTTPStatus.FORBIDDEN: "not-permitted",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.NOT_ACCEPTABLE: "not-acceptable",
    HTTPStatus.REQUEST_TIMEOUT: "timeout",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.GONE: "removed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported-media-type",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid",
    HTTPStatus.TOO_MANY_REQUESTS: "too-many-requests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "failed",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
    HTTPStatus.INSUFFICIENT_STORAGE: "no-space",
}
"""Code for programs of each status."""


class HttpError(HTTPException):
    """A request that is answered by an error.

    Parameters
    ----------
    status : int
        Status of the response.
    message : str
        Fact and remedy in one sentence, without names of patients and paths.
    code : str, optional
        Fixed code for programs; that of the status where omitted.
    headers : mapping, optional
        Headers of the response.
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code or code_of(status)


def code_of(status: int) -> str:
    """Return the code for programs of a status.

    >>> code_of(404), code_of(418)
    ('not-found', 'http-418')
    """
    return next((code for each, code in _CODES.items() if each == status), f"http-{status}")


def error_body(error: HttpError) -> dict[str, Any]:
    """Return the body of an error: ``{"error": {"code", "message"}}``."""
    return {"error": {"code": error.code, "message": error.detail}}


def error_response(error: HttpError) -> JSONResponse:
    """Return an error as a response for programs."""
    return JSONResponse(error_body(error), status_code=error.status_code, headers=error.headers)
