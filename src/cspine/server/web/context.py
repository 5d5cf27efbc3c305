"""What every handler of a request uses."""

from dataclasses import dataclass
from typing import Final, cast

from starlette.requests import HTTPConnection

from cspine.server.database.engine import Database
from cspine.server.settings import ServerSettings
from cspine.server.spool.folders import Spool
from cspine.server.web.api.metrics import WebMetrics
from cspine.server.web.dicomweb.contents import ContentsCache
from cspine.server.web.security.audit import AuditLog
from cspine.server.web.security.identity import Authenticator
from cspine.server.web.security.limits import RateLimit
from cspine.server.web.security.sessions import Sessions, read_session_key

_LOGINS_PER_MINUTE: Final = 10


@dataclass(frozen=True)
class WebContext:
    """The parts of the server that handlers use.

    Attributes
    ----------
    settings : ServerSettings
        Settings of the server.
    database : Database
        Its records.
    spool : Spool
        Objects and results.
    sessions : Sessions
        Sessions of browsers.
    authenticator : Authenticator
        Recognizes who sends a request.
    audit : AuditLog
        Who did what.
    metrics : WebMetrics
        Metrics for Prometheus.
    contents : ContentsCache
        What the studies that were looked at last hold.
    logins : RateLimit
        Attempts to log in, by address.
    """

    settings: ServerSettings
    database: Database
    spool: Spool
    sessions: Sessions
    authenticator: Authenticator
    audit: AuditLog
    metrics: WebMetrics
    contents: ContentsCache
    logins: RateLimit


def make_context(settings: ServerSettings, database: Database, spool: Spool) -> WebContext:
    """Return the context of an application.

    Raises
    ------
    OutputError
        The spool cannot be written.
    """
    sessions = Sessions(read_session_key(spool.folder))
    return WebContext(
        settings=settings,
        database=database,
        spool=spool,
        sessions=sessions,
        authenticator=Authenticator(settings.web, sessions),
        audit=AuditLog(database),
        metrics=WebMetrics(database, spool),
        contents=ContentsCache(spool),
        logins=RateLimit(_LOGINS_PER_MINUTE),
    )


def context_of(request: HTTPConnection) -> WebContext:
    """Return the context of the application that answers a request."""
    return cast("WebContext", request.app.state.context)
