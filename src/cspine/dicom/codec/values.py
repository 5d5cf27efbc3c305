"""Elements' bytes to text and numbers."""

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes

from cspine.core.text import sanitize_text
from cspine.dicom.codec.elements import Raw

_BINARY: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
MOST_CHARACTERS: Final = 1024
"""Longer text is cut; DICOM's longest names have 64."""

_MOST_NUMBER_BYTES: Final = 1024
"""The longest of the values read, ImageOrientationPatient, has six numbers of 16 characters."""

_TEXT: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UC"})
_CHARACTER_SET: Final = "SpecificCharacterSet"


class OddValueError(ValueError):
    """A value that is not what its tag promises; the message is the tag's keyword."""


class Values:
    """A header's values by keyword; None where missing or empty, `OddValueError` where not what the tag promises."""

    __slots__ = ("_tags", "_values")

    def __init__(self, values: Mapping[int, Raw], tags: Mapping[str, int]) -> None:
        self._values = values
        self._tags = tags

    def has(self, keyword: str) -> bool:
        """Tell whether a value is there that is not empty."""
        raw = self._values.get(self._tags[keyword])
        return raw is not None and bool(raw.value.strip(b" \0"))

    def text(self, keyword: str) -> str | None:
        """Return the value as text, its parts joined as they stand."""
        raw = self._values.get(self._tags[keyword])
        if raw is None:
            return None
        return sanitize_text(self._decode(keyword, raw).strip(" \0"), MOST_CHARACTERS) or None

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the value's parts."""
        text = self.text(keyword)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def integer(self, keyword: str) -> int | None:
        """Return the value as an integer; a fraction is cut off."""
        value = self.number(keyword)
        return None if value is None else int(value)

    def number(self, keyword: str) -> float | None:
        """Return the value's first number."""
        numbers = self._numbers(keyword)
        return numbers[0] if numbers else None

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return the value's numbers, of which there must be `count`."""
        numbers = self._numbers(keyword)
        if numbers and len(numbers) != count:
            raise OddValueError(keyword)
        return numbers or None

    def _numbers(self, keyword: str) -> tuple[float, ...]:
        raw = self._values.get(self._tags[keyword])
        if raw is None or not raw.value:
            return ()
        try:
            return _read_numbers(raw)
        except ValueError:
            raise OddValueError(keyword) from None

    def _decode(self, keyword: str, raw: Raw) -> str:
        """Decode text, in the file's character set where it is not plain."""
        if raw.vr not in _TEXT:
            raise OddValueError(keyword)
        try:
            return raw.value.decode("ascii")
        except UnicodeDecodeError:
            names = self._values.get(self._tags[_CHARACTER_SET])
            declared = names.value.decode("ascii", "replace").strip(" \0").split("\\") if names else []
            return _in_character_set(raw.value, declared)


@lru_cache(maxsize=1024)
def _read_numbers(raw: Raw) -> tuple[float, ...]:
    """Return a value's numbers; most are the same for all slices of a series. ValueError where they are none."""
    if len(raw.value) > _MOST_NUMBER_BYTES:
        raise ValueError("longer than any number we read")
    if raw.vr in _TEXT:
        text = raw.value.strip(b" \0")
        numbers = tuple([float(part) for part in text.split(b"\\")]) if text else ()
    else:
        # The dictionary leaves some tags' type to the pixels' sign ("US or SS"); whoever needs the sign looks there.
        code = _BINARY.get("US" if raw.vr == "US or SS" else raw.vr)
        if code is None or len(raw.value) % struct.calcsize(code):
            raise ValueError(raw.vr)
        count = len(raw.value) // struct.calcsize(code)
        numbers = struct.unpack(("<" if raw.little_endian else ">") + code * count, raw.value)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not finite")
    return numbers


def _in_character_set(value: bytes, declared: list[str]) -> str:
    """Decode as declared; where that fails, as Latin-1, which keeps different texts different."""
    try:
        return decode_bytes(value, convert_encodings(declared), set())
    except (LookupError, ValueError, AttributeError, TypeError):
        return value.decode("latin-1")
