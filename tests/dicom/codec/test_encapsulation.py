"""Encapsulated pixel data as writers lay it out: every layout that other readers read gives the same voxels."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000
from tests.support.codecs import SYNTAXES, Stored, Syntax
from tests.support.dicom import make_hu, write_enhanced, write_series

from cspine.core.errors import DecodeError
from cspine.dicom import load_volume
from cspine.dicom.codec.codestream import CodestreamError
from cspine.dicom.codec.encapsulation import encapsulate_frames, read_frames

HU = (make_hu((12, 20, 24)) + np.random.default_rng(2).integers(0, 90, (12, 20, 24))).astype(np.int16)
COMPRESSED = [
    s for s in SYNTAXES if s.name in {"rle", "jpeg-lossless-sv1", "jpeg-ls", "jpeg-2000-lossless", "htj2k-lossless"}
]
each_syntax = pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)

TAG = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
PADDING_ELEMENT = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0abcd"
JPEG_START, JPEG_2000_START, RLE_START = b"\xff\xd8\xff", b"\xff\x4f\xff\x51", struct.pack("<2I", 1, 64) + bytes(56)


def item(value: bytes, pad: bytes = b"\0") -> bytes:
    """Return an item that declares an odd length as it is, followed by a pad if there is one."""
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value + (pad if len(value) % 2 else b"")


def fragments(frame: bytes, pad: bytes = b"\0") -> bytes:
    parts = frame[:31], b"", frame[31:64], frame[64:]
    return b"".join(item(part, pad) for part in parts)


LAYOUTS: dict[str, Callable[[bytes], bytes]] = {
    "odd item, padded": lambda f: item(b"") + item(f) + DELIMITER,
    "odd item, padded by a blank": lambda f: item(b"") + item(f, b" ") + DELIMITER,
    "odd item, not padded": lambda f: item(b"") + item(f, b"") + DELIMITER,
    "no delimiter": lambda f: item(b"") + item(f),
    "no delimiter, not padded": lambda f: item(b"") + item(f, b""),
    "no delimiter, zeros fill a block": lambda f: item(b"") + item(f) + bytes(511),
    "no delimiter, an element follows": lambda f: item(b"") + item(f) + PADDING_ELEMENT,
    "bytes after the delimiter": lambda f: item(b"") + item(f) + DELIMITER + b"anything at all",
    "an element after the delimiter": lambda f: item(b"") + item(f) + DELIMITER + PADDING_ELEMENT,
    "odd table": lambda f: item(b"\0\0\0\0\0") + item(f) + DELIMITER,
    "odd table, not padded": lambda f: item(b"\0\0\0\0\0", b"") + item(f) + DELIMITER,
    "wrong table": lambda f: item(struct.pack("<2I", 0, 77)) + item(f) + DELIMITER,
    "no table": lambda f: item(f) + DELIMITER,
    "fragments": lambda f: item(b"") + fragments(f) + DELIMITER,
    "fragments, not padded": lambda f: item(b"") + fragments(f, b"") + DELIMITER,
}


def rewrite(path: Path, layout: Callable[[bytes], bytes]) -> None:
    """Replace the pixel data of a file with one frame."""
    data = path.read_bytes()
    (frame,) = read_frames(dcmread(path).PixelData, 1)
    path.write_bytes(data[: data.index(TAG) + len(TAG)] + layout(frame))


@each_syntax
def test_every_layout_of_one_frame_gives_its_pixels(tmp_path: Path, syntax: Syntax) -> None:
    for name, layout in LAYOUTS.items():
        paths = write_series(tmp_path / name, HU, syntax=syntax.uid, encode=syntax.encode)
        for path in paths:
            rewrite(path, layout)

        np.testing.assert_array_equal(load_volume(tmp_path / name).array, HU, err_msg=name)


FRAME_LAYOUTS: dict[str, Callable[[list[bytes]], bytes]] = {
    "odd items, not padded": lambda frames: item(b"") + b"".join(item(f, b"") for f in frames),
    "items without bytes": lambda frames: item(b"") + b"".join(item(f) + item(b"") for f in frames) + DELIMITER,
    "wrong table": lambda frames: item(struct.pack("<12I", *range(12))) + b"".join(map(item, frames)) + DELIMITER,
    "table of too few": lambda frames: item(bytes(4)) + b"".join(map(item, frames)) + DELIMITER,
    "no table": lambda frames: b"".join(map(item, frames)) + DELIMITER,
}


@each_syntax
def test_every_layout_of_many_frames_gives_their_pixels(tmp_path: Path, syntax: Syntax) -> None:
    path = write_enhanced(tmp_path / "e.dcm", HU, syntax=syntax.uid, encode=syntax.encode)
    data = path.read_bytes()
    frames = read_frames(dcmread(path).PixelData, 12)
    layouts = dict(FRAME_LAYOUTS)
    if syntax.name != "rle":  # a fragment of which does not show that it begins a frame
        layouts["fragments"] = lambda frames: item(b"") + b"".join(map(fragments, frames)) + DELIMITER
        layouts["fragments, wrong table"] = lambda frames: (
            item(struct.pack("<12I", *range(0, 24, 2))) + b"".join(map(fragments, frames)) + DELIMITER
        )
    for name, layout in layouts.items():
        path.write_bytes(data[: data.index(TAG) + len(TAG)] + layout(frames))

        np.testing.assert_array_equal(load_volume(path).array, HU, err_msg=name)


def test_frames_with_an_extended_offset_table_are_read(tmp_path: Path) -> None:
    syntax = next(s for s in COMPRESSED if s.name == "jpeg-ls")

    def extend(dataset: Dataset) -> None:
        dataset.ExtendedOffsetTable = dataset.ExtendedOffsetTableLengths = bytes(8 * 12)

    path = write_enhanced(tmp_path / "e.dcm", HU, syntax=syntax.uid, encode=syntax.encode, change=extend)

    np.testing.assert_array_equal(load_volume(path).array, HU)


def followed_by(rest: bytes, syntax: Syntax) -> Callable[[Stored], bytes]:
    encode = syntax.encode
    assert encode is not None
    return lambda pixels: encode(pixels) + rest


@pytest.mark.parametrize("rest", [b"\0" * 200, b"more than the sixty-four bytes that were once allowed " * 4])
def test_bytes_after_the_end_of_a_frame_are_ignored(tmp_path: Path, rest: bytes) -> None:
    for syntax in COMPRESSED:
        if syntax.name == "rle" and rest.strip(b"\0"):  # runs that would go on are damage
            continue
        write_series(tmp_path / syntax.name, HU, syntax=syntax.uid, encode=followed_by(rest, syntax))

        np.testing.assert_array_equal(load_volume(tmp_path / syntax.name).array, HU, err_msg=syntax.name)


def test_runs_that_go_on_after_the_image_are_damage(tmp_path: Path) -> None:
    (rle,) = [syntax for syntax in COMPRESSED if syntax.name == "rle"]
    write_series(tmp_path, HU, syntax=rle.uid, encode=followed_by(b"\x02abc", rle))

    with pytest.raises(DecodeError, match="the RLE Lossless pixels are damaged"):
        load_volume(tmp_path)


@pytest.mark.parametrize(
    ("data", "n_frames", "message"),
    [
        (b"", 1, "cut off"),
        (item(b"") + item(b"abcd")[:-1], 1, "cut off"),
        (item(b"") + item(JPEG_START + bytes(9)) + b"\xfe\xff\x00", 1, "cut off"),
        (bytes(40), 1, "not held in items"),
        (item(b"") + item(b"ab") + b"another element", 1, "not held in items"),
        (item(b"") + item(b"abc") + b"xyz" + DELIMITER, 1, "not held in items"),
        (item(b"") + 2 * item(JPEG_START + b"\0") + DELIMITER, 1, "2 frames where its header says 1"),
        (item(b"") + 3 * item(RLE_START) + DELIMITER, 2, "3 frames where its header says 2"),
        (item(b"") + 3 * item(b"abcd") + DELIMITER, 2, "3 fragments of 2 frames, without a valid table"),
        (item(struct.pack("<2I", 12, 24)) + 3 * item(b"abcd"), 2, "3 fragments of 2 frames, without a valid table"),
    ],
)
def test_other_data_are_rejected(data: bytes, n_frames: int, message: str) -> None:
    with pytest.raises(CodestreamError, match=message):
        read_frames(data, n_frames)


def test_fragments_are_joined_by_their_first_bytes_and_otherwise_by_the_table() -> None:
    one, two = JPEG_2000_START + b"one", JPEG_2000_START + b"two"
    parts = [one, b"ab", two, b"cd", b"ef"]
    encoded = b"".join(map(item, parts))
    right, wrong = struct.pack("<2I", 0, 26), struct.pack("<2I", 0, 16)

    assert read_frames(item(b"") + encoded, 2) == [one + b"ab", two + b"cdef"]
    assert read_frames(item(wrong) + encoded, 2) == [one + b"ab", two + b"cdef"]
    blank = item(right) + item(b"1234567") + item(b"ab") + item(b"890") + item(b"cd")
    assert read_frames(blank, 2) == [b"1234567ab", b"890cd"]


@pytest.mark.parametrize("n_frames", [1, 3])
def test_frames_are_encapsulated_in_even_items_and_read_back(n_frames: int) -> None:
    frames = [JPEG_2000_START + bytes([number] * number) for number in range(1, n_frames + 1)]

    data = encapsulate_frames(frames)

    assert [frame.rstrip(b"\0") for frame in read_frames(data, n_frames)] == frames
    assert all(len(frame) % 2 == 0 for frame in read_frames(data, n_frames))


@pytest.mark.real_data
def test_a_real_series_of_odd_items_equals_simpleitk(real_data: Path) -> None:
    import SimpleITK as sitk  # noqa: N813 - its own custom

    (folder,) = [path for path in (real_data / "weasis-rt").iterdir() if path.is_dir()]
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(list(files))

    volume = load_volume(folder)

    assert any(len(read_frames(dcmread(path).PixelData, 1)[0]) % 2 for path in folder.iterdir())
    assert dcmread(next(folder.iterdir())).file_meta.TransferSyntaxUID == JPEG2000
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose((volume.affine @ [5, 6, 7, 1])[:3], image.TransformIndexToPhysicalPoint((7, 6, 5)))
