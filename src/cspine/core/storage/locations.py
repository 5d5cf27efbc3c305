"""Locations: a path on the disk, or the URL of an object or a folder of objects in a store.

A URL becomes a `RemotePath`, which is a `pathlib.Path`, so that code that lists, opens, reads and writes paths does so
in a bucket, too.
"""

import hashlib
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cspine.core.errors import InputError
from cspine.core.storage.remote_path import RemotePath

PROTOCOLS: Final = ("s3", "gs", "az", "https")
"""Protocols of stores that are used; ``http`` is for this machine only, ``memory`` for tests."""

ARCHIVE_PROTOCOLS: Final = ("dicomweb+https", "dicomweb+http")
"""Protocols of DICOMweb archives."""

_ALIASES: Final = {"gcs": "gs", "abfs": "az", "abfss": "az", "s3a": "s3"}
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/{1,2}(.*)", re.DOTALL)


def as_path(location: str | Path) -> Path:
    """Return a location as a path; that of a URL lies in a store.

    Parameters
    ----------
    location : str or Path
        A path, or a URL: ``s3://bucket/folder``, ``gs://bucket/folder``, ``az://container/folder``,
        ``https://host/study.zip``, or of a DICOMweb archive ``dicomweb+https://host/dicom-web/studies/UID``.

    Raises
    ------
    InputError
        The URL has another protocol, holds a password or a query, or names no bucket.

    Examples
    --------
    >>> str(as_path("s3://bucket/studies") / "1" / "1.dcm")
    's3://bucket/studies/1/1.dcm'
    >>> as_path("studies/1").name
    '1'
    """
    if isinstance(location, RemotePath):
        return location
    match = _URL.fullmatch(location if isinstance(location, str) else location.as_posix())
    if match is None or len(match[1]) == 1:  # a drive of Windows
        return Path(location)
    protocol = _ALIASES.get(match[1].lower(), match[1].lower())
    if protocol == "file":
        return Path("/" + match[2].lstrip("/"))
    url = f"{protocol}://{match[2]}"
    _check(url)
    return RemotePath(url)


def recorded_name(path: Path) -> str:
    """Return a location as records of a job name it: resolved, and of a search in an archive the hash of its keys.

    Keys of a search may identify a patient, and records are shared.

    >>> recorded_name(Path("/data/rsna"))
    '/data/rsna'
    """
    name, mark, query = str(path.resolve()).partition("?") if is_archive(path) else (str(path.resolve()), "", "")
    return f"{name}?sha256:{hashlib.sha256(query.encode()).hexdigest()}" if mark else name


def is_remote(path: Path) -> bool:
    """Return whether a path lies in a store."""
    return isinstance(path, RemotePath)


def is_archive(path: Path) -> bool:
    """Return whether a path is a DICOMweb archive, or a study in one."""
    return isinstance(path, RemotePath) and path.parts[0].removesuffix(":") in ARCHIVE_PROTOCOLS


def refuse_remote(option: str, *paths: Path | None) -> None:
    """Check that paths lie on the disk, for work that needs random access or a data base there.

    Parameters
    ----------
    option : str
        The option that names them, for the error.
    *paths : Path or None
        The paths.

    Raises
    ------
    InputError
        One lies in a store.
    """
    for path in paths:
        if path is not None and is_remote(path):
            raise InputError(f"{option} {path}: has to be a folder on this machine; copy it to or from the store")


def _check(url: str) -> None:
    """Check the URL of a store; its text is shown by messages only if it holds no password."""
    try:
        parts = urlsplit(url)
        has_secret = parts.username is not None or parts.password is not None
        host = parts.hostname or ""
    except ValueError:
        raise InputError("a URL that was given is not valid; check its host and brackets") from None
    if has_secret:
        raise InputError(
            f"{parts.scheme}://...@{host}: holds a user or a password; give credentials by environment variables"
        )
    if any(part in {".", ".."} for part in parts.path.split("/")):
        raise InputError(f"{parts.scheme}://{host}{parts.path}: has . or .. in it; write the whole URL")
    if parts.scheme in ARCHIVE_PROTOCOLS and host and not parts.fragment:
        return  # its query is a search
    if parts.query or parts.fragment:
        raise InputError(
            f"{parts.scheme}://{host}{parts.path}: has a query, which may be a secret and would be logged; give the "
            "object's own URL, and credentials by environment variables"
        )
    is_local_http = parts.scheme == "http" and _is_loopback(host)
    if parts.scheme not in {*PROTOCOLS, "memory"} and not is_local_http:
        known = ", ".join(f"{name}://" for name in (*PROTOCOLS, ARCHIVE_PROTOCOLS[0]))
        raise InputError(f"{url}: {parts.scheme}:// is not read; use {known}")
    if not host:
        raise InputError(f"{url}: names no bucket or host; write it as {parts.scheme}://bucket/folder")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
