"""Who sends a request: a token, a session of a browser, the user that a reverse proxy names, or somebody local."""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final, Literal, cast

from starlette.requests import HTTPConnection

from cspine.core.text import sanitize_text
from cspine.server.settings import LOOPBACK, Role, TokenSettings, WebSettings
from cspine.server.web.security.sessions import Sessions

SESSION_COOKIE: Final = "cspine_session"
"""Name of the cookie; over HTTPS with the prefix ``__Host-``, which binds it to the host and to HTTPS."""

_MAX_TOKEN_LENGTH: Final = 512
_MAX_USER_LENGTH: Final = 64
_ALL_ROLES: Final[frozenset[Role]] = frozenset({"reader", "operator"})

IdentityKind = Literal["token", "session", "proxy", "local"]


@dataclass(frozen=True)
class Identity:
    """Who sends a request.

    Attributes
    ----------
    name : str
        Name of the token or user, as the audit log shows it.
    roles : frozenset of str
        What it permits.
    kind : str
        How the sender was recognized.
    csrf : str
        What forms have to send back; empty where browsers do not authenticate by themselves.
    """

    name: str
    roles: frozenset[Role]
    kind: IdentityKind
    csrf: str = ""

    @property
    def is_ambient(self) -> bool:
        """Whether a browser authenticates by itself, so that another site could make it send requests."""
        return self.kind != "token"

    def has(self, role: Role) -> bool:
        """Return whether a role is permitted; operators are readers, too."""
        return role in self.roles or (role == "reader" and "operator" in self.roles)


class Authenticator:
    """Recognizes who sends a request.

    Parameters
    ----------
    settings : WebSettings
        Tokens, and the reverse proxy whose header is believed.
    sessions : Sessions
        Sessions of browsers.
    """

    def __init__(self, settings: WebSettings, sessions: Sessions) -> None:
        self._settings, self._sessions = settings, sessions
        self._proxies = [ipaddress.ip_network(each, strict=False) for each in settings.proxy_addresses]
        self.is_secure = settings.certificate is not None or settings.behind_proxy
        self.cookie_name = f"__Host-{SESSION_COOKIE}" if self.is_secure else SESSION_COOKIE
        self.is_open = settings.host in LOOPBACK and not settings.tokens and settings.proxy_user_header is None

    def identify(self, request: HTTPConnection) -> Identity | None:
        """Return who sends a request; None where nobody is recognized."""
        header = request.headers.get("authorization", "")
        if header:
            scheme, _, token = header.partition(" ")
            holder = self.holder_of(token.strip()) if scheme.lower() == "bearer" else None
            return Identity(holder.name, frozenset(holder.roles), "token") if holder else None
        return self._of_proxy(request) or self._of_session(request) or self._of_loopback(request)

    def holder_of(self, token: str) -> TokenSettings | None:
        """Return the settings of a token; None where it is unknown. All are compared, in constant time."""
        if not token or len(token) > _MAX_TOKEN_LENGTH:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        matching = [each for each in self._settings.tokens if hmac.compare_digest(each.sha256, digest)]
        return matching[0] if matching else None

    def _of_proxy(self, request: HTTPConnection) -> Identity | None:
        header = self._settings.proxy_user_header
        if header is None or not (user := request.headers.get(header)) or not self._is_proxy(request):
            return None
        roles: frozenset[Role] = frozenset({"reader"})
        if self._settings.proxy_roles_header is not None:
            sent = {each.strip() for each in request.headers.get(self._settings.proxy_roles_header, "").split(",")}
            roles = frozenset(cast("Role", each) for each in sent & _ALL_ROLES)
        name = sanitize_text(user, _MAX_USER_LENGTH)
        return Identity(name, roles, "proxy", self._sessions.csrf_of(f"proxy:{name}"))

    def origin_of(self, request: HTTPConnection) -> str:
        """Return the address that limits count by: behind the proxy that of its client, as the proxy tells it."""
        forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        if forwarded and self._settings.behind_proxy and self._is_proxy(request):
            return forwarded[:_MAX_USER_LENGTH]
        return str(client_address(request))

    def _is_proxy(self, request: HTTPConnection) -> bool:
        address = client_address(request)
        return address is not None and any(address in network for network in self._proxies)

    def _of_session(self, request: HTTPConnection) -> Identity | None:
        cookie = request.cookies.get(self.cookie_name)
        if not cookie or (session := self._sessions.open(cookie)) is None:
            return None
        holder = next((each for each in self._settings.tokens if each.name == session.name), None)
        if holder is None or not hmac.compare_digest(holder.sha256[:16], session.token_start):
            return None  # the token was withdrawn or changed
        return Identity(holder.name, frozenset(holder.roles), "session", self._sessions.csrf_of(session.id))

    def _of_loopback(self, request: HTTPConnection) -> Identity | None:
        """Return somebody local, where the settings hold neither tokens nor a proxy and nobody else can connect."""
        address = client_address(request)
        if not self.is_open or address is None or not address.is_loopback:
            return None
        return Identity("local", _ALL_ROLES, "local", self._sessions.csrf_of("local"))


def client_address(request: HTTPConnection) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a request comes from; None where the transport does not say."""
    try:
        address = ipaddress.ip_address(request.client.host.partition("%")[0]) if request.client else None
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
