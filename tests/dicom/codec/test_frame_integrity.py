"""Damage that decoders do not report is detected in compressed frames; intact frames pass."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.support.codecs import uid_of
from tests.support.dicom import make_hu, write_series
from tests.support.jpeg import encode_lossless

from cspine.core.errors import DecodeError
from cspine.dicom import load_volume
from cspine.dicom.codec.codestream import CodestreamError
from cspine.dicom.codec.jpeg_integrity import check_lossless, check_sequential

Image16 = npt.NDArray[np.uint16]
Encode = Callable[[Image16], bytes]

NOISE = np.random.default_rng(1).integers(0, 40, (12, 64, 64)).astype(np.int16)
HU = (make_hu((12, 64, 64)) + NOISE).astype(np.int16)
FRAME: Image16 = (HU[6] + 1024).astype(np.uint16)


def library_encoder(predictor: int, bits: int = 16) -> Encode:
    return lambda a: bytes(imagecodecs.jpeg8_encode(a, lossless=True, predictor=predictor, bitspersample=bits))


def lossy_encoder(bits: int, level: int) -> Encode:
    kind = np.uint8 if bits == 8 else np.uint16
    return lambda a: bytes(imagecodecs.jpeg8_encode((a >> 12 - bits).astype(kind), level=level, bitspersample=bits))


LOSSLESS: dict[str, Encode] = {
    **{f"predictor {n}": library_encoder(n) for n in range(1, 8)},
    "12 bits": library_encoder(1, 12),
    "restarts": lambda a: encode_lossless(a, predictor=1, rows_between_restarts=5),
    "restarts, predictor 7": lambda a: encode_lossless(a, predictor=7, rows_between_restarts=5),
    "restart in each row": lambda a: encode_lossless(a, predictor=2, rows_between_restarts=1),
    "shifted": lambda a: encode_lossless(a & ~np.uint16(3), predictor=4, shift=2),
}  # fmt: skip
LOSSY = {f"{bits} bits, quality {level}": lossy_encoder(bits, level) for bits in (8, 12) for level in (40, 90, 100)}


def encode_and_decode(encode: Encode, image: Image16) -> tuple[bytes, npt.NDArray[np.uint16]]:
    frame = encode(image)
    return frame, imagecodecs.jpeg8_decode(frame)


@pytest.mark.parametrize("encode", LOSSLESS.values(), ids=LOSSLESS)
def test_intact_lossless_frames_pass_the_check(encode: Encode) -> None:
    frame, image = encode_and_decode(encode, FRAME)

    check_lossless(frame, image)
    np.testing.assert_array_equal(image | 3, FRAME | 3)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 12), columns=st.integers(1, 12), predictor=st.integers(1, 7),
       restart=st.integers(0, 12))  # fmt: skip
def test_lossless_frames_of_any_values_pass_the_check(
    seed: int, rows: int, columns: int, predictor: int, restart: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 65536, (rows, columns)).astype(np.uint16)

    check_lossless(encode_lossless(image, predictor=predictor, rows_between_restarts=restart), image)


@pytest.mark.parametrize("encode", LOSSY.values(), ids=LOSSY)
@pytest.mark.parametrize("side", [64, 61])
def test_intact_lossy_frames_pass_the_check(encode: Encode, side: int) -> None:
    check_sequential(*encode_and_decode(encode, FRAME[:side, :side]))


@pytest.mark.parametrize("blocks", [1, 3])
def test_lossy_frames_with_restarts_pass_the_check_until_one_is_removed(blocks: int) -> None:
    stream = io.BytesIO()
    Image.fromarray((FRAME >> 4).astype(np.uint8)).save(stream, "JPEG", restart_marker_blocks=blocks)
    frame = stream.getvalue()

    check_sequential(frame, imagecodecs.jpeg8_decode(frame))
    restart = frame.index(b"\xff\xd0")
    with pytest.raises(CodestreamError):
        check_sequential(frame[:restart] + frame[restart + 2 :], FRAME)


@pytest.mark.parametrize("end", [b"", b"\xff", b"\xff\xff", b"\0", b"\0\0\0"])
def test_bytes_that_pad_a_frame_are_ignored(end: bytes) -> None:
    for encode, check in ((library_encoder(1), check_lossless), (lossy_encoder(8, 90), check_sequential)):
        frame, image = encode_and_decode(encode, FRAME)
        check(frame[:-2] + end + b"\xff\xd9\0", image)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("kind", "encode"),
    [*(("jpeg-lossless", encode) for encode in LOSSLESS.values()), ("jpeg-extended", lossy_encoder(12, 90))],
    ids=[*LOSSLESS, "lossy"],
)
def test_a_frame_without_some_of_its_bytes_is_rejected(
    tmp_path: Path, kind: str, encode: Encode, fraction: float
) -> None:
    def without_a_piece(pixels: Image16) -> bytes:
        frame = encode(pixels)
        start = frame.index(b"\xff\xda") + 10
        position = start + int(fraction * (len(frame) - start - 250))
        return frame[:position] + frame[position + 240 :]

    write_series(tmp_path, HU, syntax=uid_of(kind), encode=without_a_piece)

    with pytest.raises(DecodeError, match=r"^1\.dcm: the JPEG .* pixels are damaged \("):
        load_volume(tmp_path)


@pytest.mark.parametrize("fraction", [0.3, 0.9])
@pytest.mark.parametrize(
    ("kind", "encode"), [("jpeg-lossless-sv1", library_encoder(1)), ("jpeg-baseline", lossy_encoder(8, 95))]
)
def test_a_truncated_frame_with_an_end_marker_is_rejected(
    tmp_path: Path, kind: str, encode: Encode, fraction: float
) -> None:
    def cut(pixels: Image16) -> bytes:
        frame = encode(pixels)
        return frame[: int(fraction * len(frame))] + b"\xff\xd9"

    write_series(tmp_path, HU, syntax=uid_of(kind), encode=cut)

    with pytest.raises(DecodeError, match=r"^1\.dcm: the JPEG .* pixels are damaged \(its codes do not match"):
        load_volume(tmp_path)


@pytest.mark.parametrize("marker", [0xC4, 0xD0, 0xDA, 0x01])
def test_a_marker_within_the_image_is_rejected(marker: int) -> None:
    frame, image = encode_and_decode(library_encoder(1), FRAME)
    middle = len(frame) // 2

    with pytest.raises(CodestreamError, match="has a marker within its image"):
        check_lossless(frame[:middle] + bytes([0xFF, marker]) + frame[middle:], image)


def test_frames_with_damaged_markers_are_rejected() -> None:
    frame, image = encode_and_decode(library_encoder(1), FRAME)
    tables = frame.index(b"\xff\xc4")
    (length,) = struct.unpack_from(">H", frame, tables + 2)
    without_tables = frame[:tables] + frame[tables + 2 + length :]
    restarts = encode_lossless(FRAME, rows_between_restarts=5)
    damaged_frames = {
        "lacks a Huffman table": without_tables,
        "has a damaged Huffman table": frame[: tables + 5] + b"\xfe" + frame[tables + 6 :],
        "has no scan of one gray image": frame.replace(b"\xff\xda", b"\xff\xe5", 1),
        "has restarts out of order": restarts.replace(b"\xff\xd1", b"\xff\xd3", 1),
        "has restarts within a row": restarts.replace(struct.pack(">H", 5 * 64), struct.pack(">H", 5 * 64 - 1), 1),
    }
    for message, damaged in damaged_frames.items():
        with pytest.raises(CodestreamError, match=message):
            check_lossless(damaged, image)


# --- JPEG 2000 -------------------------------------------------------------------------------------------------------


def encode_tiles(pixels: Image16) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True, tile_size=(32, 32), irreversible=False)
    return stream.getvalue()


def drop_last_tile(pixels: Image16) -> bytes:
    frame = encode_tiles(pixels)
    return frame[: frame.rindex(b"\xff\x90\0\x0a")] + b"\xff\xd9"


def drop_first_tile(pixels: Image16) -> bytes:
    frame = encode_tiles(pixels)
    first = frame.index(b"\xff\x90\0\x0a")
    return frame[:first] + frame[frame.index(b"\xff\x90\0\x0a", first + 2) :]


def truncate_tiles(pixels: Image16) -> bytes:
    frame = encode_tiles(pixels)
    return frame[: int(0.6 * len(frame))] + b"\xff\xd9"


def declare_tiles_of_one_pixel(pixels: Image16) -> bytes:
    frame = bytearray(encode_tiles(pixels))
    struct.pack_into(">2I", frame, 24, 1, 1)
    return bytes(frame)


@pytest.mark.parametrize(
    ("encode", "message"),
    [(drop_last_tile, "lacks 1 of 4 tiles"), (drop_first_tile, "lacks 1 of 4 tiles"),
     (truncate_tiles, "cut off|made of tiles"), (declare_tiles_of_one_pixel, "4,096 tiles, at most 1,024 are read")],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 2])
def test_jpeg_2000_with_missing_tiles_is_rejected(tmp_path: Path, encode: Encode, message: str, step: int) -> None:
    write_series(tmp_path, HU, syntax=uid_of("jpeg-2000-lossless"), encode=encode)

    with pytest.raises(DecodeError, match=rf"^1\.dcm: the JPEG 2000 lossless pixels are damaged \(.*({message})"):
        load_volume(tmp_path, step=step)


def test_jpeg_2000_in_tiles_is_read(tmp_path: Path) -> None:
    hu = np.full((12, 64, 64), 40, np.int16)  # Pillow encodes tiled pictures of 16 bits wrongly unless they are even
    write_series(tmp_path, hu, syntax=uid_of("jpeg-2000-lossless"), encode=encode_tiles)

    np.testing.assert_array_equal(load_volume(tmp_path).array, hu)
