"""Requests to a DICOMweb archive, by which its instances are read like objects of a store.

`requests` is used and not dicomweb-client, which reads bodies of any length into memory and parses them. An archive is
not trusted: bodies, times and redirects are bounded, and what is not what was asked for is refused. A token comes from
``CSPINE_DICOMWEB_TOKEN``, a password from the netrc file; neither is sent to another host, nor without encryption to
another machine, and neither is in an error or a log.
"""

import json
import os
import re
import threading
import time
from email.message import Message
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

from cspine.core.errors import InputError, SourceError
from cspine.core.extras import require_extra
from cspine.core.storage.store import ObjectInfo

if TYPE_CHECKING:
    import requests

PREFIX: Final = "dicomweb+"
"""Begins the protocol of an archive's URL: ``dicomweb+https``."""

TOKEN_VARIABLE: Final = "CSPINE_DICOMWEB_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable with the bearer token of the archive."""

MAX_INSTANCE_BYTES: Final = 2 * 2**30
"""Longest instance; a multi-frame CT of 2,000 slices has 1 GiB."""

_MARGIN_BYTES: Final = 16 * 2**20
"""What an instance may be longer than twice what its metadata describe: private elements, overlays, an envelope."""

_MAX_JSON_BYTES: Final = 256 * 2**20
"""Longest metadata; those of a series of 2,000 slices have 20 MB."""

_TIMEOUT_S: Final = (10.0, 60.0)
"""Longest time to connect, and between two pieces of a body."""

_MAX_TIME_S: Final = 600.0
"""Longest time of one answer, however it trickles."""

_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a request is repeated that failed by the server's or the connection's fault."""

_MAX_REDIRECTS: Final = 3
_PIECE_BYTES: Final = 2**16
_ACCEPT_INSTANCE: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_HEADER_END: Final = b"\r\n\r\n"
_LOOPBACK: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)


class _RetryError(Exception):
    """An answer whose request may succeed when it is repeated."""


class DicomwebStore:
    """A DICOMweb archive, as a store whose objects are instances.

    Parameters
    ----------
    protocol : str
        ``dicomweb+https`` or ``dicomweb+http``.
    host : str
        Host, with its port.
    """

    def __init__(self, protocol: str, host: str) -> None:
        require_extra("dicomweb")
        self._scheme = protocol.removeprefix(PREFIX)
        self._root = f"{self._scheme}://{host}"
        self._is_private = self._scheme == "https" or _LOOPBACK.fullmatch(host) is not None
        self._lock = threading.Lock()
        self._opened: requests.Session | None = None

    def info(self, name: str) -> ObjectInfo | None:
        """Return that the size of an instance is not known before it is fetched."""
        return ObjectInfo(MAX_INSTANCE_BYTES) if "/instances/" in f"/{name}" else None

    def has_objects_below(self, name: str) -> bool:  # noqa: ARG002 - as of a store
        """Return True: what an archive holds is known by its answers."""
        return True

    def list_folder(self, name: str) -> list[tuple[str, ObjectInfo | None]]:
        """Refuse: an archive is searched by `cspine.dicom.dicomweb`."""
        raise SourceError(f"{self._root}/{name}: is an archive and no folder; only commands that read CT take it")

    def list_below(self, name: str) -> list[tuple[str, ObjectInfo]]:
        """Refuse, as `list_folder`."""
        self.list_folder(name)
        return []

    def write(self, name: str, data: object, *, is_new: bool = False) -> bool:  # noqa: ARG002 - as of a store
        """Refuse: results go to an archive by ``cspine serve``."""
        raise SourceError(f"{self._root}/{name}: is an archive; write to a folder, and send the results from there")

    def remove(self, name: str) -> None:
        """Refuse."""
        self.write(name, b"")

    def read(self, name: str, start: int, stop: int | None, described: ObjectInfo | None = None) -> bytes:
        """Return the file of an instance, by WADO-RS, in the transfer syntax in which the archive holds it.

        Parameters
        ----------
        name : str
            Path of the instance on the host.
        start, stop : int, int or None
            Range of its bytes.
        described : ObjectInfo, optional
            Its size as the metadata describe it, which bounds what is read; `MAX_INSTANCE_BYTES` does in any case.

        Raises
        ------
        SourceError
            The archive does not answer, or not by one DICOM file.
        """
        max_bytes = MAX_INSTANCE_BYTES
        if described is not None:
            max_bytes = min(max_bytes, 2 * described.size + _MARGIN_BYTES)
        kind, body = self._get(name, {}, _ACCEPT_INSTANCE, max_bytes)
        return single_part(kind, body, f"{self._root}/{name}")[start:stop]

    def get_json(self, name: str, query: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Return the answer to a search or a request for metadata, as a list of data sets in DICOM JSON.

        Parameters
        ----------
        name : str
            Path of the resource on the host.
        query : dict of str to str, optional
            Matching keys and other parameters.

        Raises
        ------
        SourceError
            The archive does not answer, or not by DICOM JSON.
        """
        kind, body = self._get(name, query or {}, "application/dicom+json", _MAX_JSON_BYTES)
        if not body:  # 204: nothing matches
            return []
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise SourceError(
                f"{self._root}/{name}: answers {_media_type(kind)} that is no DICOM JSON; check the URL of the "
                "DICOMweb service"
            )
        return found

    def _get(self, name: str, query: dict[str, str], accept: str, max_bytes: int) -> tuple[str, bytes]:
        """Return content type and body; repeat what fails by the server's or the connection's fault."""
        import requests  # noqa: PLC0415 - optional

        url, reason = f"{self._root}/{name}", ""
        for pause_s in (*_PAUSES_S, None):
            try:
                return self._get_once(url, query, accept, max_bytes)
            except _RetryError as error:
                reason = str(error)
            except requests.exceptions.SSLError:
                raise SourceError(
                    f"{url}: its certificate is not trusted; set REQUESTS_CA_BUNDLE to that of your authority"
                ) from None
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                reason = type(error).__name__
            except requests.RequestException as error:
                raise SourceError(f"{url}: cannot be requested ({type(error).__name__}); check the URL") from None
            if pause_s is not None:
                time.sleep(pause_s)
        raise SourceError(
            f"{url}: the archive does not answer ({reason}, {len(_PAUSES_S) + 1} attempts); check the URL and the "
            "network, and run again"
        )

    def _get_once(self, url: str, query: dict[str, str], accept: str, max_bytes: int) -> tuple[str, bytes]:
        deadline = time.monotonic() + _MAX_TIME_S
        address = url
        for _ in range(_MAX_REDIRECTS + 1):
            with self._session().get(
                address,
                params=query if address == url else None,
                headers={"Accept": accept},
                timeout=_TIMEOUT_S,
                stream=True,
                allow_redirects=False,
            ) as answer:
                if answer.is_redirect:
                    address = self._same_host(url, answer)
                    continue
                _check_status(url, answer.status_code)
                return answer.headers.get("Content-Type", ""), _bounded_body(url, answer, max_bytes, deadline)
        raise SourceError(f"{url}: redirects again and again; check the URL of the DICOMweb service")

    def _same_host(self, url: str, answer: "requests.Response") -> str:
        """Return where a redirect leads, unless it leads to another host, which must not see the credentials."""
        target = urljoin(answer.url, answer.headers.get("Location", ""))
        if not target.startswith(f"{self._root}/"):
            raise SourceError(f"{url}: redirects to another host, which is not followed; give that host's URL")
        return target

    def _session(self) -> "requests.Session":
        import requests  # noqa: PLC0415 - optional

        with self._lock:
            if self._opened is None:
                self._opened = requests.Session()
                self._opened.headers["User-Agent"] = "cspine"
                self._opened.mount(self._scheme + "://", requests.adapters.HTTPAdapter(pool_maxsize=32))
                self._opened.auth = self._authorization()
            return self._opened

    def _authorization(self) -> Any:  # noqa: ANN401 - what requests takes
        """Return what adds the credentials to a request; a function, or requests would prefer the netrc file's."""
        import requests  # noqa: PLC0415 - optional

        token = os.environ.get(TOKEN_VARIABLE)
        login = None if token else requests.utils.get_netrc_auth(self._root)
        if (token or login) and not self._is_private:
            raise InputError(
                f"{self._root}: is not encrypted, and a token or password would be read on the way; use "
                f"{PREFIX}https, or remove it from the environment or the netrc file"
            )

        def add(request: "requests.PreparedRequest") -> "requests.PreparedRequest":
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
            elif login:
                requests.auth.HTTPBasicAuth(*login)(request)
            return request

        return add


def _check_status(url: str, status: int) -> None:
    if status in {200, 204, 206}:
        return
    if status == 429 or status >= 500:
        raise _RetryError(f"status {status}")
    if status in {401, 403, 407}:
        raise SourceError(
            f"{url}: the archive refuses access (status {status}); check {TOKEN_VARIABLE} or the netrc file"
        )
    if status in {404, 410}:
        raise SourceError(f"{url}: the archive does not hold it (status {status}); check the URL and the UID")
    if status == 406:
        raise SourceError(f"{url}: the archive does not send DICOM files as they are (status 406); export them instead")
    raise SourceError(f"{url}: the archive refuses the request (status {status}); check the URL")


def _bounded_body(url: str, answer: "requests.Response", max_bytes: int, deadline: float) -> bytes:
    """Read a body as it arrives, as far as the limits allow; `iter_content` would wait until a piece is full."""
    from urllib3.exceptions import DecodeError, HTTPError  # noqa: PLC0415 - optional

    body = bytearray()
    while True:
        try:
            piece = answer.raw.read1(_PIECE_BYTES, decode_content=True)
        except DecodeError:
            raise SourceError(f"{url}: its answer cannot be decompressed; check the DICOMweb service") from None
        except HTTPError as error:
            raise _RetryError(type(error).__name__) from None
        if not piece:
            return bytes(body)
        body += piece
        if len(body) > max_bytes:
            raise SourceError(
                f"{url}: sends more than {max_bytes >> 20} MiB, more than a CT has or its metadata describe; do not "
                "use this archive"
            )
        if time.monotonic() > deadline:
            raise SourceError(f"{url}: is too slow, over {_MAX_TIME_S:.0f} s for one answer; check the network")


def single_part(content_type: str, body: bytes, url: str) -> bytes:
    """Return the only part of a multipart answer, or the body where it is one file.

    Parameters
    ----------
    content_type : str
        The answer's.
    body : bytes
        Its content.
    url : str
        Where it is from, for the error.

    Raises
    ------
    SourceError
        It is something else.
    """
    message = Message()
    message["Content-Type"] = content_type
    kind = message.get_content_type().lower()
    if kind == "application/dicom":
        return body
    boundary = message.get_boundary()
    if kind != "multipart/related" or not boundary:
        raise SourceError(
            f"{url}: answers {_media_type(content_type)} instead of DICOM; check the URL of the DICOMweb service"
        )
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    start = body.find(delimiter)
    content = body.find(_HEADER_END, start)
    if start < 0 or content < 0:
        raise SourceError(f"{url}: answers a multipart message without a part; check the DICOMweb service")
    content += len(_HEADER_END)
    end = body.find(b"\r\n" + delimiter, content)
    if end < 0:
        raise SourceError(f"{url}: its answer is cut off; run again")
    if not body.startswith(b"--", end + 2 + len(delimiter)):
        raise SourceError(f"{url}: answers several files where one was requested; do not use this archive")
    return body[content:end]


def _media_type(content_type: str) -> str:
    """Return a content type as a message may quote it."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind if re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,40}", kind) else "something"
