"""Every transfer syntax gives the voxels that were written, or an error that names the file and the codec."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID
from tests.support.codecs import SYNTAXES, Syntax, uid_of
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import DecodeError
from cspine.dicom import load_volume
from cspine.dicom.codec import codecs

HU = make_hu((14, 40, 48))
COMPRESSED = [syntax for syntax in SYNTAXES if syntax.encode is not None]
each_syntax = pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
each_compressed_syntax = pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.name)


@each_syntax
def test_voxels_are_those_written(tmp_path: Path, syntax: Syntax) -> None:
    write_series(tmp_path, HU, syntax=syntax.uid, encode=syntax.encode, change=syntax.change)

    volume = load_volume(tmp_path)

    assert np.abs(volume.array.astype(int) - HU).max() <= syntax.error


@each_syntax
def test_ranges_and_step_equal_cropping_the_complete_volume(tmp_path: Path, syntax: Syntax) -> None:
    write_series(tmp_path, HU, syntax=syntax.uid, encode=syntax.encode, change=syntax.change)
    full = load_volume(tmp_path)

    part = load_volume(tmp_path, rows=(5, 31), slices=(2, 11), step=3)

    np.testing.assert_array_equal(part.array, full.array[2:11:3, 5:31:3, ::3])
    np.testing.assert_allclose(part.affine @ [1, 2, 3, 1], full.affine @ [5, 11, 9, 1])


@each_compressed_syntax
def test_a_truncated_frame_is_named(tmp_path: Path, syntax: Syntax) -> None:
    assert syntax.encode is not None
    encode = syntax.encode
    write_series(
        tmp_path, HU, syntax=syntax.uid, encode=lambda a: encode(a)[: len(encode(a)) // 2], change=syntax.change
    )

    with pytest.raises(DecodeError, match=r"^\d+\.dcm: the .* pixels are damaged"):
        load_volume(tmp_path)


@each_compressed_syntax
def test_a_file_truncated_within_its_frame_is_named(tmp_path: Path, syntax: Syntax) -> None:
    paths = write_series(tmp_path, HU, syntax=syntax.uid, encode=syntax.encode, change=syntax.change)
    paths[4].write_bytes(paths[4].read_bytes()[:-200])

    with pytest.raises(DecodeError, match=rf"^{paths[4].name}: "):
        load_volume(tmp_path)


@pytest.mark.parametrize("interpretation", ["RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME1", ""])
@pytest.mark.parametrize("name", ["jpeg-lossless-sv1", "jpeg-2000-lossless", "explicit"])
def test_photometric_interpretation_is_ignored_for_gray_images(tmp_path: Path, name: str, interpretation: str) -> None:
    syntax = next(syntax for syntax in SYNTAXES if syntax.name == name)

    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.PhotometricInterpretation = interpretation
        return dataset

    write_series(tmp_path, HU, syntax=syntax.uid, encode=syntax.encode, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


@pytest.mark.parametrize("name", ["jpeg-lossless", "jpeg-ls", "jpeg-2000-lossless", "htj2k-lossless"])
def test_a_codestream_of_another_size_is_rejected_before_decoding(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    syntax = next(syntax for syntax in SYNTAXES if syntax.name == name)

    def inflated(pixels: npt.NDArray[np.uint16]) -> bytes:
        frame = bytearray(syntax.encode(pixels))  # type: ignore[misc]
        if name in {"jpeg-2000-lossless", "htj2k-lossless"}:
            struct.pack_into(">2I", frame, 8, 60_000, 60_000)
            struct.pack_into(">2I", frame, 24, 60_000, 60_000)  # in one tile
        else:
            marker = next(position for sof in (b"\xff\xc3", b"\xff\xf7") if (position := frame.find(sof)) > 0)
            struct.pack_into(">2H", frame, marker + 5, 60_000, 60_000)
        return bytes(frame)

    def decode(*_: Any, **__: Any) -> npt.NDArray[np.uint16]:
        raise AssertionError("was decoded")

    write_series(tmp_path, HU, syntax=syntax.uid, encode=inflated)
    codec = codecs.CODECS[syntax.uid]
    monkeypatch.setitem(codecs.CODECS, syntax.uid, replace(codec, decode=decode))

    with pytest.raises(DecodeError, match=r"holds 60000 x 60000 pixels where its header says 40 x 48"):
        load_volume(tmp_path)


def test_a_color_frame_with_a_gray_header_is_rejected(tmp_path: Path) -> None:
    def encode_color(pixels: npt.NDArray[np.uint16]) -> bytes:
        return bytes(
            imagecodecs.jpeg8_encode(np.repeat((pixels >> 4).astype(np.uint8)[..., None], 3, axis=2), level=90)
        )

    write_series(tmp_path, HU, syntax=uid_of("jpeg-baseline"), encode=encode_color)

    with pytest.raises(DecodeError, match="holds 3 colors where gray is declared"):
        load_volume(tmp_path)


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.840.10008.1.2.4.110", "JPEG XL lossless"),
        ("1.2.840.10008.1.2.8.1", "Deflated Image Frame"),
        ("1.2.840.113619.5.2", "Implicit VR Big Endian DLX"),
        ("1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed"),
        ("1.2.3.4.5", "1.2.3.4.5"),
    ],
)
def test_a_transfer_syntax_without_a_codec_is_named(tmp_path: Path, uid: str, name: str) -> None:
    for path in write_series(tmp_path, HU):
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = UID(uid)
        dataset.PixelData = encapsulate([b"\0\0\0\1"])
        dcmwrite(path, dataset, implicit_vr=False, little_endian=True, force_encoding=True)

    with pytest.raises(
        DecodeError, match=rf"^\d+\.dcm: transfer syntax {name}.* is not read; have the series exported"
    ):
        load_volume(tmp_path)


def _encoded(kind: str, stored: npt.NDArray[Any], bits: int) -> bytes:
    if kind == "htj2k-lossless":
        return bytes(imagecodecs.htj2k_encode(stored, reversible=True))
    return bytes(imagecodecs.jpeg2k_encode(stored, codecformat="J2K", level=0, reversible=True, bitspersample=bits))


@pytest.mark.parametrize("step", [2, 4, 8, 6])
@pytest.mark.parametrize(
    ("kind", "bits"), [("jpeg-2000-lossless", 16), ("jpeg-2000-lossless", 12), ("htj2k-lossless", 16)]
)
def test_jpeg_2000_at_reduced_resolution_keeps_positions(tmp_path: Path, kind: str, bits: int, step: int) -> None:
    j, i = np.mgrid[:96, :128].astype(float)
    slope = np.rint(300 + 5.0 * i + 7.0 * j).astype(np.int16)  # a low-pass leaves a slope where it is
    hu = np.repeat(slope[None], 12, axis=0)
    write_series(tmp_path, hu, syntax=uid_of(kind), encode=lambda a: _encoded(kind, a, bits))

    coarse = load_volume(tmp_path, step=step)
    lower = load_volume(tmp_path, step=step, rows=(step, 80))

    inside = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(coarse.array[inside], hu[::step, ::step, ::step][inside], atol=4)
    np.testing.assert_allclose(lower.array[inside], hu[::step, step:80:step, ::step][inside], atol=4)
    assert coarse.spacing == pytest.approx((3.0 * step, 2.0 * step, 2.0 * step))


@pytest.mark.parametrize("resolutions", [1, 2, 3])
def test_jpeg_2000_with_few_resolutions_is_reduced_as_far_as_possible(tmp_path: Path, resolutions: int) -> None:
    hu = np.full((12, 64, 64), 250, np.int16)

    def encode(pixels: npt.NDArray[np.uint16]) -> bytes:
        options = {"codecformat": "J2K", "level": 0, "reversible": True, "resolutions": resolutions}
        return bytes(imagecodecs.jpeg2k_encode(pixels, **options))  # type: ignore[arg-type]

    write_series(tmp_path, hu, syntax=uid_of("jpeg-2000-lossless"), encode=encode)

    np.testing.assert_array_equal(load_volume(tmp_path, step=8).array, hu[::8, ::8, ::8])


def test_jpeg_2000_with_signed_samples_is_reduced_to_the_same_values(tmp_path: Path) -> None:
    hu = np.full((12, 64, 64), -700, np.int16)

    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        return dataset

    def signed(pixels: npt.NDArray[np.uint16]) -> bytes:
        return _encoded("jpeg-2000-lossless", pixels.astype(np.int16) - 1024, 16)

    write_series(tmp_path, hu, syntax=uid_of("jpeg-2000-lossless"), encode=signed, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, hu)
    np.testing.assert_array_equal(load_volume(tmp_path, step=4).array, hu[::4, ::4, ::4])


def test_jpeg_2000_with_a_step_is_not_decoded_at_full_resolution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syntax = next(syntax for syntax in SYNTAXES if syntax.name == "jpeg-2000-lossless")
    write_series(tmp_path, HU, syntax=syntax.uid, encode=syntax.encode)
    codec = codecs.CODECS[syntax.uid]

    def decode(*_: Any, **__: Any) -> npt.NDArray[np.uint16]:
        raise AssertionError("was decoded at full resolution")

    monkeypatch.setitem(codecs.CODECS, syntax.uid, replace(codec, decode=decode))

    assert load_volume(tmp_path, step=4).array.shape == (4, 10, 12)


def test_a_damaged_frame_is_rejected_at_reduced_resolution(tmp_path: Path) -> None:
    syntax = next(syntax for syntax in SYNTAXES if syntax.name == "jpeg-2000-lossless")
    assert syntax.encode is not None
    encode = syntax.encode
    write_series(tmp_path, HU, syntax=syntax.uid, encode=lambda a: encode(a)[:150] + b"\xff\xd9")

    with pytest.raises(DecodeError, match="JPEG 2000 lossless pixels are damaged"):
        load_volume(tmp_path, step=4)


def test_deflated_pixels_are_inflated_up_to_the_declared_size(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU, syntax=uid_of("deflated"))
    data = paths[0].read_bytes()
    plain = zlib.decompress(_after_meta(data), -zlib.MAX_WBITS)
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = bomb.compress(plain + bytes(400 * 2**20)) + bomb.flush()
    paths[0].write_bytes(data[: len(data) - len(_after_meta(data))] + body)

    tracemalloc.start()
    load_volume(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 100 * 2**20


def _after_meta(data: bytes) -> bytes:
    """Return what follows the file meta group, whose length is its first element."""
    (length,) = struct.unpack_from("<I", data, 140)
    return data[144 + length :]


def test_the_rle_encoder_of_the_tests_is_decoded_by_imagecodecs() -> None:
    pixels = (HU[0] + 1024).astype(np.uint16)
    buffer = io.BytesIO(next(s.encode for s in SYNTAXES if s.name == "rle")(pixels))  # type: ignore[misc]
    plain = imagecodecs.dicomrle_decode(buffer.getvalue(), "<u2")
    np.testing.assert_array_equal(np.frombuffer(plain, "<u2").reshape(pixels.shape), pixels)


def test_a_codec_that_is_missing_is_named_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> npt.NDArray[np.uint16]:
        raise imagecodecs.DelayedImportError("jpegls_decode")

    syntax = next(syntax for syntax in SYNTAXES if syntax.name == "jpeg-ls")
    write_series(tmp_path, HU, syntax=syntax.uid, encode=syntax.encode)
    codec = codecs.CODECS[syntax.uid]
    monkeypatch.setitem(codecs.CODECS, syntax.uid, codecs.Codec(codec.name, missing, codec.shape, codec.scrub))

    with pytest.raises(DecodeError, match=r"^\d+\.dcm: the JPEG-LS lossless codec is missing; install"):
        load_volume(tmp_path)


@pytest.mark.parametrize("name", ["explicit", "deflated", "rle", "jpeg-lossless-sv1", "jpeg-2000-lossless"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated-zip"])
def test_a_zip_loads_as_its_folder(tmp_path: Path, name: str, compression: int) -> None:
    syntax = next(syntax for syntax in SYNTAXES if syntax.name == name)
    paths = write_series(tmp_path / "in", HU, syntax=syntax.uid, encode=syntax.encode)
    with zipfile.ZipFile(tmp_path / "study.zip", "w", compression) as archive:
        for path in paths:
            archive.write(path, f"a/b/{path.name}")

    np.testing.assert_array_equal(load_volume(tmp_path / "study.zip").array, HU)
    part = load_volume(tmp_path / "study.zip", rows=(4, 30), slices=(3, 9), step=2)
    np.testing.assert_array_equal(part.array, load_volume(tmp_path / "in", rows=(4, 30), slices=(3, 9), step=2).array)


def test_a_zip_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    archive = tmp_path / "study.zip"
    for number, hu in enumerate((HU, HU + 1)):
        folder = tmp_path / str(number)
        paths = write_series(folder, hu.astype(np.int16))
        with zipfile.ZipFile(tmp_path / "new.zip", "w") as new:
            for path in paths:
                new.write(path, path.name)
        (tmp_path / "new.zip").replace(archive)

        np.testing.assert_array_equal(load_volume(archive).array, hu)
