"""How the pixel values of an image are stored."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How pixel values are stored, and how they convert to Hounsfield units.

    Attributes
    ----------
    bits_allocated, bits_stored : int
        Bits of memory per pixel, and bits of these that hold the value.
    high_bit : int
        Position of the highest stored bit within the allocated ones, counted from 0.
    signed : bool
        Whether stored values are two's complement.
    slope, intercept : float
        HU is ``stored * slope + intercept``.
    padding : (int, int) or None
        First and last stored value of padding pixels.
    """

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    slope: float
    intercept: float
    padding: tuple[int, int] | None

    @property
    def shift(self) -> int:
        """Number of allocated bits below the stored ones; retired in DICOM, but present in old files."""
        return self.high_bit + 1 - self.bits_stored
