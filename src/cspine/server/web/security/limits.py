"""Limits of requests: how many, how large, how slow, and to which host."""

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import anyio
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cspine.server.web.errors import HttpError, error_response

SMALL_BODY_BYTES: Final = 2**20
"""Largest body of requests that are no uploads."""

_MAX_SENDERS: Final = 4096
_MAX_SILENCE_S: Final = 60.0
"""A body that does not arrive for so long is given up."""

_VIEWER_PATHS: Final = ("/dicom-web/", "/viewer/")
_FRAME_COST: Final = 0.05
"""Part of a request that those of viewers count as, which read a study frame by frame: a thousand in some seconds."""

_GB: Final = 10**9

_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]*|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::[0-9]{0,5})?")
"""Names, IPv4 and IPv6 addresses with or without a port (RFC 3986, section 3.2, as far as hosts have such names)."""


def is_host(text: str) -> bool:
    """Return whether a Host header names a host; it may be empty.

    >>> is_host("cspine.example:8104"), is_host("[::1]"), is_host("[1]"), is_host("a b")
    (True, True, False, False)
    """
    match = _HOST.fullmatch(text)
    if match is None or match["ipv6"] is None:
        return match is not None
    try:
        ipaddress.IPv6Address(match["ipv6"])
    except ValueError:
        return False
    return True


class RateLimit:
    """A token bucket for each sender: as many requests at once as it holds, refilled evenly.

    Parameters
    ----------
    per_minute : int
        Requests of one sender in a minute, all of which, but at least ten, may come at once.

    Examples
    --------
    >>> limit = RateLimit(10)
    >>> [limit.wait_s("somebody", now=0.0) for _ in range(10)] == [0.0] * 10
    True
    >>> limit.wait_s("somebody", now=0.0), limit.wait_s("somebody else", now=0.0), limit.wait_s("somebody", now=6.0)
    (6.0, 0.0, 0.0)
    """

    def __init__(self, per_minute: int) -> None:
        self._per_s, self._size = per_minute / 60.0, max(float(per_minute), 10.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, sender: str, *, cost: float = 1.0, now: float | None = None) -> float:
        """Count a request, or a part of one; return 0, or after how many seconds the sender may try again."""
        now = time.monotonic() if now is None else now
        level, since = self._buckets.pop(sender, (self._size, now))
        level = min(level + (now - since) * self._per_s, self._size)
        is_allowed = level >= cost
        self._buckets[sender] = (level - cost if is_allowed else level, now)
        if len(self._buckets) > _MAX_SENDERS:
            self._buckets.popitem(last=False)  # the one that was silent for longest
        return 0.0 if is_allowed else (cost - level) / self._per_s


class RequestLimits:
    """ASGI middleware that answers what exceeds a limit, before any of it is read or while it arrives.

    Parameters
    ----------
    app : ASGI application
        What answers.
    rate : RateLimit
        Requests of one sender.
    max_upload_gb : float
        Largest upload.
    sender_of : callable
        Returns by which name the requests of a connection are counted.
    is_upload : callable
        Returns whether a method and path are those of an upload.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rate: RateLimit,
        max_upload_gb: float,
        sender_of: Callable[[HTTPConnection], str],
        is_upload: Callable[[str, str], bool],
    ) -> None:
        self._app, self._rate = app, rate
        self._max_upload_bytes = int(max_upload_gb * _GB)
        self._sender_of, self._is_upload = sender_of, is_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        is_frame = scope["method"] == "GET" and scope["path"].startswith(_VIEWER_PATHS)
        wait_s = self._rate.wait_s(self._sender_of(connection), cost=_FRAME_COST if is_frame else 1.0)
        if wait_s:
            headers = {"Retry-After": str(int(wait_s) + 1)}
            error = HttpError(429, "too many requests; try again later", headers=headers)
            await error_response(error)(scope, receive, send)
            return
        if not is_host(connection.headers.get("host", "")):  # addresses are built of it
            await error_response(HttpError(400, "Host is no host name; correct the request"))(scope, receive, send)
            return
        is_upload = self._is_upload(scope["method"], scope["path"])
        body = _Body(receive, self._max_upload_bytes if is_upload else SMALL_BODY_BYTES)
        try:
            body.check_length(connection.headers.get("content-length"))
        except HttpError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, body.receive, send)


class _Body:
    """The body of a request, counted while it arrives."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive, self._max_bytes, self._n_bytes = receive, max_bytes, 0
        self._is_complete = False

    def check_length(self, declared: str | None) -> None:
        """Refuse a body that declares to be too large."""
        if declared is not None and (not declared.isascii() or not declared.isdigit()):
            raise HttpError(400, "Content-Length is no number; correct the request")
        if declared is not None and int(declared[:20]) > self._max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next message; raises HttpError where it makes the body too large, or does not arrive."""
        if self._is_complete:  # what comes next is the end of the connection, which may take long
            return await self._receive()
        try:
            with anyio.fail_after(_MAX_SILENCE_S):
                message = await self._receive()
        except TimeoutError as error:
            raise HttpError(408, "the body did not arrive in time; send it again", headers=_CLOSE) from error
        if message["type"] == "http.request":
            self._n_bytes += len(message.get("body", b""))
            self._is_complete = not message.get("more_body", False)
            if self._n_bytes > self._max_bytes:
                raise self._too_large()
        return message

    def _too_large(self) -> HttpError:
        return HttpError(
            413, f"the body is larger than {self._max_bytes / _GB:g} GB; send less in one request", headers=_CLOSE
        )


_CLOSE: Final = {"Connection": "close"}
"""What is left of the body is not read."""
