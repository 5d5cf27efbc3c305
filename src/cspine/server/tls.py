"""TLS contexts of DICOM connections, for both sides."""

import ssl

from cspine.core.errors import InputError
from cspine.server.settings import TlsSettings


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return the context of a node that listens; with an authority, peers have to show a certificate of it.

    Raises
    ------
    InputError
        A file is missing or holds no certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, settings)
    if settings.authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return the context of a connection to a peer, whose certificate is verified.

    With an authority its name is not compared with the host: nodes of DICOM are configured by address, and their
    certificates are the site's own, so that the authority is what is trusted (PS3.15, B.12 leaves the name to the
    site). Without one it is compared, since anybody has a certificate of the public authorities.

    Raises
    ------
    InputError
        A file is missing or holds no certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.authority is None
    _load(context, settings)
    if settings.authority is None:
        context.load_default_certs()
    return context


def _load(context: ssl.SSLContext, settings: TlsSettings) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (settings.certificate, settings.key, settings.authority):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: is not there; correct the path in the settings of TLS")
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.authority is not None:
            context.load_verify_locations(settings.authority)
    except (ssl.SSLError, OSError) as error:
        raise InputError(
            f"{settings.certificate}: certificate, key or authority cannot be used ({type(error).__name__}); give PEM "
            "files that belong together"
        ) from error
