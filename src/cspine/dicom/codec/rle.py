"""DICOM's run-length encoding (PS3.5, annex G): one PackBits segment for each byte of a value, the highest first.

imagecodecs has a decoder for the whole, which trusts the offsets it is given and reads wherever they point; here they
are held against the frame, and only the segments are left to it.
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
    """Decode one grey frame.

    Returns
    -------
    (rows, columns) unsigned integers of `value_bytes` bytes

    Raises
    ------
    CodestreamError
        The segments are not those of such a frame.
    ImcdError
        A segment is damaged.
    """
    if len(frame) < _HEADER_BYTES:
        raise CodestreamError("cut off")
    count, *offsets = struct.unpack_from("<16I", frame)
    if count != value_bytes:
        raise CodestreamError(f"{count} segments where values have {value_bytes} bytes")
    places = [*offsets[:count], len(frame)]
    if places[0] < _HEADER_BYTES or any(stop <= start for start, stop in pairwise(places)):
        raise CodestreamError("segments out of place")
    planes = np.empty((rows, columns, value_bytes), np.uint8)
    for number, (start, stop) in enumerate(pairwise(places)):
        plane = imagecodecs.packbits_decode(frame[start:stop], out=bytearray(rows * columns))
        if len(plane) != rows * columns:
            raise CodestreamError("cut off")
        planes[..., value_bytes - 1 - number] = np.frombuffer(plane, np.uint8).reshape(rows, columns)
    return planes.view(f"<u{value_bytes}")[..., 0]
