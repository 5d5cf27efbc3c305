"""Compressed frames that are damaged but look whole are found out; those that are whole are not accused."""

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
from tests.support.dicom import neck, write_series
from tests.support.jpeg import encode_lossless

from cspine.core.errors import DecodeError
from cspine.dicom import load_volume
from cspine.dicom.codec.codestream import CodestreamError
from cspine.dicom.codec.jpeg_integrity import check_lossless, check_sequential

Image16 = npt.NDArray[np.uint16]
Encode = Callable[[Image16], bytes]

NOISE = np.random.default_rng(1).integers(0, 40, (12, 64, 64)).astype(np.int16)
HU = (neck((12, 64, 64)) + NOISE).astype(np.int16)
FRAME: Image16 = (HU[6] + 1024).astype(np.uint16)


def library(predictor: int, bits: int = 16) -> Encode:
    return lambda a: bytes(imagecodecs.jpeg8_encode(a, lossless=True, predictor=predictor, bitspersample=bits))


def lossy(bits: int, level: int) -> Encode:
    kind = np.uint8 if bits == 8 else np.uint16
    return lambda a: bytes(imagecodecs.jpeg8_encode((a >> 12 - bits).astype(kind), level=level, bitspersample=bits))


LOSSLESS: dict[str, Encode] = {
    **{f"predictor {n}": library(n) for n in range(1, 8)},
    "12 bits": library(1, 12),
    "restarts": lambda a: encode_lossless(a, predictor=1, rows_between_restarts=5),
    "restarts, predictor 7": lambda a: encode_lossless(a, predictor=7, rows_between_restarts=5),
    "restart in each row": lambda a: encode_lossless(a, predictor=2, rows_between_restarts=1),
    "shifted": lambda a: encode_lossless(a & ~np.uint16(3), predictor=4, shift=2),
}  # fmt: skip
LOSSY = {f"{bits} bits, quality {level}": lossy(bits, level) for bits in (8, 12) for level in (40, 90, 100)}


def flawless(encode: Encode, image: Image16) -> tuple[bytes, npt.NDArray[np.uint16]]:
    frame = encode(image)
    return frame, imagecodecs.jpeg8_decode(frame)


@pytest.mark.parametrize("encode", LOSSLESS.values(), ids=LOSSLESS)
def test_whole_lossless_frames_come_to_their_image(encode: Encode) -> None:
    frame, image = flawless(encode, FRAME)

    check_lossless(frame, image)
    np.testing.assert_array_equal(image | 3, FRAME | 3)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 12), columns=st.integers(1, 12), predictor=st.integers(1, 7),
       restart=st.integers(0, 12))  # fmt: skip
def test_any_values_come_to_their_image(seed: int, rows: int, columns: int, predictor: int, restart: int) -> None:
    image = np.random.default_rng(seed).integers(0, 65536, (rows, columns)).astype(np.uint16)

    check_lossless(encode_lossless(image, predictor=predictor, rows_between_restarts=restart), image)


@pytest.mark.parametrize("encode", LOSSY.values(), ids=LOSSY)
@pytest.mark.parametrize("side", [64, 61])
def test_whole_lossy_frames_come_to_their_image(encode: Encode, side: int) -> None:
    check_sequential(*flawless(encode, FRAME[:side, :side]))


@pytest.mark.parametrize("blocks", [1, 3])
def test_lossy_frames_with_restarts_come_to_their_image(blocks: int) -> None:
    stream = io.BytesIO()
    Image.fromarray((FRAME >> 4).astype(np.uint8)).save(stream, "JPEG", restart_marker_blocks=blocks)
    frame = stream.getvalue()

    check_sequential(frame, imagecodecs.jpeg8_decode(frame))
    restart = frame.index(b"\xff\xd0")
    with pytest.raises(CodestreamError):
        check_sequential(frame[:restart] + frame[restart + 2 :], FRAME)


@pytest.mark.parametrize("end", [b"", b"\xff", b"\xff\xff", b"\0", b"\0\0\0"])
def test_bytes_that_make_a_frame_even_are_let_be(end: bytes) -> None:
    for encode, check in ((library(1), check_lossless), (lossy(8, 90), check_sequential)):
        frame, image = flawless(encode, FRAME)
        check(frame[:-2] + end + b"\xff\xd9\0", image)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("kind", "encode"),
    [*(("jpeg-lossless", encode) for encode in LOSSLESS.values()), ("jpeg-extended", lossy(12, 90))],
    ids=[*LOSSLESS, "lossy"],
)
def test_a_frame_that_lost_a_piece_is_refused(tmp_path: Path, kind: str, encode: Encode, share: float) -> None:
    def without_a_piece(pixels: Image16) -> bytes:
        frame = encode(pixels)
        start = frame.index(b"\xff\xda") + 10
        place = start + int(share * (len(frame) - start - 250))
        return frame[:place] + frame[place + 240 :]

    write_series(tmp_path, HU, syntax=uid_of(kind), encode=without_a_piece)

    with pytest.raises(DecodeError, match=r"^1\.dcm: the JPEG .* pixels are damaged \("):
        load_volume(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize(("kind", "encode"), [("jpeg-lossless-sv1", library(1)), ("jpeg-baseline", lossy(8, 95))])
def test_a_frame_cut_off_before_its_end_marker_is_refused(
    tmp_path: Path, kind: str, encode: Encode, share: float
) -> None:
    def cut(pixels: Image16) -> bytes:
        frame = encode(pixels)
        return frame[: int(share * len(frame))] + b"\xff\xd9"

    write_series(tmp_path, HU, syntax=uid_of(kind), encode=cut)

    with pytest.raises(DecodeError, match=r"^1\.dcm: the JPEG .* pixels are damaged \(its codes do not match"):
        load_volume(tmp_path)


@pytest.mark.parametrize("marker", [0xC4, 0xD0, 0xDA, 0x01])
def test_a_marker_within_the_image_is_refused(marker: int) -> None:
    frame, image = flawless(library(1), FRAME)
    middle = len(frame) // 2

    with pytest.raises(CodestreamError, match="has a marker within its image"):
        check_lossless(frame[:middle] + bytes([0xFF, marker]) + frame[middle:], image)


def test_frames_whose_markers_are_damaged_are_refused() -> None:
    frame, image = flawless(library(1), FRAME)
    tables = frame.index(b"\xff\xc4")
    (length,) = struct.unpack_from(">H", frame, tables + 2)
    without_tables = frame[:tables] + frame[tables + 2 + length :]
    restarts = encode_lossless(FRAME, rows_between_restarts=5)
    broken = {
        "lacks a Huffman table": without_tables,
        "has a damaged Huffman table": frame[: tables + 5] + b"\xfe" + frame[tables + 6 :],
        "has no scan of one gray image": frame.replace(b"\xff\xda", b"\xff\xe5", 1),
        "has restarts out of order": restarts.replace(b"\xff\xd1", b"\xff\xd3", 1),
        "has restarts within a row": restarts.replace(struct.pack(">H", 5 * 64), struct.pack(">H", 5 * 64 - 1), 1),
    }
    for said, damaged in broken.items():
        with pytest.raises(CodestreamError, match=said):
            check_lossless(damaged, image)


# --- JPEG 2000 -------------------------------------------------------------------------------------------------------


def tiles(pixels: Image16) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True, tile_size=(32, 32), irreversible=False)
    return stream.getvalue()


def drop_last(pixels: Image16) -> bytes:
    frame = tiles(pixels)
    return frame[: frame.rindex(b"\xff\x90\0\x0a")] + b"\xff\xd9"


def drop_first(pixels: Image16) -> bytes:
    frame = tiles(pixels)
    first = frame.index(b"\xff\x90\0\x0a")
    return frame[:first] + frame[frame.index(b"\xff\x90\0\x0a", first + 2) :]


def cut_off(pixels: Image16) -> bytes:
    frame = tiles(pixels)
    return frame[: int(0.6 * len(frame))] + b"\xff\xd9"


def many(pixels: Image16) -> bytes:
    frame = bytearray(tiles(pixels))
    struct.pack_into(">2I", frame, 24, 1, 1)
    return bytes(frame)


@pytest.mark.parametrize(
    ("encode", "said"),
    [(drop_last, "lacks 1 of 4 tiles"), (drop_first, "lacks 1 of 4 tiles"), (cut_off, "cut off|made of tiles"),
     (many, "4,096 tiles, at most 1,024 are read")],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 2])
def test_jpeg_2000_with_tiles_amiss_is_refused(tmp_path: Path, encode: Encode, said: str, step: int) -> None:
    write_series(tmp_path, HU, syntax=uid_of("jpeg-2000-lossless"), encode=encode)

    with pytest.raises(DecodeError, match=rf"^1\.dcm: the JPEG 2000 lossless pixels are damaged \(.*({said})"):
        load_volume(tmp_path, step=step)


def test_jpeg_2000_in_tiles_is_read(tmp_path: Path) -> None:
    hu = np.full((12, 64, 64), 40, np.int16)  # Pillow encodes tiled pictures of 16 bits wrongly unless they are even
    write_series(tmp_path, hu, syntax=uid_of("jpeg-2000-lossless"), encode=tiles)

    np.testing.assert_array_equal(load_volume(tmp_path).array, hu)
