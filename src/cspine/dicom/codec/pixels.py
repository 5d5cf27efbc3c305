"""Convert stored pixel values to Hounsfield units, in place wherever 16 bits suffice."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Bools, HounsfieldUnits
from cspine.dicom.codec.pixel_format import PixelFormat
from cspine.dicom.hounsfield import AIR_HU

_MIN_HU, _MAX_HU = -32768, 32767


@dataclass(frozen=True, slots=True)
class PixelRegion:
    """The rows and columns of an image to keep.

    Attributes
    ----------
    start, stop : int
        First row, and the row after the last one.
    columns : int
        Number of columns of the image.
    step : int
        Keep every `step`-th row and column.
    """

    start: int
    stop: int
    columns: int
    step: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns kept."""
        return len(range(self.start, self.stop, self.step)), len(range(0, self.columns, self.step))

    def crop(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of the kept rows and columns of a complete image."""
        return image[self.start : self.stop : self.step, :: self.step]

    @property
    def is_contiguous(self) -> bool:
        """Whether the kept rows are adjacent and complete, so that they are one block of memory."""
        return self.step == 1


def to_hu(stored: npt.NDArray[Any], pixels: PixelFormat, out: HounsfieldUnits) -> bool:
    """Convert stored values to Hounsfield units, rounded and clipped to int16; padding becomes `AIR_HU`.

    The rescaling is that of PS3.3, section C.11.1.1.2.

    Parameters
    ----------
    stored : (rows, columns) integer array
        Values as stored in the file; may share memory with `out`.
    pixels : PixelFormat
        How they are stored, and their slope, intercept and padding.
    out : (rows, columns) int16 array
        Array to write to.

    Returns
    -------
    bool
        Whether bits above the stored ones are set: those of an overlay, or of values that need more bits than the
        header declares. The standard has them cleared (PS3.5, section 8.1.1).
    """
    if stored.dtype.itemsize > 2:
        _to_hu_wide(stored, pixels, out)
        return False
    values = out.view(np.uint16)
    if stored.dtype.itemsize == 2:
        stored = stored.view(np.uint16)
    if not np.may_share_memory(stored, values):
        np.copyto(out if stored.dtype == np.int8 else values, stored)
    bits = min(pixels.bits_stored, 16)
    has_higher_bits = stored.dtype.itemsize == 2 and _has_higher_bits(values, pixels, bits)
    _mask_stored_bits(values, pixels, bits)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if pixels.signed else (0, (1 << bits) - 1)
    padded = _padding_mask(out if pixels.signed else values, pixels, bits)
    if pixels.slope == 1.0 and pixels.intercept.is_integer() and abs(pixels.intercept) <= _MAX_HU:
        _add_intercept(out, int(pixels.intercept), low, high, signed=pixels.signed)
    else:
        signed: npt.NDArray[Any] = out if pixels.signed else values
        np.copyto(out, _rescale(signed, pixels))
    if padded is not None:
        out[padded] = AIR_HU
    return has_higher_bits


def swap_bytes(values: npt.NDArray[Any], *, little_endian: bool) -> None:
    """Convert values from the byte order of a file to the machine's, in place."""
    if little_endian != (sys.byteorder == "little"):
        values.byteswap(inplace=True)


def _has_higher_bits(values: npt.NDArray[np.uint16], pixels: PixelFormat, bits: int) -> bool:
    """Return whether bits above the stored ones are set other than as the sign."""
    if bits == 16 or int(values.max(initial=0)) >> bits == 0:
        return False
    if not pixels.signed:
        return True
    is_number = (values >> bits == 0) | (values >> (bits - 1) == (1 << (17 - bits)) - 1)
    return not bool(is_number.all())


def _mask_stored_bits(values: npt.NDArray[np.uint16], pixels: PixelFormat, bits: int) -> None:
    """Clear the bits above the stored ones, or fill them with the sign."""
    if bits == 16:
        return
    if pixels.signed:
        values <<= 16 - bits
        signed = values.view(np.int16)
        signed >>= 16 - bits
    else:
        values &= (1 << bits) - 1


def _padding_mask(values: npt.NDArray[Any], pixels: PixelFormat, bits: int) -> Bools | None:
    """Return a mask of padding pixels; None if there are none.

    A padding value that the stored bits cannot represent is ignored: some writers set it by habit.
    """
    if pixels.padding is None:
        return None
    value, limit = (_as_stored(value, bits, pixels) for value in pixels.padding)
    if value is None:
        return None
    other = value if limit is None else limit
    padded = values == value if other == value else (values >= min(value, other)) & (values <= max(value, other))
    return padded if padded.any() else None


def padding_range_hu(pixels: PixelFormat) -> tuple[float, float] | None:
    """Return the lowest and the highest Hounsfield units that padding hides; None if it hides nothing.

    Parameters
    ----------
    pixels : PixelFormat
        How values are stored, and their slope, intercept and padding.

    >>> padding_range_hu(PixelFormat(16, 12, 11, False, 1.0, -1024.0, (0, 0)))
    (-1024.0, -1024.0)
    """
    if pixels.padding is None:
        return None
    value, limit = (_as_stored(value, min(pixels.bits_stored, 32), pixels) for value in pixels.padding)
    if value is None:
        return None
    ends = [stored * pixels.slope + pixels.intercept for stored in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(value: int, bits: int, pixels: PixelFormat) -> int | None:
    """Return the padding as a stored value; some writers give it unsigned for signed pixels, or vice versa."""
    modulus = 1 << pixels.bits_allocated
    if pixels.signed:
        stored, candidates = range(-(1 << bits - 1), 1 << bits - 1), [value, value - (1 << bits), value - modulus]
    else:
        stored, candidates = range(1 << bits), [value, value + modulus]
    return next((candidate for candidate in candidates if candidate in stored), None)


def _add_intercept(out: HounsfieldUnits, intercept: int, low: int, high: int, *, signed: bool) -> None:
    """Add the intercept in 16 bits; values are clipped first, so that no sum overflows."""
    values: npt.NDArray[Any] = out if signed else out.view(np.uint16)
    if high + intercept > _MAX_HU:
        np.minimum(values, values.dtype.type(_MAX_HU - intercept), out=values)
    if low + intercept < _MIN_HU:
        np.maximum(values, values.dtype.type(_MIN_HU - intercept), out=values)
    if intercept:
        raw = out.view(np.uint16)
        raw += np.uint16(intercept & 0xFFFF)


def _to_hu_wide(stored: npt.NDArray[Any], pixels: PixelFormat, out: HounsfieldUnits) -> None:
    """Convert values of more than 16 bits, as `to_hu` does."""
    bits = pixels.bits_stored
    values = stored.astype(np.int64) & ((1 << bits) - 1)
    if pixels.signed:
        sign = 1 << (bits - 1)
        values = (values ^ sign) - sign
    padded = _padding_mask(values, pixels, bits)
    np.copyto(out, _rescale(values, pixels))
    if padded is not None:
        out[padded] = AIR_HU


def _rescale(values: npt.NDArray[Any], pixels: PixelFormat) -> HounsfieldUnits:
    """Apply slope and intercept, in integer arithmetic if both are integers."""
    if _is_exact_integer(pixels.slope) and _is_exact_integer(pixels.intercept):
        hu: npt.NDArray[Any] = values.astype(np.int64) * int(pixels.slope) + int(pixels.intercept)
    else:
        with np.errstate(over="ignore"):  # a slope that overflows is clipped below
            hu = np.rint(values * pixels.slope + pixels.intercept)
    result: HounsfieldUnits = np.clip(hu, _MIN_HU, _MAX_HU).astype(np.int16)
    return result


def _is_exact_integer(number: float) -> bool:
    """Return whether a number is an integer whose product with 32-bit values fits 64 bits."""
    return number.is_integer() and abs(number) < 2**30
