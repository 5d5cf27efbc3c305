"""The process that serves HTTP."""

import logging
import ssl
from typing import Final

import uvicorn
from fastapi import FastAPI

from cspine.core.errors import InputError
from cspine.server.database.engine import Database
from cspine.server.settings import ServerSettings, WebSettings
from cspine.server.spool.folders import Spool
from cspine.server.web.app import create_app

_MAX_CONNECTIONS: Final = 200
_MAX_HEAD_BYTES: Final = 32_768
_KEEP_ALIVE_S: Final = 15
_GRACE_S: Final = 20

_LOGGER: Final = logging.getLogger(__name__)


def run_web(settings: ServerSettings, database: Database, spool: Spool) -> None:
    """Serve HTTP until SIGTERM or SIGINT; requests that have begun are answered.

    Raises
    ------
    InputError
        The certificate cannot be used.
    OutputError
        The spool cannot be written.
    """
    server = make_server(settings.web, create_app(settings, database, spool))
    scheme = "https" if settings.web.certificate is not None else "http"
    _LOGGER.info("HTTP begins at %s://%s:%d", scheme, settings.web.host, settings.web.port)
    server.run()
    _LOGGER.info("HTTP has ended")


def make_server(web: WebSettings, app: FastAPI) -> uvicorn.Server:
    """Return the server of an application, which does not run yet.

    Raises
    ------
    InputError
        The certificate cannot be used.
    """
    config = uvicorn.Config(
        app,
        host=web.host,
        port=web.port,
        ssl_certfile=web.certificate,
        ssl_keyfile=web.key,
        log_config=None,
        access_log=False,  # addresses may hold names that somebody searched for
        server_header=False,
        proxy_headers=False,  # `security.identity` believes the proxy alone
        limit_concurrency=_MAX_CONNECTIONS,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        http="h11",
        ws="none",
        lifespan="off",
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{web.certificate}: certificate or key cannot be used ({error}); check both") from error
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return uvicorn.Server(config)
