"""The process that serves HTTP."""

import logging
import socket
import ssl
import threading
from typing import Final

import uvicorn
from fastapi import FastAPI

from cspine.core.errors import InputError
from cspine.server.database.engine import Database
from cspine.server.processes import Stop
from cspine.server.settings import ServerSettings, WebSettings
from cspine.server.spool.folders import Spool
from cspine.server.web.app import create_app

_MAX_CONNECTIONS: Final = 200
_MAX_HEAD_BYTES: Final = 32_768
_KEEP_ALIVE_S: Final = 15
_GRACE_S: Final = 20
_BACKLOG: Final = 256

_LOGGER: Final = logging.getLogger(__name__)


def run_web(settings: ServerSettings, database: Database, spool: Spool, stop: Stop) -> None:
    """Serve HTTP until the process is asked to stop; requests that have begun are answered.

    Raises
    ------
    InputError
        The certificate cannot be used, or nothing can listen on the port.
    OutputError
        The spool cannot be written.
    """
    web = settings.web
    listener = open_listener(web)
    server = make_server(web, create_app(settings, database, spool))

    def end() -> None:
        stop.wait()
        server.should_exit = True

    threading.Thread(target=end, name="stop", daemon=True).start()
    scheme = "https" if web.certificate is not None else "http"
    _LOGGER.info("HTTP begins at %s://%s:%d", scheme, *listener.getsockname()[:2])
    with listener:
        server.run(sockets=[listener])
    stop.set()


def open_listener(web: WebSettings) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    InputError
        Another program listens there, or the address is not one of this machine.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in web.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((web.host, web.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise InputError(
            f"{web.host}:{web.port}: cannot listen ({error.strerror}); choose another port or host"
        ) from error
    return listener


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
    _forward_log()
    return uvicorn.Server(config)


class _ForwardedLog(logging.Handler):
    """Forwards errors of uvicorn to our log; of an exception its type alone, since its text may name people."""

    def emit(self, record: logging.LogRecord) -> None:
        """Forward a record."""
        kind = record.exc_info[0] if record.exc_info else None
        _LOGGER.log(record.levelno, "uvicorn: %s", kind.__name__ if kind is not None else record.getMessage())


def _forward_log() -> None:
    logger = logging.getLogger("uvicorn")
    logger.propagate = False
    if not any(isinstance(handler, _ForwardedLog) for handler in logger.handlers):
        logger.addHandler(_ForwardedLog(logging.ERROR))
    parser = logging.getLogger("python_multipart")  # tells every malformed message, which anyone can send
    parser.propagate = False
    parser.addHandler(logging.NullHandler())
