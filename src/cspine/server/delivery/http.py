"""HTTP requests to destinations: no redirects, no proxies of the environment, no addresses that nobody configured."""

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, SSLError

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.server.delivery.outgoing import DeliveryError
from cspine.server.settings import DestinationSettings, read_secret

MAX_ANSWER_BYTES: Final = 4_194_304
"""Most of an answer that is read."""

_METADATA: Final = frozenset({"169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"})
"""Addresses at which clouds give credentials to whoever asks."""

_SERVER_ERROR, _TOO_MANY, _TIMEOUT = 500, 429, 408
_UNAUTHORIZED, _FORBIDDEN = 401, 403


def is_refused_address(address: str, host: str) -> bool:
    """Return whether a host's name led to an address that no destination has; one that is configured as such may.

    >>> is_refused_address("169.254.169.254", "results.example"), is_refused_address("10.0.0.7", "results.example")
    (True, False)
    >>> is_refused_address("169.254.10.1", "169.254.10.1")
    False
    """
    if address == host.strip("[]"):
        return False
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped is not None:
        number = number.ipv4_mapped
    return str(number) in _METADATA or number.is_link_local or number.is_multicast or number.is_unspecified


@contextmanager
def open_session(destination: DestinationSettings) -> Iterator[requests.Session]:
    """Yield a session with the destination's credentials, which are read anew for each delivery.

    Raises
    ------
    InputError
        A secret cannot be read.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", _Adapter())
        session.mount("https://", _Adapter())
        if destination.token is not None:
            session.headers["Authorization"] = f"Bearer {read_secret(destination.token)}"
        elif destination.username is not None:
            session.auth = (destination.username, read_secret(destination.password) or "")
        session.headers["X-Notice"] = RESEARCH_USE_ONLY
        yield session


def post(
    session: requests.Session,
    destination: DestinationSettings,
    url: str,
    data: Any,  # noqa: ANN401 - bytes, or an iterator of them
    headers: Mapping[str, str],
) -> tuple[int, bytes]:
    """Send a request and return status and body; statuses of failure are for the caller to handle.

    Raises
    ------
    DeliveryError
        The destination cannot be reached, redirects, refuses our credentials or is overloaded.
    """
    return _request(session, destination, "POST", url, data=data, headers=dict(headers))


def get(session: requests.Session, destination: DestinationSettings, url: str) -> tuple[int, bytes]:
    """Ask for JSON and return status and body; raises `DeliveryError` as `post` does."""
    headers = {"Accept": "application/dicom+json, application/json;q=0.9"}
    return _request(session, destination, "GET", url, headers=headers)


def _request(
    session: requests.Session,
    destination: DestinationSettings,
    method: str,
    url: str,
    **options: Any,  # noqa: ANN401
) -> tuple[int, bytes]:
    try:
        with session.request(
            method, url, timeout=destination.timeout_s, allow_redirects=False, stream=True, **options
        ) as answer:
            body = answer.raw.read(MAX_ANSWER_BYTES, decode_content=True)
            status = answer.status_code
    except requests.RequestException as error:
        raise DeliveryError(
            f"the destination cannot be reached ({_kind(error)})", is_unreachable=_is_away(error)
        ) from None  # its text may quote the URL with a token
    except OSError as error:
        raise DeliveryError(f"the connection failed ({type(error).__name__})") from None
    if 300 <= status < 400:
        raise DeliveryError(f"the destination redirects ({status}), which is not followed; set the new URL")
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        raise DeliveryError(f"the destination refuses our credentials ({status}); check token or password")
    if status >= _SERVER_ERROR or status in {_TOO_MANY, _TIMEOUT}:
        raise DeliveryError(
            f"the destination answers {status}", is_unreachable=status != _SERVER_ERROR, is_answered=True
        )
    return status, bytes(body)


def _kind(error: BaseException) -> str:
    if any(isinstance(each, _RefusedAddressError) for each in _causes(error)):
        return "its name leads to a link-local or metadata address"
    return type(error).__name__


def _is_away(error: BaseException) -> bool:
    """Return whether there was no connection, for which no result is the reason."""
    return any(isinstance(each, (NewConnectionError, ConnectTimeoutError, SSLError)) for each in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        reason = getattr(cause, "reason", None)
        cause = reason if isinstance(reason, BaseException) else cause.__cause__ or cause.__context__


class _RefusedAddressError(OSError):
    """A name led to an address that is refused."""


def _checked(connection: socket.socket, host: str) -> socket.socket:
    """Return a connection whose other end may be talked to; nothing has been sent yet.

    The address is looked at where the connection leads, so that a name that changes meanwhile helps nobody.
    """
    address = str(connection.getpeername()[0])
    if is_refused_address(address, host):
        connection.close()
        raise _RefusedAddressError
    return connection


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _SecureConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Connections whose address is checked before anything is sent."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
