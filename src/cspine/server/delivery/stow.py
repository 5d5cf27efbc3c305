"""Results by STOW-RS (PS3.18, 10.5): one request with all objects, each as it is."""

import json
import secrets
from collections.abc import Iterator
from typing import Any, Final

from cspine.server.delivery.http import open_session, post
from cspine.server.delivery.outgoing import DeliveryError, OutgoingObject, OutgoingResult
from cspine.server.settings import DestinationSettings

_CHUNK_BYTES: Final = 1_048_576
_OK, _ACCEPTED, _CONFLICT = 200, 202, 409
_REFERENCED_SEQUENCE, _FAILED_SEQUENCE = "00081199", "00081198"
_INSTANCE_UID, _FAILURE_REASON = "00081155", "00081197"
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
        "Accept": "application/dicom+json",
    }
    with open_session(destination) as session:
        status, answer = post(session, destination, f"{(destination.url or '').rstrip('/')}/studies", body, headers)
    if status not in {_OK, _ACCEPTED, _CONFLICT}:
        raise DeliveryError(f"the destination answers {status}")
    missing = {each.sop_instance_uid for each in objects} - _held(answer)
    if missing:
        raise DeliveryError(f"the destination confirms all but {len(missing)} of {len(objects)} objects ({status})")


def _held(answer: bytes) -> set[str]:
    """Return the UIDs of the objects that the destination says it holds.

    The status is not believed: Orthanc answers 200, and stores nothing, where a part's type has a parameter.
    """
    try:
        response: dict[str, Any] = json.loads(answer)
        stored: list[dict[str, Any]] = response.get(_REFERENCED_SEQUENCE, {}).get("Value", [])
        failed: list[dict[str, Any]] = response.get(_FAILED_SEQUENCE, {}).get("Value", [])
        held = stored + [each for each in failed if each.get(_FAILURE_REASON, {}).get("Value") == [_DUPLICATE]]
        return {str(each[_INSTANCE_UID]["Value"][0]) for each in held}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return set()


class _Body:
    """A multipart body of files, which are read while they are sent."""

    def __init__(self, objects: list[OutgoingObject]) -> None:
        self.boundary = secrets.token_hex(16)
        head = f"--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n"  # Orthanc drops parts with a parameter
        heads = [head, *[f"\r\n{head}"] * (len(objects) - 1)]
        self._parts = [(text.encode(), each.path) for text, each in zip(heads, objects, strict=True)]
        self._end = f"\r\n--{self.boundary}--\r\n".encode()
        self._length = sum(len(head) + path.stat().st_size for head, path in self._parts) + len(self._end)

    def __len__(self) -> int:
        return self._length  # requests then sends a length, and not chunks, which Orthanc refuses

    def __iter__(self) -> Iterator[bytes]:
        for head, path in self._parts:
            yield head
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        yield self._end
