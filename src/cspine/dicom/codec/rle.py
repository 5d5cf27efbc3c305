"""Decode DICOM's run-length encoding (PS3.5, annex G): one PackBits segment per byte of a value, highest byte first.

The RLE decoder of imagecodecs trusts the segment offsets, even beyond the frame. Here the offsets are checked, and only
the segments are decoded by imagecodecs.
"""

import struct
from itertools import pairwise
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt

from cspine.dicom.codec.codestream import CodestreamError

_HEADER_BYTES: Final = 64


def decode_rle(frame: bytes, rows: int, columns: int, value_bytes: int) -> npt.NDArray[Any]:
    """Decode one gray frame.

    Parameters
    ----------
    frame : bytes
        The header of 64 bytes and its segments.
    rows, columns : int
        Size of the image in pixels.
    value_bytes : int
        Number of bytes per pixel.

    Returns
    -------
    (rows, columns) array of unsigned integers
        Stored values of `value_bytes` bytes each.

    Raises
    ------
    CodestreamError
        The number, offsets or lengths of segments do not fit the image.
    PackbitsError
        A segment is damaged.
    """
    bounds = _segment_bounds(frame, value_bytes)
    planes = np.empty((rows, columns, value_bytes), np.uint8)
    for number, (start, stop) in enumerate(pairwise(bounds)):
        plane = _decode_segment(frame[start:stop], rows * columns)
        planes[..., value_bytes - 1 - number] = np.frombuffer(plane, np.uint8).reshape(rows, columns)
    return planes.view(f"<u{value_bytes}")[..., 0]


def _decode_segment(segment: bytes, n_bytes: int) -> bytes | bytearray:
    """Decode one segment, which zeros may pad: one by the standard, some writers add more."""
    try:
        plane = imagecodecs.packbits_decode(segment, out=bytearray(n_bytes))
    except imagecodecs.PackbitsError:
        end = _find_end(segment, n_bytes)
        if end == len(segment) or segment[end:].strip(b"\0"):
            raise
        plane = imagecodecs.packbits_decode(segment[:end], out=bytearray(n_bytes))
    if len(plane) != n_bytes:
        raise CodestreamError("cut off")
    return plane


def _segment_bounds(frame: bytes, value_bytes: int) -> list[int]:
    """Return the offset of each segment, and the length of the frame."""
    if len(frame) < _HEADER_BYTES:
        raise CodestreamError("cut off")
    count, *offsets = struct.unpack_from("<16I", frame)
    if count != value_bytes:
        raise CodestreamError(f"{count} segments where values have {value_bytes} bytes")
    bounds = [*offsets[:count], len(frame)]
    if bounds[0] < _HEADER_BYTES or any(stop <= start for start, stop in pairwise(bounds)):
        raise CodestreamError("segments out of place")
    return bounds


def _find_end(segment: bytes, n_bytes: int) -> int:
    """Return the offset after the runs (PS3.5, section G.3.2) that hold `n_bytes` bytes."""
    position = 0
    while n_bytes > 0 and position < len(segment):
        control = segment[position]
        n_values = control + 1 if control < 128 else 257 - control if control > 128 else 0
        position += 1 + (n_values if control < 128 else bool(n_values))
        n_bytes -= n_values
    return min(position, len(segment))
