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
    ImcdError
        A segment is damaged.
    """
    if len(frame) < _HEADER_BYTES:
        raise CodestreamError("cut off")
    count, *offsets = struct.unpack_from("<16I", frame)
    if count != value_bytes:
        raise CodestreamError(f"{count} segments where values have {value_bytes} bytes")
    bounds = [*offsets[:count], len(frame)]
    if bounds[0] < _HEADER_BYTES or any(stop <= start for start, stop in pairwise(bounds)):
        raise CodestreamError("segments out of place")
    planes = np.empty((rows, columns, value_bytes), np.uint8)
    for number, (start, stop) in enumerate(pairwise(bounds)):
        plane = imagecodecs.packbits_decode(frame[start:stop], out=bytearray(rows * columns))
        if len(plane) != rows * columns:
            raise CodestreamError("cut off")
        planes[..., value_bytes - 1 - number] = np.frombuffer(plane, np.uint8).reshape(rows, columns)
    return planes.view(f"<u{value_bytes}")[..., 0]
