"""What a compressed frame says of itself, read before anything is decoded.

A decoder allocates what the codestream asks for, so its size is held against the DICOM header first; and a codestream
that lacks its end is cut off, which some decoders do not mind.
"""

import struct
from dataclasses import dataclass
from typing import Final

_SOC_SIZ: Final = b"\xff\x4f\xff\x51"
_COD: Final = 0xFF52
_JP2_HEAD: Final = b"\x00\x00\x00\x0cjP  "
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_END: Final = b"\xff\xd9"

_FRAME_MARKERS: Final = frozenset({0xC0, 0xC1, 0xC3, 0xF7})
"""SOF0, SOF1 and SOF3 of JPEG (ITU-T T.81, table B.1) and SOF55 of JPEG-LS (T.87): what DICOM's syntaxes hold.

Progressive frames are not among them: a scan repeated without end would decode without end.
"""

_OTHER_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - _FRAME_MARKERS - {0xC4, 0xC8, 0xCC}

_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment."""


class CodestreamError(ValueError):
    """Compressed pixels that contradict themselves; the message is a fact to go into a sentence."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """The shape of the image in a codestream.

    Attributes
    ----------
    bits : int
        Per sample.
    signed : bool
        Whether samples are; only JPEG 2000 can tell.
    levels : int
        How many times the resolution may be halved; only JPEG 2000 can.
    """

    rows: int
    columns: int
    components: int
    bits: int
    signed: bool = False
    levels: int = 0


def read_fragments(data: bytes | bytearray) -> list[memoryview]:
    """Return the fragments of encapsulated pixel data (PS3.5, section A.4), without the offset table before them.

    Raises
    ------
    CodestreamError
        They are not items one after the other, or are cut off.
    """
    view, position = memoryview(data), 0
    fragments: list[memoryview] = []
    while position + 8 <= len(view):
        group, element, length = struct.unpack_from("<HHI", view, position)
        position += 8
        if (group, element) == _SEQUENCE_END:
            return fragments[1:]
        if (group, element) != _ITEM:
            raise CodestreamError("not held in items")
        fragments.append(view[position : position + length])
        position += length
    if position != len(view) or not fragments:  # an end without its delimiter is met in the field
        raise CodestreamError("cut off")
    return fragments[1:]


def read_jpeg(data: bytes) -> Codestream:
    """Read the frame header of JPEG or JPEG-LS.

    Raises
    ------
    CodestreamError
        There is none, or the end is missing.
    """
    if data[:2] != b"\xff\xd8":
        raise CodestreamError("does not begin as JPEG")
    _check_end(data)
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise CodestreamError("has no frame header")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _FRAME_MARKERS:
            if position + 10 > len(data):
                break
            bits, rows, columns, components = struct.unpack_from(">BHHB", data, position + 4)
            return Codestream(rows, columns, components, bits)
        if length < 2 or marker in _OTHER_FRAMES:
            break
        position += 2 + length
    raise CodestreamError("has no frame header that DICOM allows")


def read_jpeg2000(data: bytes) -> Codestream:
    """Read the SIZ segment of JPEG 2000 (ITU-T T.800, section A.5.1), HTJ2K included.

    Raises
    ------
    CodestreamError
        There is none, or the end is missing.
    """
    start = 0
    if data[:8] == _JP2_HEAD:  # a whole JP2 file, which DICOM does not allow but the field knows
        start = max(data.find(_SOC_SIZ, 0, 65536), 0)
    if data[start : start + 4] != _SOC_SIZ or len(data) < start + 46:
        raise CodestreamError("does not begin as JPEG 2000")
    _check_end(data)
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    depth = data[start + 42]
    return Codestream(
        bottom - top,
        right - left,
        components,
        (depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        levels=0 if (left, top) != (0, 0) else _levels(data, start + 2),
    )


def _levels(data: bytes, position: int) -> int:
    """Return the decomposition levels of the COD segment (ITU-T T.800, section A.6.1); 0 where there is none."""
    while position + 10 <= len(data):
        marker, length = struct.unpack_from(">2H", data, position)
        if marker == _COD:
            return data[position + 9]
        if not 0xFF50 <= marker <= 0xFF7F or length < 2:
            break
        position += 2 + length
    return 0


def _check_end(data: bytes) -> None:
    """Hold that the end marker is there; some writers pad after it."""
    if _END not in data[-64:]:
        raise CodestreamError("cut off")
