"""Run-length frames: segment offsets are checked before anything is decoded."""

import struct

import imagecodecs
import numpy as np
import pytest
from tests.support.codecs import SYNTAXES

from cspine.dicom.codec.codestream import CodestreamError
from cspine.dicom.codec.rle import decode_rle

PIXELS = np.random.default_rng(0).integers(0, 4096, (12, 10)).astype(np.uint16)
FRAME = next(syntax.encode for syntax in SYNTAXES if syntax.name == "rle")(PIXELS)  # type: ignore[misc]


def test_a_frame_is_decoded() -> None:
    np.testing.assert_array_equal(decode_rle(FRAME, 12, 10, 2), PIXELS)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ((3, 64, 100, 150), "3 segments where values have 2 bytes"),
        ((0,), "0 segments"),
        ((2, 64, 63372), "out of place"),
        ((2, 64, 64), "out of place"),
        ((2, 0, 100), "out of place"),
        ((2, 100, 64), "out of place"),
    ],
)
def test_invalid_segment_offsets_are_rejected(header: tuple[int, ...], message: str) -> None:
    hostile = struct.pack("<16I", *header, *[0] * (16 - len(header))) + FRAME[64:]

    with pytest.raises(CodestreamError, match=message):
        decode_rle(hostile, 12, 10, 2)


def test_a_frame_that_is_too_short_is_rejected() -> None:
    with pytest.raises(CodestreamError, match="cut off"):
        decode_rle(FRAME[:50], 12, 10, 2)
    with pytest.raises(CodestreamError, match="cut off"):
        decode_rle(FRAME, 13, 10, 2)


def test_zeros_that_pad_a_segment_are_ignored_and_other_bytes_are_not() -> None:
    (first,) = struct.unpack_from("<I", FRAME, 8)
    header = struct.pack("<16I", 2, 64, first + 3, *[0] * 13)

    padded = header + FRAME[64:first] + bytes(3) + FRAME[first:] + bytes(5)
    np.testing.assert_array_equal(decode_rle(padded, 12, 10, 2), PIXELS)
    with pytest.raises(imagecodecs.PackbitsError):
        decode_rle(FRAME + b"\0\1\2", 12, 10, 2)
