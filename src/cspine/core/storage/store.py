"""Stores of objects, by obstore: one compiled client for S3, Google Cloud Storage, Azure and HTTPS.

Credentials come from the environment, such as ``AWS_ACCESS_KEY_ID`` or ``AWS_ENDPOINT_URL``, or from the machine's
role. None is logged, and errors name the object and the type of the client's error, whose text may hold signed URLs.
"""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from cspine.core.errors import CspineError, OutputError, SourceError
from cspine.core.extras import require_extra

_READ_TIMEOUT: Final = "60s"
"""Longest time without a byte of the answer."""

_TIMEOUT: Final = "6h"
"""Longest time of one request with its body, which on a slow link may be weights or a zip of gigabytes."""

_CONNECT_TIMEOUT: Final = "10s"
_MAX_RETRIES: Final = 5
"""Repetitions of a request that failed by a server's or connection's fault, with growing pauses."""

_RETRY_TIMEOUT: Final = timedelta(seconds=120)

_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object.

    Attributes
    ----------
    size : int
        Bytes.
    modified_s : float
        Time of its last change, in seconds since 1970; 0 where unknown.
    tag : str
        Entity tag, which changes with the content; empty where unknown.
    """

    size: int
    modified_s: float = 0.0
    tag: str = ""


class Store(Protocol):
    """What the objects of a store are read and written by."""

    def info(self, name: str) -> ObjectInfo | None:
        """Return size and time of an object; None where there is none."""

    def has_objects_below(self, name: str) -> bool:
        """Return whether there are objects below a name."""

    def list_folder(self, name: str) -> list[tuple[str, ObjectInfo | None]]:
        """Return the names in a folder; without information those that are folders."""

    def list_below(self, name: str) -> list[tuple[str, ObjectInfo]]:
        """Return the names of all objects below a folder, sorted."""

    def read(self, name: str, start: int, stop: int | None, described: ObjectInfo | None = None) -> bytes:
        """Return a range of an object's bytes; all where `start` is 0 and `stop` None."""

    def write(self, name: str, data: bytes | Path, *, is_new: bool = False) -> bool:
        """Store bytes or a file as an object; return False where it has to be new and is there."""

    def remove(self, name: str) -> None:
        """Remove an object."""


class Bucket:
    """One bucket, or one host.

    Parameters
    ----------
    store : obstore store
        The client.
    has_listing : bool
        Whether objects can be listed; a web server's cannot.
    """

    def __init__(self, store: Any, *, has_listing: bool) -> None:  # noqa: ANN401 - the extra is optional
        self._store, self._has_listing = store, has_listing

    def info(self, name: str) -> ObjectInfo | None:
        """Return size and time of an object; None where there is none."""
        if not name:
            return None
        try:
            return _info(self._store.head(name))
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):
                raise
            return None

    def has_objects_below(self, name: str) -> bool:
        """Return whether there are objects below a name."""
        if not self._has_listing:
            return False
        return any(bool(chunk) for chunk in self._store.list(name or None, chunk_size=1))

    def list_folder(self, name: str) -> list[tuple[str, ObjectInfo | None]]:
        """Return the names in a folder; without information those that are folders."""
        self._check_listing(name)
        found = self._store.list_with_delimiter(name or None)
        folders: dict[str, ObjectInfo | None] = {_last(each): None for each in found["common_prefixes"]}
        files = [(str(each["path"]), _info(each)) for each in found["objects"]]
        return [*folders.items()] + [
            (_last(path), info)
            for path, info in files
            if info.size or (path != name and _last(path) not in folders)  # no marker, see _without_markers
        ]

    def list_below(self, name: str) -> list[tuple[str, ObjectInfo]]:
        """Return the names of all objects below a folder, sorted."""
        self._check_listing(name)
        start = len(name) + 1 if name else 0
        chunks = self._store.list(name or None, chunk_size=1000)
        return _without_markers(sorted((str(each["path"])[start:], _info(each)) for chunk in chunks for each in chunk))

    def read(self, name: str, start: int, stop: int | None, described: ObjectInfo | None = None) -> bytes:  # noqa: ARG002
        """Return a range of an object's bytes; all where `start` is 0 and `stop` None."""
        if stop is not None:
            return bytes(self._store.get_range(name, start=start, end=stop))
        return bytes(self._store.get(name).bytes())[start:]

    def write(self, name: str, data: bytes | Path, *, is_new: bool = False) -> bool:
        """Store bytes or a file as an object; return False where it has to be new and is there."""
        if not is_new:
            self._store.put(name, data)
            return True
        try:
            self._store.put(name, data, mode="create")
        except Exception as error:
            if type(error).__name__ == "AlreadyExistsError":
                return False
            raise
        return True

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._store.delete(name)

    def _check_listing(self, name: str) -> None:
        if not self._has_listing:
            raise SourceError(f"{name}: a web server lists no folders; give the URL of a zip or of one file")


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _without_markers(found: list[tuple[str, ObjectInfo]]) -> list[tuple[str, ObjectInfo]]:
    """Leave out the empty objects by which consoles mark a folder, such as ``x/``, which the client names ``x``."""
    folders = {""}
    for name, _ in found:
        above = name.rpartition("/")[0]
        while above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
    return [(name, info) for name, info in found if info.size or name not in folders]


_LOCK: Final = threading.Lock()


def open_store(protocol: str, bucket: str) -> Store:
    """Return a bucket, or a host; one client of each for the process.

    Parameters
    ----------
    protocol : str
        One of `cspine.core.storage.locations.PROTOCOLS`, ``http`` or ``memory``.
    bucket : str
        Name of the bucket or container, or the host with its port.

    Raises
    ------
    MissingExtraError
        The extra ``remote`` is not installed.
    """
    with _LOCK:
        return _open_store(protocol, bucket)


@lru_cache(maxsize=16)
def _open_store(protocol: str, bucket: str) -> Store:
    if protocol.startswith("dicomweb+"):
        from cspine.core.storage.dicomweb import DicomwebStore  # noqa: PLC0415 - it needs this module

        return DicomwebStore(protocol, bucket)
    require_extra("remote")
    from obstore.store import MemoryStore, from_url  # noqa: PLC0415 - optional

    if protocol == "memory":
        return Bucket(MemoryStore(), has_listing=True)
    is_allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true"}
    is_http = protocol == "http" or (protocol == "s3" and is_allowed)  # http is for this machine alone
    _LOGGER.info("opened a store by %s", protocol)
    store = from_url(
        f"{protocol}://{bucket}",
        client_options={
            "timeout": _TIMEOUT,
            "read_timeout": _READ_TIMEOUT,
            "connect_timeout": _CONNECT_TIMEOUT,
            "allow_http": is_http,
        },
        retry_config={"max_retries": _MAX_RETRIES, "retry_timeout": _RETRY_TIMEOUT},
    )
    return Bucket(store, has_listing=protocol not in {"http", "https"})


def forget_stores() -> None:
    """Open stores anew, after the environment that names endpoints and credentials has changed."""
    _open_store.cache_clear()


def _info(found: Any) -> ObjectInfo:  # noqa: ANN401 - a dictionary of the optional extra
    return ObjectInfo(int(found["size"]), found["last_modified"].timestamp(), str(found.get("e_tag") or ""))


_NO_BUCKET: Final = "NoSuchBucket"
_REMEDIES: Final = {
    "PermissionDeniedError": "access is denied; check the credentials and their permissions",
    "UnauthenticatedError": "the credentials are not accepted; check them",
    "PermissionError": "access is denied; check the credentials and their permissions",
    "InvalidPathError": "an object's name is not valid: it has an empty part (//), . or ..; rename that object",
}
_UNREACHABLE: Final = (
    "the store cannot be used; check the name of the bucket or host, the network, and the credentials and region "
    "in the environment"
)
_HINTS: Final = {
    _NO_BUCKET: "there is no such bucket; check its name, and the endpoint and region in the environment",
    "InvalidAccessKeyId": "the credentials are not accepted; check them",
    "SignatureDoesNotMatch": "the credentials are not accepted; check them",
    "URL scheme is not allowed": "the endpoint is not encrypted; use https, or set AWS_ALLOW_HTTP=true for one that is "
    "reached without leaving your network",
    "kind: Timeout": f"no answer for {_READ_TIMEOUT}; the network or the store is too slow or cannot be reached; "
    "run again",
}


@contextmanager
def storage_errors(url: str, *, writing: bool = False) -> Iterator[None]:
    """Convert the errors of a store in the block into ours; that of a missing object is that of a missing file.

    Parameters
    ----------
    url : str
        The object or folder, for the message.
    writing : bool
        Whether the block writes.

    Raises
    ------
    SourceError, OutputError
        The store cannot be reached, or refuses.
    FileNotFoundError
        There is no such object, where the block reads.
    """
    try:
        yield
    except (CspineError, FileNotFoundError) as error:
        if writing and isinstance(error, FileNotFoundError):
            raise OutputError(f"{url}: {_sentence(error, missing=True)}") from None
        if isinstance(error, FileNotFoundError) and _NO_BUCKET in str(error):
            raise SourceError(f"{url}: {_HINTS[_NO_BUCKET]}") from None
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(2, "No such object", url) from None  # as of the disk, without the client's text
        raise
    except Exception as error:  # noqa: BLE001 - each client raises its own
        kind = OutputError if writing else SourceError
        raise kind(f"{url}: {_sentence(error)}") from None  # the client's text may hold a signature


def _sentence(error: Exception, *, missing: bool = False) -> str:
    text = str(error)
    for hint, sentence in _HINTS.items():
        if hint in text:
            return sentence
    if missing:
        return "there is no such bucket or object; check its name, and the endpoint and region in the environment"
    return _REMEDIES.get(type(error).__name__, f"{_UNREACHABLE} ({type(error).__name__})")
