"""Stored pixel values to Hounsfield units, in place wherever 16 bits suffice."""

import sys
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.dicom.codec.header import PixelFormat

AIR_HU: Final = -1024
"""What padding and everything outside the scan becomes."""

Pixels = npt.NDArray[np.int16]

_LOWEST, _HIGHEST = -32768, 32767


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows and columns of an image are kept: a range of rows, and every `step`-th row and column."""

    start: int
    stop: int
    columns: int
    step: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that are left."""
        return len(range(self.start, self.stop, self.step)), len(range(0, self.columns, self.step))

    def cut(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of what is kept of a whole image."""
        return image[self.start : self.stop : self.step, :: self.step]

    @property
    def is_whole_rows(self) -> bool:
        """Whether what is kept lies in one piece."""
        return self.step == 1


def to_hu(stored: npt.NDArray[Any], pixels: PixelFormat, out: Pixels) -> None:
    """Write stored values as Hounsfield units, rounded and clipped to int16; padding becomes `AIR_HU`.

    Parameters
    ----------
    stored : (rows, columns) integers
        As the file holds them; may share `out`'s memory.
    pixels : PixelFormat
        What they mean.
    out : (rows, columns) int16
        Where to write.
    """
    if stored.dtype.itemsize > 2:
        _to_hu_wide(stored, pixels, out)
        return
    values = out.view(np.uint16)
    if stored.dtype.itemsize == 2:
        stored = stored.view(np.uint16)
    if not np.may_share_memory(stored, values):
        np.copyto(out if stored.dtype == np.int8 else values, stored)
    bits = min(pixels.bits_stored, 16)
    _fit(values, pixels, bits)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if pixels.signed else (0, (1 << bits) - 1)
    padded = _padding(out if pixels.signed else values, pixels, bits)
    if pixels.slope == 1.0 and pixels.intercept.is_integer() and abs(pixels.intercept) <= _HIGHEST:
        _shift(out, int(pixels.intercept), low, high, signed=pixels.signed)
    else:
        signed: npt.NDArray[Any] = out if pixels.signed else values
        np.copyto(out, _rescale(signed, pixels))
    if padded is not None:
        out[padded] = AIR_HU


def swap_bytes(values: npt.NDArray[Any], *, little_endian: bool) -> None:
    """Turn values read byte for byte from a file into this machine's order, in place."""
    if little_endian != (sys.byteorder == "little"):
        values.byteswap(inplace=True)


def _fit(values: npt.NDArray[np.uint16], pixels: PixelFormat, bits: int) -> None:
    """Drop what lies beside the stored bits, and carry the sign to the top."""
    if bits == 16:
        return
    if pixels.signed:
        values <<= 16 - bits
        signed = values.view(np.int16)
        signed >>= 16 - bits
    else:
        values &= (1 << bits) - 1


def _padding(values: npt.NDArray[Any], pixels: PixelFormat, bits: int) -> npt.NDArray[np.bool_] | None:
    """Return where no measurement stands.

    A padding that the stored bits cannot hold occurs nowhere: some writers put it there by habit.
    """
    if pixels.padding is None:
        return None
    value, limit = (_as_stored(value, bits, pixels) for value in pixels.padding)
    if value is None:
        return None
    other = value if limit is None else limit
    padded = values == value if other == value else (values >= min(value, other)) & (values <= max(value, other))
    return padded if padded.any() else None


def _as_stored(value: int, bits: int, pixels: PixelFormat) -> int | None:
    """Return the padding as a stored value; some writers give it unsigned beside signed pixels, or the other way."""
    around = 1 << pixels.bits_allocated
    if pixels.signed:
        stored, meant = range(-(1 << bits - 1), 1 << bits - 1), [value, value - (1 << bits), value - around]
    else:
        stored, meant = range(1 << bits), [value, value + around]
    return next((value for value in meant if value in stored), None)


def _shift(out: Pixels, intercept: int, low: int, high: int, *, signed: bool) -> None:
    """Add the intercept in 16 bits: what would leave them is clipped before, so that no sum can wrap around."""
    values: npt.NDArray[Any] = out if signed else out.view(np.uint16)
    if high + intercept > _HIGHEST:
        np.minimum(values, values.dtype.type(_HIGHEST - intercept), out=values)
    if low + intercept < _LOWEST:
        np.maximum(values, values.dtype.type(_LOWEST - intercept), out=values)
    if intercept:
        raw = out.view(np.uint16)
        raw += np.uint16(intercept & 0xFFFF)


def _to_hu_wide(stored: npt.NDArray[Any], pixels: PixelFormat, out: Pixels) -> None:
    """Do the same for values of more than 16 bits."""
    bits = pixels.bits_stored
    values = stored.astype(np.int64) & ((1 << bits) - 1)
    if pixels.signed:
        sign = 1 << (bits - 1)
        values = (values ^ sign) - sign
    padded = _padding(values, pixels, bits)
    np.copyto(out, _rescale(values, pixels))
    if padded is not None:
        out[padded] = AIR_HU


def _rescale(values: npt.NDArray[Any], pixels: PixelFormat) -> Pixels:
    """Apply slope and intercept, in integers where both are."""
    if _is_exact(pixels.slope) and _is_exact(pixels.intercept):
        hu: npt.NDArray[Any] = values.astype(np.int64) * int(pixels.slope) + int(pixels.intercept)
    else:
        with np.errstate(over="ignore"):  # an absurd slope: clipped below
            hu = np.rint(values * pixels.slope + pixels.intercept)
    result: Pixels = np.clip(hu, _LOWEST, _HIGHEST).astype(np.int16)
    return result


def _is_exact(number: float) -> bool:
    """Tell whether a number is an integer that 64 bits hold even after multiplying."""
    return number.is_integer() and abs(number) < 2**30
