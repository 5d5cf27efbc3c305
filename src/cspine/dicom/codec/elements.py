"""Parse the top level of a DICOM data set element by element; values stay bytes, and nested sequences are skipped.

Headers take most of the time of reading an uncompressed series, and only a fifth of their elements is needed. This
parser covers the common encodings (PS3.5, section 7.1: little and big endian, explicit and implicit VR) and raises
`UnsupportedLayoutError` for all others, which pydicom then parses.
"""

import struct
import zlib
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from pydicom.datadict import dictionary_VR
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cspine.core.text import sanitize_text

MAX_NESTING: Final = 32
"""Most levels of nested sequences; CT has 3 to 5."""

MAX_INFLATED_HEADER_BYTES: Final = 1024 * 1024
"""Most bytes that are inflated of a deflated data set to find the end of its header."""

META_GROUP: Final = 0x0002
TRANSFER_SYNTAX: Final = 0x00020010
PIXEL_DATA: Final = 0x7FE00010
MEDIA_CLASS: Final = 0x00020002
_META: Final = frozenset({MEDIA_CLASS, TRANSFER_SYNTAX})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF

_LONG: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations with a 4-byte length (PS3.5, table 7.1-1)."""

_KNOWN: Final = _LONG | frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())


class UnsupportedLayoutError(Exception):
    """The encoding is not one that this parser supports; pydicom may."""


class TruncatedError(Exception):
    """The bytes end within the header."""


class NestingError(Exception):
    """Sequences are nested deeper than `MAX_NESTING`."""


class RawElement(NamedTuple):
    """The value of one element, as stored.

    Attributes
    ----------
    vr : str
        Value representation of the element, such as ``UI``.
    value : bytes
        Bytes of the value, as stored.
    little_endian : bool
        Byte order of numbers in it.
    """

    vr: str
    value: bytes
    little_endian: bool


@dataclass(frozen=True, slots=True)
class Elements:
    """The requested elements of a data set's top level.

    Attributes
    ----------
    transfer_syntax_uid : str
        UID of the transfer syntax; that of the encoding found where the file declares none.
    values : dict
        Tag to value; tags that the data set lacks are absent.
    pixel_data_offset : int or None
        Offset in the file of PixelData's value; None if there is none, or if the data set is deflated.
    pixel_data_length : int or None
        Length of PixelData's value in bytes; None if it is encapsulated, which declares no length.
    """

    transfer_syntax_uid: str
    values: dict[int, RawElement]
    pixel_data_offset: int | None
    pixel_data_length: int | None


@dataclass(frozen=True, slots=True)
class _Encoding:
    """Encoding of elements: byte order, explicit or implicit VR, and the structs that unpack their heads.

    Attributes
    ----------
    explicit : bool
        Whether elements name their value representation.
    little_endian : bool
        Whether multi-byte numbers are little endian.
    head, item, long : struct.Struct
        Head of an element, head of an item, and a length of 4 bytes.
    """

    explicit: bool
    little_endian: bool
    head: struct.Struct
    item: struct.Struct
    long: struct.Struct


def _make_encoding(*, explicit: bool, little_endian: bool) -> _Encoding:
    order = "<" if little_endian else ">"
    head = struct.Struct(order + ("HH2sH" if explicit else "HHI"))
    return _Encoding(explicit, little_endian, head, struct.Struct(order + "HHI"), struct.Struct(order + "I"))


class _EveryTag:
    """A set that contains every tag."""

    def __contains__(self, tag: object) -> bool:
        return True


_EVERY_TAG: Final = _EveryTag()
_EXPLICIT: Final = _make_encoding(explicit=True, little_endian=True)
_IMPLICIT: Final = _make_encoding(explicit=False, little_endian=True)
_BIG_ENDIAN: Final = _make_encoding(explicit=True, little_endian=False)


def walk_elements(data: bytes, tags: frozenset[int] | None, *, complete: bool) -> Elements:
    """Read the requested elements of a file's data set.

    Parameters
    ----------
    data : bytes
        Content of the file, or its beginning.
    tags : set of int, or None
        Requested tags, as ``group << 16 | element``; None for all. Sequences of undefined length are left out.
    complete : bool
        Whether `data` is the complete file.

    Returns
    -------
    Elements

    Raises
    ------
    TruncatedError
        `data` ends within an element before the pixels.
    UnsupportedLayoutError
        The encoding is not supported.
    NestingError
        Sequences are nested deeper than `MAX_NESTING`.
    """
    try:
        return _walk_file(data, _EVERY_TAG if tags is None else tags, complete=complete)
    except struct.error:
        raise TruncatedError from None


def inflate_pixels(data: bytes, max_bytes: int) -> bytes:
    """Return the value of PixelData of a deflated file.

    Parameters
    ----------
    data : bytes
        All bytes of the file.
    max_bytes : int
        Most bytes of the data set to inflate.

    Returns
    -------
    bytes

    Raises
    ------
    TruncatedError, UnsupportedLayoutError, NestingError
        As in `walk_elements`.
    """
    inflated = inflate_dataset(data, max_bytes)
    position, length = _walk(inflated, 0, _EXPLICIT, frozenset(), {}, complete=True)
    if length is None or length == _UNDEFINED:
        raise UnsupportedLayoutError
    return inflated[position : position + length]


def inflate_dataset(data: bytes, max_bytes: int) -> bytes:
    """Return the inflated data set of a deflated file, without its meta group; raises as `walk_elements` does.

    Parameters
    ----------
    data : bytes
        All bytes of the file.
    max_bytes : int
        Most bytes to inflate.

    Returns
    -------
    bytes
        The data set, or its beginning.
    """
    start = 132 if data[128:132] == b"DICM" else 0
    position, _ = _walk(data, start, _EXPLICIT, _META, {}, complete=True)
    return _inflate(data[position:], max_bytes)[0]


def _inflate(data: bytes, max_bytes: int) -> tuple[bytes, bool]:
    """Inflate a data set up to a limit; return also whether it is complete."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return inflater.decompress(data, max_bytes), inflater.eof
    except zlib.error:
        raise UnsupportedLayoutError from None


def _walk_file(data: bytes, tags: Container[int], *, complete: bool) -> Elements:
    start = 132 if data[128:132] == b"DICM" else 0
    values: dict[int, RawElement] = {}
    position, _ = _walk(data, start, _EXPLICIT, _META, values, complete=complete)
    syntax = _uid(values.pop(TRANSFER_SYNTAX, None))
    if syntax == DeflatedExplicitVRLittleEndian:
        inflated, is_complete = _inflate(data[position:], MAX_INFLATED_HEADER_BYTES)
        _walk(inflated, 0, _EXPLICIT, tags, values, complete=is_complete)
        return Elements(syntax, values, None, None)
    if len(data) < position + 8:
        raise TruncatedError
    names_vr = data[position + 4 : position + 6] in _KNOWN
    if not syntax:
        syntax = str(ExplicitVRLittleEndian if names_vr else ImplicitVRLittleEndian)
    encoding = _IMPLICIT if syntax == ImplicitVRLittleEndian else _EXPLICIT
    if syntax == ExplicitVRBigEndian:
        encoding = _BIG_ENDIAN
    if encoding.explicit != names_vr:
        raise UnsupportedLayoutError
    position, length = _walk(data, position, encoding, tags, values, complete=complete)
    if length is None:
        return Elements(syntax, values, None, None)
    return Elements(syntax, values, position, None if length == _UNDEFINED else length)


def _walk(  # noqa: C901, PLR0912 - one loop without calls: a header has hundreds of elements
    data: bytes,
    position: int,
    encoding: _Encoding,
    tags: Container[int],
    values: dict[int, RawElement],
    *,
    complete: bool,
) -> tuple[int, int | None]:
    """Read elements up to the pixels, or the end of data or meta group; return the offset and the pixels' length."""
    end, explicit, unpack, last = len(data), encoding.explicit, encoding.head.unpack_from, -1
    while position < end:
        if not complete and end - position < 12:  # the longest head of an element
            raise TruncatedError
        if explicit:
            high, low, vr, length = unpack(data, position)
        else:
            high, low, length = unpack(data, position)
            vr = b""
        if tags is _META and high != META_GROUP:
            break
        tag = high << 16 | low
        if tag <= last:
            raise UnsupportedLayoutError
        last = tag
        position += 8
        if explicit:
            if vr in _LONG:
                (length,) = encoding.long.unpack_from(data, position)
                position += 4
            elif vr not in _KNOWN:
                raise UnsupportedLayoutError
        if tag >= PIXEL_DATA:
            return position, length if tag == PIXEL_DATA else None
        if length == _UNDEFINED:
            if explicit and vr not in {b"SQ", b"UN"}:
                raise UnsupportedLayoutError
            # An unknown value of undefined length is a sequence in implicit VR (PS3.5, section 6.2.2).
            position = _skip_items(data, position, _IMPLICIT if vr == b"UN" else encoding, 1)
            continue
        if tag in tags:
            if position + length > end:
                raise TruncatedError
            values[tag] = RawElement(
                _value_representation(tag, vr), data[position : position + length], encoding.little_endian
            )
        position += length
    if position > end or (position == end and not complete):
        raise TruncatedError
    return position, None


def _uid(raw: RawElement | None) -> str:
    return sanitize_text(raw.value.decode("ascii", "replace").strip(" \0")) if raw else ""


@cache
def dictionary_vr(tag: int) -> str:
    """Return a tag's value representation by DICOM's dictionary; UN for one that it lacks, such as a private one."""
    try:
        return dictionary_VR(tag)
    except KeyError:  # a private element
        return "UN"


def _value_representation(tag: int, vr: bytes) -> str:
    return dictionary_vr(tag) if vr in {b"", b"UN"} else vr.decode("ascii")


def _skip_items(data: bytes, position: int, encoding: _Encoding, depth: int) -> int:
    """Return the offset after a sequence of undefined length whose first item begins at `position`."""
    if depth > MAX_NESTING:
        raise NestingError
    while True:
        if position + 8 > len(data):
            raise TruncatedError
        high, low, length = encoding.item.unpack_from(data, position)
        position += 8
        tag = high << 16 | low
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise UnsupportedLayoutError
        position = _skip_elements(data, position, encoding, depth) if length == _UNDEFINED else position + length


def _skip_elements(data: bytes, position: int, encoding: _Encoding, depth: int) -> int:
    """Return the offset after an item of undefined length whose first element begins at `position`."""
    while True:
        if position + 8 > len(data):
            raise TruncatedError
        high, low, length = encoding.item.unpack_from(data, position)
        if high << 16 | low == _ITEM_END:
            return position + 8
        vr = b""
        if encoding.explicit:
            _, _, vr, length = encoding.head.unpack_from(data, position)
        position += 8
        if vr in _LONG:
            if position + 4 > len(data):
                raise TruncatedError
            (length,) = encoding.long.unpack_from(data, position)
            position += 4
        elif encoding.explicit and vr not in _KNOWN:
            raise UnsupportedLayoutError
        if length == _UNDEFINED:
            position = _skip_items(data, position, _IMPLICIT if vr == b"UN" else encoding, depth + 1)
        else:
            position += length
