"""Convert the stored values of elements to text and numbers."""

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes

from cspine.core.text import sanitize_text
from cspine.dicom.codec.elements import RawElement

_BINARY: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
MAX_CHARACTERS: Final = 1024
"""Longer text is truncated; DICOM's longest names have 64 characters."""

_MAX_NUMBER_BYTES: Final = 1024
"""Longer values are invalid; ImageOrientationPatient, the longest value read, has six numbers of 16 characters."""

_TEXT: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UC"})
_CHARACTER_SET: Final = "SpecificCharacterSet"


class InvalidValueError(ValueError):
    """A value of the wrong type or number; the message is the tag's keyword."""


class Values:
    """Values of a header by keyword.

    A missing or empty value is None; one of the wrong type or number raises `InvalidValueError`.

    Parameters
    ----------
    values : mapping
        Tag to stored value.
    tags : mapping
        Keyword of each attribute to its tag.
    """

    __slots__ = ("_tags", "_values")

    def __init__(self, values: Mapping[int, RawElement], tags: Mapping[str, int]) -> None:
        self._values = values
        self._tags = tags

    def has(self, keyword: str) -> bool:
        """Return whether a value is present and not empty."""
        raw = self._values.get(self._tags[keyword])
        return raw is not None and bool(raw.value.strip(b" \0"))

    def text(self, keyword: str) -> str | None:
        """Return the value as text; several values stay separated by backslashes."""
        raw = self._values.get(self._tags[keyword])
        if raw is None:
            return None
        return sanitize_text(self._decode(keyword, raw).strip(" \0"), MAX_CHARACTERS) or None

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the value's parts as texts."""
        text = self.text(keyword)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def integer(self, keyword: str) -> int | None:
        """Return the value as an integer, truncated."""
        value = self.number(keyword)
        return None if value is None else int(value)

    def number(self, keyword: str) -> float | None:
        """Return the value's first number."""
        numbers = self._numbers(keyword)
        return numbers[0] if numbers else None

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return the value as exactly `count` numbers."""
        numbers = self._numbers(keyword)
        if numbers and len(numbers) != count:
            raise InvalidValueError(keyword)
        return numbers or None

    def lenient_text(self, keyword: str) -> str | None:
        """Return the value as `text` does; None if it is invalid."""
        try:
            return self.text(keyword)
        except InvalidValueError:
            return None

    def lenient_number(self, keyword: str) -> float | None:
        """Return the value as `number` does; None if it is invalid, such as "3.0 mm"."""
        try:
            return self.number(keyword)
        except InvalidValueError:
            return None

    def lenient_integer(self, keyword: str) -> int | None:
        """Return the value as `integer` does; None if it is invalid."""
        number = self.lenient_number(keyword)
        return None if number is None else int(number)

    def _numbers(self, keyword: str) -> tuple[float, ...]:
        raw = self._values.get(self._tags[keyword])
        if raw is None or not raw.value:
            return ()
        try:
            return _read_numbers(raw)
        except ValueError:
            raise InvalidValueError(keyword) from None

    def _decode(self, keyword: str, raw: RawElement) -> str:
        """Decode text: ASCII, or the file's character set."""
        if raw.vr not in _TEXT:
            raise InvalidValueError(keyword)
        try:
            return raw.value.decode("ascii")
        except UnicodeDecodeError:
            names = self._values.get(self._tags[_CHARACTER_SET])
            declared = names.value.decode("ascii", "replace").strip(" \0").split("\\") if names else []
            return _in_character_set(raw.value, declared)


@lru_cache(maxsize=1024)
def _read_numbers(raw: RawElement) -> tuple[float, ...]:
    """Return a value's numbers, or raise ValueError; cached, since most are equal for all slices of a series."""
    if len(raw.value) > _MAX_NUMBER_BYTES:
        raise ValueError("too long")
    if raw.vr in _TEXT:
        text = raw.value.strip(b" \0")
        numbers = tuple([float(part) for part in text.split(b"\\")]) if text else ()
    else:
        # The dictionary has "US or SS" where the type depends on PixelRepresentation; the caller applies the sign.
        code = _BINARY.get("US" if raw.vr == "US or SS" else raw.vr)
        if code is None or len(raw.value) % struct.calcsize(code):
            raise ValueError(raw.vr)
        count = len(raw.value) // struct.calcsize(code)
        numbers = struct.unpack(("<" if raw.little_endian else ">") + code * count, raw.value)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not finite")
    return numbers


def _in_character_set(value: bytes, declared: list[str]) -> str:
    """Decode as declared or, if that fails, as Latin-1, which maps different bytes to different texts."""
    try:
        return decode_bytes(value, convert_encodings(declared), set())
    except (LookupError, ValueError, AttributeError, TypeError):
        return value.decode("latin-1")
