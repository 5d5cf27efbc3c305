"""Conversion to Hounsfield units: the fast 16-bit arithmetic agrees with the standard's definition."""

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cspine.dicom.codec.pixel_format import PixelFormat
from cspine.dicom.codec.pixels import to_hu
from cspine.dicom.hounsfield import AIR_HU


def by_definition(stored: npt.NDArray[Any], pixels: PixelFormat) -> npt.NDArray[np.int16]:
    """PS3.3 C.11.1.1.2 and C.7.5.1.1.2, value by value and without regard to speed."""
    bits = min(pixels.bits_stored, 8 * stored.dtype.itemsize)
    mask = (1 << bits) - 1

    def value(raw: int) -> int:
        raw &= mask
        return raw - (1 << bits) if pixels.signed and raw >> (bits - 1) else raw

    hu, padding = np.empty(stored.shape, np.int16), padding_by_definition(pixels, bits)
    for position, raw in np.ndenumerate(stored):
        number = value(int(raw))
        scaled = float(number) * pixels.slope + pixels.intercept
        hu[position] = np.clip(np.rint(scaled), -32768, 32767)
        if padding is not None and min(padding) <= number <= max(padding):
            hu[position] = AIR_HU
    return hu


def padding_by_definition(pixels: PixelFormat, bits: int) -> tuple[int, ...] | None:
    """Return the stored values of padding; None if the stored bits cannot represent it."""
    numbers = range(-(1 << bits - 1), 1 << bits - 1) if pixels.signed else range(1 << bits)
    limits: list[int | None] = []
    for limit in pixels.padding or ():
        patterns = [limit, limit - (1 << bits), limit - (1 << pixels.bits_allocated)]
        if not pixels.signed:
            patterns = [limit, limit + (1 << pixels.bits_allocated)]
        matches = [number for number in patterns if number in numbers]
        limits.append(matches[0] if matches else None)
    if not limits or limits[0] is None:
        return None
    return tuple(number for number in limits if number is not None)


formats = st.builds(
    PixelFormat,
    bits_allocated=st.just(16),
    bits_stored=st.integers(8, 16),
    high_bit=st.just(15),
    signed=st.booleans(),
    slope=st.sampled_from([1.0, 1.0, 2.0, 0.5, 1.25, -1.0, 0.0, 1e300]),
    intercept=st.sampled_from(
        [0.0, -1024.0, -1000.0, 1024.0, -32768.0, 32767.0, -40000.0, 70000.0, 0.5, -1023.5, 1e300]
    ),
    padding=st.none() | st.tuples(st.integers(-32768, 65535), st.integers(-32768, 65535)) | st.just((63536, 63536)),
)


@settings(max_examples=300, deadline=None)
@given(
    stored=hnp.arrays(np.uint16, (3, 5), elements=st.sampled_from([*range(0, 65536, 4099), 1, 32767, 32768, 65535])),
    pixels=formats,
)
def test_16_bit_values_match_the_definition(stored: npt.NDArray[np.uint16], pixels: PixelFormat) -> None:
    out = np.empty(stored.shape, np.int16)

    to_hu(stored, pixels, out)

    np.testing.assert_array_equal(out, by_definition(stored, pixels))


@settings(max_examples=100, deadline=None)
@given(stored=hnp.arrays(np.uint8, (3, 5)), pixels=formats)
def test_8_bit_values_match_the_definition(stored: npt.NDArray[np.uint8], pixels: PixelFormat) -> None:
    pixels = PixelFormat(8, 8, 7, pixels.signed, pixels.slope, pixels.intercept, pixels.padding)
    out = np.empty(stored.shape, np.int16)

    to_hu(stored, pixels, out)

    np.testing.assert_array_equal(out, by_definition(stored, pixels))


@settings(max_examples=100, deadline=None)
@given(stored=hnp.arrays(np.uint32, (3, 5)), pixels=formats, bits=st.integers(17, 32))
def test_32_bit_values_match_the_definition(stored: npt.NDArray[np.uint32], pixels: PixelFormat, bits: int) -> None:
    pixels = PixelFormat(32, bits, bits - 1, pixels.signed, pixels.slope, pixels.intercept, pixels.padding)
    out = np.empty(stored.shape, np.int16)

    to_hu(stored, pixels, out)

    np.testing.assert_array_equal(out, by_definition(stored, pixels))


def test_values_are_converted_in_place() -> None:
    out = np.array([[0, 1024, 5119]], np.uint16).view(np.int16)

    to_hu(out.view(np.uint16), PixelFormat(16, 16, 15, signed=False, slope=1.0, intercept=-1024.0, padding=None), out)

    assert out.tolist() == [[-1024, 0, 4095]]
