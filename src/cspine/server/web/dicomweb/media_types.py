"""What a client accepts (RFC 9110), and the media types of PS3.18."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from cspine.server.web.errors import HttpError

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
JSON: Final = "application/json"
MULTIPART: Final = "multipart/related"
OCTETS: Final = "application/octet-stream"
EXPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"

_ANY: Final = "*/*"
_PART: Final = re.compile(r'(?:[^,;"]|"(?:[^"\\]|\\.)*")+|[,;]')
_MAX_HEADER_LENGTH: Final = 4096


@dataclass(frozen=True)
class MediaRange:
    """One of the types that a client accepts.

    Attributes
    ----------
    name : str
        Such as ``multipart/related``, in lower case.
    parameters : dict of str to str
        Such as ``type`` and ``transfer-syntax``; names in lower case.
    """

    name: str
    parameters: dict[str, str]

    @property
    def quality(self) -> float:
        """How much it is wanted, 0 to 1."""
        try:
            return float(self.parameters.get("q", "1"))
        except ValueError:
            return 0.0

    @property
    def part_type(self) -> str:
        """Type of the parts of a multipart message; that of the message itself otherwise."""
        return self.parameters.get("type", _ANY).lower() if self.name == MULTIPART else self.name

    @property
    def transfer_syntax(self) -> str | None:
        """Transfer syntax, ``*`` for any; None where it is not given."""
        return self.parameters.get("transfer-syntax")


def parse_media_types(header: str) -> list[MediaRange]:
    """Return the types of an Accept or Content-Type header, the most wanted first.

    >>> parse_media_types('multipart/related; type="application/dicom"')[0].parameters
    {'type': 'application/dicom'}
    >>> tuple(each.name for each in parse_media_types("image/png;q=0.5, image/jpeg, */*;q=0"))
    ('image/jpeg', 'image/png')
    """
    ranges = []
    for parts in _split(header[:_MAX_HEADER_LENGTH]):
        name, *pairs = parts
        parameters = {}
        for pair in pairs:
            key, _, value = pair.partition("=")
            parameters[key.strip().lower()] = _unquoted(value.strip())
        ranges.append(MediaRange(name.strip().lower(), parameters))
    return sorted((each for each in ranges if each.quality > 0.0), key=lambda each: -each.quality)


def _split(header: str) -> Iterator[list[str]]:
    parts = [""]
    for piece in [*_PART.findall(header), ","]:
        if piece == ",":
            if parts[0].strip():
                yield parts
            parts = [""]
        elif piece == ";":
            parts.append("")
        else:
            parts[-1] += piece


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def accepted(request: Request) -> list[MediaRange]:
    """Return what a client accepts: by the parameter ``accept`` or the header; anything where it does not say."""
    header = request.query_params.get("accept") or request.headers.get("accept") or _ANY
    return parse_media_types(header) or [MediaRange(_ANY, {})]


def require_json(request: Request) -> None:
    """Check that a client accepts DICOM JSON.

    Raises
    ------
    HttpError
        406: it accepts XML or something else alone.
    """
    for each in accepted(request):
        if each.name in {DICOM_JSON, JSON, _ANY, "application/*"} or each.part_type == DICOM_JSON:
            return
    raise HttpError(406, f"answers are sent as {DICOM_JSON}; accept it")
