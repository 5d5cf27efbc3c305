"""Parse encapsulated pixel data (PS3.5, section A.4): a sequence of items, the first of which is a table of offsets.

Files in use deviate from the standard, and this parser reads what other readers read: items of odd length, with or
without the byte that pads them; items without bytes; tables of offsets that are empty, wrong or missing; a missing
sequence delimiter. A frame is recognized by its first bytes, so that a wrong table of offsets cannot mix frames.
"""

import struct
from itertools import pairwise
from typing import Final, NamedTuple

from pydicom.encaps import encapsulate

from cspine.dicom.codec.codestream import CodestreamError

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_TRAILING_ELEMENTS: Final = (b"\xfa\xff\xfa\xff", b"\xfc\xff\xfc\xff")
"""Tags that may follow pixels: digital signatures, and padding. They end items where the delimiter is missing."""

_FRAME_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
"""First bytes of JPEG and JPEG-LS, of JPEG 2000, and of a JP2 file."""

_RLE_HEADER_BYTES: Final = 64
_MAX_RLE_SEGMENTS: Final = 15
_MAX_OFFSET: Final = 2**32 - 1


class _Item(NamedTuple):
    """One fragment, and the offset of its item from the first fragment's item, as offset tables count."""

    offset: int
    value: memoryview


def read_frames(data: bytes | bytearray, n_frames: int) -> list[bytes]:
    """Return the frames of encapsulated pixel data, with the fragments of each joined.

    Parameters
    ----------
    data : bytes
        Value of the PixelData element: a sequence of items. What follows the sequence is ignored.
    n_frames : int
        Number of frames that the header declares.

    Returns
    -------
    list of bytes
        At most `n_frames`; fewer if there are fewer fragments.

    Raises
    ------
    CodestreamError
        The data are not a sequence of items, are truncated, or hold more frames than the header declares, or the
        fragments of the frames cannot be told apart.
    """
    table, items = _read_items(data)
    starts = [number for number, item in enumerate(items) if _is_frame_start(item.value)]
    if len(starts) > n_frames:
        raise CodestreamError(f"{len(starts):,} frames where its header says {n_frames:,}")
    if n_frames == 1:
        return [b"".join(item.value for item in items)]
    fragments = items if len(items) == n_frames else [item for item in items if item.value]
    if len(fragments) <= n_frames:
        return [bytes(item.value) for item in fragments]
    if len(starts) != n_frames or starts[0]:
        starts = _starts_by_table(table, items, n_frames)
    bounds = [*starts, len(items)]
    return [b"".join(item.value for item in items[a:b]) for a, b in pairwise(bounds)]


def encapsulate_frames(frames: list[bytes]) -> bytes:
    """Return frames as encapsulated pixel data: one item of even length per frame, after a table of their offsets.

    Parameters
    ----------
    frames : list of bytes
        One compressed frame each; a frame of odd length is padded with a zero byte.

    Returns
    -------
    bytes
        Value of PixelData. The table is empty if the offsets exceed its 32 bits.
    """
    has_table = sum(len(frame) + 9 for frame in frames) <= _MAX_OFFSET
    return encapsulate(frames, has_bot=has_table) + _SEQUENCE_END + bytes(4)


def _read_items(data: bytes | bytearray) -> tuple[memoryview, list[_Item]]:
    """Return the table of offsets, and the fragments after it."""
    view, position = memoryview(data), 0
    values: list[tuple[int, memoryview]] = []
    while position + 8 <= len(view):
        tag = bytes(view[position : position + 4])
        if tag != _ITEM:
            is_padded = bool(values) and len(values[-1][1]) % 2 == 1
            if tag == _SEQUENCE_END:
                break
            if is_padded and bytes(view[position + 1 : position + 5]) in {_ITEM, _SEQUENCE_END}:
                position += 1
                continue
            if values and (tag in _TRAILING_ELEMENTS or not bytes(view[position:]).strip(b"\0")):
                break  # without a delimiter
            raise CodestreamError("not held in items")
        (length,) = struct.unpack_from("<I", view, position + 4)
        values.append((position, view[position + 8 : position + 8 + length]))
        position += 8 + length
    if position > len(view) or not values:
        raise CodestreamError("cut off")
    if position + 8 > len(view) and len(view) - position > 1 and bytes(view[position:]).strip(b"\0"):
        raise CodestreamError("cut off")  # within the head of an item
    has_table = not _is_frame_start(values[0][1])
    first = values[has_table][0] if len(values) > has_table else 0
    items = [_Item(offset - first, value) for offset, value in values[has_table:]]
    return values[0][1] if has_table else view[:0], items


def _is_frame_start(value: memoryview) -> bool:
    """Return whether bytes begin a frame; a table of offsets does not, since its first offset is 0."""
    head = bytes(value[:8])
    if head.startswith(_FRAME_STARTS):
        return True
    if len(value) < _RLE_HEADER_BYTES:
        return False
    count, first = struct.unpack("<2I", head)
    return bool(1 <= count <= _MAX_RLE_SEGMENTS and first == _RLE_HEADER_BYTES)


def _starts_by_table(table: memoryview, items: list[_Item], n_frames: int) -> list[int]:
    """Return the number of each frame's first fragment by the table of offsets."""
    number_of = {item.offset: number for number, item in enumerate(items)}
    starts = [number_of.get(offset, -1) for (offset,) in struct.iter_unpack("<I", table[: len(table) // 4 * 4])]
    if len(starts) != n_frames or starts[0] != 0 or any(a >= b for a, b in pairwise(starts)):
        raise CodestreamError(
            f"{len(items):,} fragments of {n_frames:,} frames, without a valid table of the frames' offsets"
        )
    return starts
