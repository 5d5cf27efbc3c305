"""The top level of a DICOM data set, walked element by element: values are kept as bytes, nested data are jumped over.

Reading a header is most of the work of reading an uncompressed series, and of a header's elements we need a fifth.
The walk covers the plain cases (PS3.5, section 7.1: little and big endian, explicit and implicit) and raises `Unusual`
for all others, which are then left to pydicom.
"""

import struct
import zlib
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
"""Sequences within sequences; CT has 3 to 5."""

HEADER_INFLATED_BYTES: Final = 1024 * 1024
"""A deflated data set is inflated so far in search of its header's end."""

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


class Unusual(Exception):  # noqa: N818 - a signal, not an error
    """The bytes are not laid out in a way that this walk knows; pydicom may know better."""


class Cut(Exception):  # noqa: N818 - a signal, not an error
    """The bytes ended inside the header."""


class TooDeep(Exception):  # noqa: N818 - a signal; the reader names the file
    """Sequences are nested deeper than `MAX_NESTING`."""


class Raw(NamedTuple):
    """One element's value as the file holds it."""

    vr: str
    value: bytes
    little_endian: bool


@dataclass(frozen=True, slots=True)
class Elements:
    """What was asked for of a data set's top level.

    Attributes
    ----------
    values : dict
        Tag to value.
    pixels_at : int or None
        Where in the file PixelData's value begins; None where there is none or its place in the file means nothing
        (a deflated data set).
    pixels_length : int or None
        Bytes of it; None where encapsulated, which declares no length.
    """

    transfer_syntax_uid: str
    values: dict[int, Raw]
    pixels_at: int | None
    pixels_length: int | None


@dataclass(frozen=True, slots=True)
class _Form:
    """How elements are written: byte order, and whether they name their value representation."""

    explicit: bool
    little: bool
    head: struct.Struct
    item: struct.Struct
    long: struct.Struct


def _form(*, explicit: bool, little: bool) -> _Form:
    order = "<" if little else ">"
    head = struct.Struct(order + ("HH2sH" if explicit else "HHI"))
    return _Form(explicit, little, head, struct.Struct(order + "HHI"), struct.Struct(order + "I"))


_EXPLICIT: Final = _form(explicit=True, little=True)
_IMPLICIT: Final = _form(explicit=False, little=True)
_BIG_ENDIAN: Final = _form(explicit=True, little=False)


def walk(data: bytes, wanted: frozenset[int], *, complete: bool) -> Elements:
    """Find the wanted elements of a file's data set.

    Parameters
    ----------
    data : bytes
        The file's content or its beginning.
    wanted : set of int
        Tags, as ``group << 16 | element``.
    complete : bool
        Whether `data` is the whole file.

    Raises
    ------
    Cut
        `data` ends within an element before the pixels.
    Unusual
        The layout is not plain.
    TooDeep
        Sequences are nested absurdly.
    """
    try:
        return _walk_file(data, wanted, complete=complete)
    except struct.error:
        raise Cut from None


def inflate_pixels(data: bytes, most: int) -> bytes:
    """Return the pixel data of a whole deflated file, inflating at most `most` bytes; raises as `walk` does."""
    inflated = inflate_dataset(data, most)
    position, length = _walk(inflated, 0, _EXPLICIT, frozenset(), {}, complete=True)
    if length is None or length == _UNDEFINED:
        raise Unusual
    return inflated[position : position + length]


def inflate_dataset(data: bytes, most: int) -> bytes:
    """Return the data set of a whole deflated file without its meta group, at most `most` bytes; raises as `walk`."""
    start = 132 if data[128:132] == b"DICM" else 0
    position, _ = _walk(data, start, _EXPLICIT, _META, {}, complete=True)
    return _inflate(data[position:], most)[0]


def _inflate(data: bytes, most: int) -> tuple[bytes, bool]:
    """Inflate a data set up to a limit; also tell whether that was all of it."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return inflater.decompress(data, most), inflater.eof
    except zlib.error:
        raise Unusual from None


def _walk_file(data: bytes, wanted: frozenset[int], *, complete: bool) -> Elements:
    start = 132 if data[128:132] == b"DICM" else 0
    values: dict[int, Raw] = {}
    position, _ = _walk(data, start, _EXPLICIT, _META, values, complete=complete)
    syntax = _uid(values.pop(TRANSFER_SYNTAX, None))
    if syntax == DeflatedExplicitVRLittleEndian:
        inflated, whole = _inflate(data[position:], HEADER_INFLATED_BYTES)
        _walk(inflated, 0, _EXPLICIT, wanted, values, complete=whole)
        return Elements(syntax, values, None, None)
    if len(data) < position + 8:
        raise Cut
    names_vr = data[position + 4 : position + 6] in _KNOWN
    if not syntax:
        syntax = str(ExplicitVRLittleEndian if names_vr else ImplicitVRLittleEndian)
    form = _IMPLICIT if syntax == ImplicitVRLittleEndian else _EXPLICIT
    if syntax == ExplicitVRBigEndian:
        form = _BIG_ENDIAN
    if form.explicit != names_vr:
        raise Unusual
    position, length = _walk(data, position, form, wanted, values, complete=complete)
    if length is None:
        return Elements(syntax, values, None, None)
    return Elements(syntax, values, position, None if length == _UNDEFINED else length)


def _walk(  # noqa: C901, PLR0912 - one loop without calls: a header has hundreds of elements
    data: bytes, position: int, form: _Form, wanted: frozenset[int], values: dict[int, Raw], *, complete: bool
) -> tuple[int, int | None]:
    """Walk to the pixels, the end, or out of the meta group; return the place there and the pixels' length, if any."""
    end, explicit, unpack, last = len(data), form.explicit, form.head.unpack_from, -1
    while position < end:
        if not complete and end - position < 12:  # the longest head of an element
            raise Cut
        if explicit:
            high, low, vr, length = unpack(data, position)
        else:
            high, low, length = unpack(data, position)
            vr = b""
        if wanted is _META and high != META_GROUP:
            break
        tag = high << 16 | low
        if tag <= last:
            raise Unusual
        last = tag
        position += 8
        if explicit:
            if vr in _LONG:
                (length,) = form.long.unpack_from(data, position)
                position += 4
            elif vr not in _KNOWN:
                raise Unusual
        if tag >= PIXEL_DATA:
            return position, length if tag == PIXEL_DATA else None
        if length == _UNDEFINED:
            if explicit and vr not in {b"SQ", b"UN"}:
                raise Unusual
            # An unknown value of undefined length is a sequence in implicit form (PS3.5, section 6.2.2).
            position = _skip_items(data, position, _IMPLICIT if vr == b"UN" else form, 1)
            continue
        if tag in wanted:
            if position + length > end:
                raise Cut
            values[tag] = Raw(_vr(tag, vr), data[position : position + length], form.little)
        position += length
    if position > end:
        raise Cut
    return position, None


def _uid(raw: Raw | None) -> str:
    return sanitize_text(raw.value.decode("ascii", "replace").strip(" \0")) if raw else ""


@cache
def _dictionary_vr(tag: int) -> str:
    return dictionary_VR(tag)


def _vr(tag: int, vr: bytes) -> str:
    return _dictionary_vr(tag) if vr in {b"", b"UN"} else vr.decode("ascii")


def _skip_items(data: bytes, position: int, form: _Form, depth: int) -> int:
    """Return the place after a sequence of undefined length whose first item begins at `position`."""
    if depth > MAX_NESTING:
        raise TooDeep
    while True:
        if position + 8 > len(data):
            raise Cut
        high, low, length = form.item.unpack_from(data, position)
        position += 8
        tag = high << 16 | low
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise Unusual
        position = _skip_elements(data, position, form, depth) if length == _UNDEFINED else position + length


def _skip_elements(data: bytes, position: int, form: _Form, depth: int) -> int:
    """Return the place after an item of undefined length whose first element begins at `position`."""
    while True:
        if position + 8 > len(data):
            raise Cut
        high, low, length = form.item.unpack_from(data, position)
        if high << 16 | low == _ITEM_END:
            return position + 8
        vr = b""
        if form.explicit:
            _, _, vr, length = form.head.unpack_from(data, position)
        position += 8
        if vr in _LONG:
            if position + 4 > len(data):
                raise Cut
            (length,) = form.long.unpack_from(data, position)
            position += 4
        elif form.explicit and vr not in _KNOWN:
            raise Unusual
        if length == _UNDEFINED:
            position = _skip_items(data, position, _IMPLICIT if vr == b"UN" else form, depth + 1)
        else:
            position += length
