"""Where codestream and header disagree, the codestream takes precedence, or the file is rejected."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from tests.support.codecs import SYNTAXES, uid_of
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import DecodeError
from cspine.dicom import load_volume

HU = make_hu((12, 24, 32))
Image16 = npt.NDArray[np.uint16]
WIDE_SYNTAXES = [syntax for syntax in SYNTAXES if syntax.name in {"jpeg-lossless-sv1", "jpeg-ls", "jpeg-2000-lossless"}]
each_wide_syntax = pytest.mark.parametrize("syntax", WIDE_SYNTAXES, ids=lambda syntax: syntax.name)


def declare(bits: int, *, signed: bool = False, **changes: Any) -> Callable[[Dataset, int], Dataset]:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        return dataset

    return change


@each_wide_syntax
def test_values_with_more_bits_than_declared_are_kept(tmp_path: Path, syntax: Any) -> None:
    metal = np.where(HU == 600, 9000, HU).astype(np.int16)
    write_series(tmp_path, metal, syntax=syntax.uid, encode=syntax.encode, change=declare(12))

    np.testing.assert_array_equal(load_volume(tmp_path).array, metal)


@each_wide_syntax
@pytest.mark.parametrize("mask", [0xFFFF, 0x0FFF], ids=["all bits", "stored bits"])
def test_twos_complement_is_read_in_either_width(tmp_path: Path, syntax: Any, mask: int) -> None:
    hu = np.clip(HU, -1000, 1200).astype(np.int16)

    def encode(pixels: Image16) -> bytes:
        return bytes(syntax.encode((pixels - np.uint16(1024)) & np.uint16(mask)))

    write_series(tmp_path, hu, syntax=syntax.uid, encode=encode, change=declare(12, signed=True, RescaleIntercept=0))

    np.testing.assert_array_equal(load_volume(tmp_path).array, hu)


@each_wide_syntax
def test_signed_values_that_exceed_their_bits_are_rejected(tmp_path: Path, syntax: Any) -> None:
    metal = np.where(HU == 600, 9000, HU).astype(np.int16)

    def encode(pixels: Image16) -> bytes:
        return bytes(syntax.encode(pixels - np.uint16(1024)))

    write_series(tmp_path, metal, syntax=syntax.uid, encode=encode, change=declare(12, signed=True))

    with pytest.raises(DecodeError, match=r"values of 16 bits where its header says 12"):
        load_volume(tmp_path)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(("kind", "scale"), [(np.int16, 1), (np.int8, 16)], ids=["16 bits", "8 bits"])
def test_jpeg_2000_sign_is_that_of_the_codestream(tmp_path: Path, declared: bool, kind: Any, scale: int) -> None:
    limits = np.iinfo(kind)
    hu = (HU // scale * scale).clip(limits.min * scale, limits.max * scale).astype(np.int16)

    def encode(pixels: Image16) -> bytes:
        signed = ((pixels.astype(int) - 1024) // scale).astype(kind)
        return bytes(imagecodecs.jpeg2k_encode(signed, codecformat="J2K", level=0, reversible=True))

    change = declare(16, signed=declared, RescaleIntercept=0, RescaleSlope=scale)
    write_series(tmp_path, hu, syntax=uid_of("jpeg-2000-lossless"), encode=encode, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, hu)
    np.testing.assert_array_equal(load_volume(tmp_path, step=2).array.shape, (6, 12, 16))


@pytest.mark.parametrize("name", ["explicit", "rle", "jpeg-lossless", "jpeg-2000-lossless"])
def test_stored_bits_above_bit_0_are_shifted_down(tmp_path: Path, name: str) -> None:
    syntax = next(syntax for syntax in SYNTAXES if syntax.name == name)
    encode = syntax.encode

    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.BitsStored, dataset.HighBit = 12, 15
        if encode is None:
            dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") << 4).astype("<u2").tobytes()
        return dataset

    shifted = None if encode is None else lambda a: encode(a << np.uint16(4))
    write_series(tmp_path, HU, syntax=syntax.uid, encode=shifted, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_stored_bits_at_bit_0_of_a_codestream_are_not_shifted(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.BitsStored, dataset.HighBit = 12, 15
        return dataset

    def encode(pixels: Image16) -> bytes:
        return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=12))

    write_series(tmp_path, HU, syntax=uid_of("jpeg-lossless-sv1"), encode=encode, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def duplicate_pixels(dataset: Dataset, _: int) -> Dataset:
    dataset.PixelData += dataset.PixelData
    return dataset


def declare_half_the_bits(dataset: Dataset, _: int) -> Dataset:
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    return dataset


@pytest.mark.parametrize("change", [duplicate_pixels, declare_half_the_bits])
@pytest.mark.parametrize("name", ["explicit", "deflated"])
def test_more_pixels_than_the_header_describes_are_rejected(tmp_path: Path, name: str, change: Any) -> None:
    write_series(tmp_path, make_hu((12, 32, 40)), syntax=uid_of(name), change=change)

    with pytest.raises(DecodeError, match=r"^1\.dcm: holds [\d,]+ bytes of pixels where its header describes [\d,]+;"):
        load_volume(tmp_path)


def test_trailing_bytes_that_fill_a_block_are_ignored(tmp_path: Path) -> None:
    def fill(dataset: Dataset, _: int) -> Dataset:
        dataset.PixelData += bytes(510)
        return dataset

    write_series(tmp_path, HU, change=fill)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


@pytest.mark.parametrize("padding", [63536, 0x1830])
def test_padding_that_the_stored_bits_cannot_represent_is_ignored(tmp_path: Path, padding: int) -> None:
    hu = np.where(HU == 600, (padding & 0x0FFF) - 1024, HU).astype(np.int16)

    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset[0x00280120] = DataElement(0x00280120, "US", padding)
        return dataset

    write_series(tmp_path, hu, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, hu)
