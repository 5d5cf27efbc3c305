"""What a compressed frame says of itself, read before anything is decoded.

A decoder allocates what the codestream asks for, so its size is held against the DICOM header first; and a codestream
that lacks its end is cut off, which some decoders do not mind.
"""

import struct
from dataclasses import dataclass
from typing import Final

_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
END: Final = b"\xff\xd9"


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


def check_end(data: bytes) -> None:
    """Hold that the end marker is there; some writers pad after it."""
    if END not in data[-64:]:
        raise CodestreamError("cut off")
