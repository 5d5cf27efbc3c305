"""The shape of a compressed frame, read from its codestream before anything is decoded.

A decoder allocates the size that the codestream declares, so that size is compared with the DICOM header first. A
codestream without its end marker is truncated, which some decoders do not report.
"""

import struct
from dataclasses import dataclass
from typing import Final

_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
END_OF_IMAGE: Final = b"\xff\xd9"
"""Marker at the end of JPEG (EOI) and JPEG 2000 (EOC) codestreams."""


class CodestreamError(ValueError):
    """Compressed pixels that are damaged; the message is a fact without file name, to go into a sentence."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """The shape of the image in a codestream.

    Attributes
    ----------
    rows, columns : int
        Size of the image in pixels.
    components : int
        Number of color components; 1 for gray.
    bits : int
        Number of bits per sample.
    signed : bool
        Whether samples are signed; only JPEG 2000 declares it.
    n_decomposition_levels : int
        How many times the resolution may be halved in decoding; only JPEG 2000 can.
    """

    rows: int
    columns: int
    components: int
    bits: int
    signed: bool = False
    n_decomposition_levels: int = 0


def read_fragments(data: bytes | bytearray) -> list[memoryview]:
    """Return the fragments of encapsulated pixel data (PS3.5, section A.4), without the basic offset table.

    Parameters
    ----------
    data : bytes
        Value of the PixelData element: a sequence of items.

    Returns
    -------
    list of memoryview
        One for each fragment.

    Raises
    ------
    CodestreamError
        The data are not a sequence of items, or are truncated.
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
    if position != len(view) or not fragments:  # some writers omit the sequence delimiter
        raise CodestreamError("cut off")
    return fragments[1:]


def check_end(data: bytes) -> None:
    """Check that the end marker is present; some writers pad after it."""
    if END_OF_IMAGE not in data[-64:]:
        raise CodestreamError("cut off")
