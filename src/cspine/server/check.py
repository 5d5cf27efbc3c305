"""The check before a start: whether everything that the settings name can be used."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from cspine.core.errors import CspineError, InputError
from cspine.core.logging import quiet_logger
from cspine.server.database.engine import Database
from cspine.server.database.migrate import REVISION
from cspine.server.settings import LOOPBACK, DestinationSettings, ServerSettings, read_secret
from cspine.server.spool.folders import Spool

_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class Check:
    """One fact of a server's configuration.

    Attributes
    ----------
    name : str
        What was checked.
    is_good : bool
        Whether the server can work with it.
    message : str
        The fact; the remedy, too, where it is not good.
    """

    name: str
    is_good: bool
    message: str


def check_server(settings: ServerSettings, *, with_ports: bool = True) -> list[Check]:
    """Return what a server of these settings would find, without starting it.

    Parameters
    ----------
    settings : ServerSettings
        All settings.
    with_ports : bool
        Whether the ports of the node and the pages are tried; False where the server runs and holds them.
    """
    parts: list[tuple[str, Callable[[ServerSettings], str]]] = [
        ("spool", _check_spool),
        ("database", _check_database),
        ("weights", _check_weights),
    ]
    if with_ports and settings.node.enabled:
        parts.append(("node", lambda each: _check_port(each.node.host, each.node.port)))
    if with_ports and settings.web.enabled:
        parts.append(("web", lambda each: _check_port(each.web.host, each.web.port)))
    if settings.node.tls is not None or settings.web.certificate is not None:
        parts.append(("certificates", _check_certificates))
    if settings.web.viewer_folder is not None:
        parts.append(("viewer", _check_viewer))
    checks = [_run(name, part, settings) for name, part in parts]
    checks += [
        _run(f"destination {each.name}", lambda _, each=each: _check_destination(each), settings)  # type: ignore[misc]
        for each in settings.destinations
    ]
    return [*checks, _exposure(settings)]


def _run(name: str, part: Callable[[ServerSettings], str], settings: ServerSettings) -> Check:
    try:
        return Check(name, is_good=True, message=part(settings))
    except (CspineError, OSError) as error:
        return Check(name, is_good=False, message=str(error))


def _check_spool(settings: ServerSettings) -> str:
    spool = Spool(settings.storage.spool)
    spool.create()
    spool.incoming().unlink()
    free_gb = spool.free_bytes / 1e9
    if free_gb < settings.storage.min_free_gb:
        raise InputError(f"{spool.folder}: {free_gb:.1f} GB are free, which is below min_free_gb; free some space")
    return f"{spool.folder}, {free_gb:.0f} GB free"


def _check_database(settings: ServerSettings) -> str:
    database = Database.open(settings)
    name = database.engine.url.render_as_string(hide_password=True)
    try:
        revision = database.revision()
    except SQLAlchemyError as error:
        raise InputError(f"{name}: cannot be used ({type(error).__name__}); check URL, user and password") from error
    finally:
        database.close()
    if revision is None:
        return f"{name} is empty; its tables are made at the start"
    if revision > REVISION:
        raise InputError(f"{name}: is of a later version of cspine; upgrade cspine")
    if revision < REVISION:
        return f"{name} is of an earlier version, and changed at the start"
    return f"{name} is of this version"


def _check_weights(settings: ServerSettings) -> str:
    from cspine.pipelines.predict import Detector  # noqa: PLC0415 - loads the networks' runtime

    prediction = settings.prediction
    detector = Detector.load(
        *prediction.weights, operating_points=prediction.operating_points, provider=prediction.provider
    )
    identity = detector.classifier.identity
    return f"{identity.name} ({identity.sha256[:12]}), run by {identity.execution_provider}"


def _check_port(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise InputError(f"{host}:{port}: cannot listen ({error.strerror}); choose another port or host") from error
    return f"{host}:{port} is free"


def _check_certificates(settings: ServerSettings) -> str:
    import ssl  # noqa: PLC0415

    pairs = [(settings.web.certificate, settings.web.key)]
    if settings.node.tls is not None:
        pairs.append((settings.node.tls.certificate, settings.node.tls.key))
    for certificate, key in pairs:
        if certificate is None or key is None:
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"{certificate}: is no certificate of {key} ({error}); give a PEM pair") from error
    return "certificates and keys belong together"


def _check_viewer(settings: ServerSettings) -> str:
    folder = settings.web.viewer_folder
    if folder is None or not (folder / "index.html").is_file():
        raise InputError(f"{folder}: holds no index.html; give the folder `dist` of the npm package @ohif/app")
    return str(folder)


def _check_destination(destination: DestinationSettings) -> str:
    from urllib.parse import urlsplit  # noqa: PLC0415

    for reference in (destination.password, destination.token, destination.secret):
        read_secret(reference)
    if destination.kind == "dicom":
        return _check_node(destination)
    url = urlsplit(destination.url or "")
    host = destination.host or url.hostname or ""
    port = destination.port or url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=_TIMEOUT_S).close()
    except OSError as error:
        raise InputError(
            f"{host}:{port}: does not answer ({error.strerror or type(error).__name__}); results will wait for it"
        ) from error
    return f"{host}:{port} answers"


def _check_node(destination: DestinationSettings) -> str:
    """Ask a node by C-ECHO, which shows that it knows our AE title, too."""
    from cspine.server.delivery.c_store import verify  # noqa: PLC0415
    from cspine.server.delivery.outgoing import DeliveryError  # noqa: PLC0415

    node = f"{destination.ae_title} at {destination.host}:{destination.port}"
    try:
        with quiet_logger("pynetdicom", logging.CRITICAL + 1):
            verify(destination.model_copy(update={"timeout_s": _TIMEOUT_S}))
    except DeliveryError as error:
        raise InputError(f"{node}: {error}; results will wait for it") from error
    return f"{node} answers C-ECHO"


def _exposure(settings: ServerSettings) -> Check:
    """Say who can reach the server."""
    facts = []
    if settings.node.enabled:
        is_open = any(peer.ae_title == "*" and peer.address.endswith("/0") for peer in settings.node.allow)
        encryption = "TLS" if settings.node.tls is not None else "no TLS"
        facts.append(f"node on {settings.node.host} ({encryption}, {'anyone' if is_open else 'listed peers'})")
    if settings.web.enabled:
        who = "tokens or proxy" if settings.web.tokens or settings.web.proxy_user_header else "anyone on this machine"
        facts.append(f"pages on {settings.web.host} ({who})")
    is_outside = settings.node.enabled and settings.node.host not in LOOPBACK
    is_good = not (is_outside and any(p.ae_title == "*" and p.address.endswith("/0") for p in settings.node.allow))
    remedy = "" if is_good else "; list the peers under [[node.allow]]"
    return Check("exposure", is_good=is_good, message=f"{', '.join(facts) or 'nothing listens'}{remedy}")
