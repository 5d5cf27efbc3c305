"""Multipart messages that are read while they arrive (RFC 2046), by python-multipart's parser."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from cspine.server.web.errors import HttpError

_MAX_BOUNDARY_LENGTH: Final = 256
_MAX_HEADERS: Final = 16
_MAX_HEADER_BYTES: Final = 4096


@dataclass
class PartHead:
    """The beginning of a part.

    Attributes
    ----------
    headers : dict of str to str
        Its headers; names in lower case.
    """

    headers: dict[str, str] = field(default_factory=dict)


class PartEnd:
    """The end of a part."""


PartEvent = PartHead | bytes | PartEnd


class _Events:
    """Collects what the parser reports of one piece of the message."""

    def __init__(self, boundary: str) -> None:
        self.events: list[PartEvent] = []
        self.is_complete = False
        self._name, self._value, self._n_bytes = b"", b"", 0
        self._head = PartHead()
        self._parser = MultipartParser(
            boundary.encode("latin-1"),
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> list[PartEvent]:
        """Return what a piece of the message holds."""
        self.events = []
        self._parser.write(chunk)
        return self.events

    def _on_part_begin(self) -> None:
        self._head, self._n_bytes = PartHead(), 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += self._counted(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data[start:end])

    def _counted(self, piece: bytes) -> bytes:
        self._n_bytes += len(piece)
        if self._n_bytes > _MAX_HEADER_BYTES:
            raise HttpError(400, "the headers of a part are too long; shorten them")
        return piece

    def _on_header_end(self) -> None:
        self._head.headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name, self._value = b"", b""
        if len(self._head.headers) > _MAX_HEADERS:
            raise HttpError(400, "a part has too many headers; send fewer")

    def _on_headers_finished(self) -> None:
        self.events.append(self._head)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.events.append(data[start:end])

    def _on_part_end(self) -> None:
        self.events.append(PartEnd())

    def _on_end(self) -> None:
        self.is_complete = True


async def read_parts(chunks: AsyncIterator[bytes], boundary: str) -> AsyncIterator[PartEvent]:
    """Yield the parts of a message while it arrives: head, data in pieces, end.

    Parameters
    ----------
    chunks : async iterator of bytes
        The message.
    boundary : str
        Its boundary, as Content-Type gives it.

    Raises
    ------
    HttpError
        400: the message is malformed, or ends within a part.
    """
    if not 0 < len(boundary) <= _MAX_BOUNDARY_LENGTH or not boundary.isascii():
        raise HttpError(400, "Content-Type has no usable boundary; add one")
    events = _Events(boundary)
    try:
        async for chunk in chunks:
            for event in events.feed(chunk):
                yield event
    except MultipartParseError as error:
        raise HttpError(400, "the multipart message is malformed; see RFC 2046") from error
    if not events.is_complete:
        raise HttpError(400, "the multipart message ends before its last boundary; send it again")
