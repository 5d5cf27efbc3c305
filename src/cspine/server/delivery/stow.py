"""Results by STOW-RS (PS3.18, 10.5): one request with all objects, each in its own transfer syntax."""

import json
import secrets
from collections.abc import Iterator
from typing import Any, Final

from cspine.server.delivery.http import open_session, post
from cspine.server.delivery.outgoing import DeliveryError, OutgoingObject, OutgoingResult
from cspine.server.settings import DestinationSettings

_CHUNK_BYTES: Final = 1_048_576
_OK, _ACCEPTED, _CONFLICT = 200, 202, 409
_FAILED_SEQUENCE, _FAILURE_REASON = "00081198", "00081197"
_DUPLICATE: Final = 0x0111
"""Failure reason of an object that is held already (PS3.7, C.5.6): what a repeat should find."""


def send_by_stow(destination: DestinationSettings, result: OutgoingResult) -> None:
    """Send the objects of a result in one request.

    Raises
    ------
    DeliveryError
        The destination cannot be reached, or does not store every object.
    """
    objects = result.objects(reports_only=destination.objects == "sr")
    if not objects:
        raise DeliveryError("the result holds no DICOM object", is_permanent=True)
    result.keep_lease()
    body = _Body(objects)
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={body.boundary}',
        "Content-Length": str(body.length),
        "Accept": "application/dicom+json",
    }
    with open_session(destination) as session:
        status, answer = post(session, destination, f"{(destination.url or '').rstrip('/')}/studies", body, headers)
    if status == _OK or (status in {_ACCEPTED, _CONFLICT} and _are_all_duplicates(answer)):
        return
    raise DeliveryError(f"the destination does not store every object ({status})")


def _are_all_duplicates(answer: bytes) -> bool:
    """Return whether every object that failed did so because it is there already."""
    try:
        failed: list[dict[str, Any]] = json.loads(answer)[_FAILED_SEQUENCE]["Value"]
        return all(each[_FAILURE_REASON]["Value"] == [_DUPLICATE] for each in failed)
    except (ValueError, KeyError, TypeError, IndexError):
        return False


class _Body:
    """A multipart body of files, which are read while they are sent."""

    def __init__(self, objects: list[OutgoingObject]) -> None:
        self.boundary = secrets.token_hex(16)
        self._parts = [(self._head(each), each.path) for each in objects]
        self._end = f"\r\n--{self.boundary}--\r\n".encode()
        self.length = sum(len(head) + path.stat().st_size for head, path in self._parts) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        for head, path in self._parts:
            yield head
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        yield self._end

    def _head(self, each: OutgoingObject) -> bytes:
        kind = f"application/dicom; transfer-syntax={each.transfer_syntax_uid}"
        return f"\r\n--{self.boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
