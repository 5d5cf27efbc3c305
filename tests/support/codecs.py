"""The transfer syntaxes of CT, each with an encoder for tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.encoders.native import _encode_frame
from pydicom.uid import UID

Stored = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Syntax:
    """A transfer syntax with its encoder of frames; `error` is the largest error of a lossy one in HU."""

    name: str
    uid: str
    encode: Callable[[Stored], bytes] | None = None
    error: int = 0

    def change(self, dataset: Dataset, _: int) -> Dataset:
        """Adapt the data set of a slice to the transfer syntax."""
        if self.uid == "1.2.840.10008.1.2.2":
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        if self.name in {"jpeg-baseline", "jpeg-extended"}:
            bits = 8 if self.name == "jpeg-baseline" else 12
            dataset.BitsStored, dataset.HighBit = bits, bits - 1
            dataset.BitsAllocated = 8 if bits == 8 else 16
            dataset.RescaleSlope = 16 if bits == 8 else 1
        return dataset


def _lossless_jpeg(predictor: int) -> Callable[[Stored], bytes]:
    return lambda a: bytes(imagecodecs.jpeg8_encode(a, lossless=True, predictor=predictor, bitspersample=16))


def _jpeg_2000(**options: Any) -> Callable[[Stored], bytes]:
    return lambda a: bytes(imagecodecs.jpeg2k_encode(a, codecformat="J2K", **options))


def _rle(pixels: Stored) -> bytes:
    runner = _EncodeRunner(pixels)
    return bytes(_encode_frame(pixels.astype("<u2").tobytes(), runner))  # type: ignore[arg-type]


class _EncodeRunner:
    """The attributes of an image that pydicom's run-length encoder reads."""

    def __init__(self, pixels: Stored) -> None:
        self.rows, self.columns = pixels.shape
        self.samples_per_pixel, self.bits_allocated, self.photometric_interpretation = 1, 16, "MONOCHROME2"
        self._options = {"byteorder": "<"}

    def get_option(self, name: str, default: object = None) -> object:
        return self._options.get(name, default)


SYNTAXES = (
    Syntax("implicit", "1.2.840.10008.1.2"),
    Syntax("explicit", "1.2.840.10008.1.2.1"),
    Syntax("deflated", "1.2.840.10008.1.2.1.99"),
    Syntax("big-endian", "1.2.840.10008.1.2.2"),
    Syntax("rle", "1.2.840.10008.1.2.5", _rle),
    Syntax("jpeg-lossless", "1.2.840.10008.1.2.4.57", _lossless_jpeg(6)),
    Syntax("jpeg-lossless-sv1", "1.2.840.10008.1.2.4.70", _lossless_jpeg(1)),
    Syntax("jpeg-ls", "1.2.840.10008.1.2.4.80", lambda a: bytes(imagecodecs.jpegls_encode(a))),
    Syntax("jpeg-ls-near", "1.2.840.10008.1.2.4.81", lambda a: bytes(imagecodecs.jpegls_encode(a, level=2)), error=2),
    Syntax("jpeg-2000-lossless", "1.2.840.10008.1.2.4.90", _jpeg_2000(level=0, reversible=True)),
    Syntax("jpeg-2000", "1.2.840.10008.1.2.4.91", _jpeg_2000(level=80, reversible=False), error=40),
    Syntax("htj2k-lossless", "1.2.840.10008.1.2.4.201", lambda a: bytes(imagecodecs.htj2k_encode(a, reversible=True))),
    Syntax("htj2k", "1.2.840.10008.1.2.4.203", lambda a: bytes(imagecodecs.htj2k_encode(a, reversible=True))),
    Syntax("jpeg-baseline", "1.2.840.10008.1.2.4.50",
           lambda a: bytes(imagecodecs.jpeg8_encode((a >> 4).astype(np.uint8), level=98)), error=80),
    Syntax("jpeg-extended", "1.2.840.10008.1.2.4.51",
           lambda a: bytes(imagecodecs.jpeg8_encode(a, level=98, bitspersample=12)), error=8),
)  # fmt: skip

LOSSLESS = tuple(syntax for syntax in SYNTAXES if syntax.error == 0)


def uid_of(name: str) -> UID:
    """Return the UID of a syntax by its name in `SYNTAXES`."""
    return UID(next(syntax.uid for syntax in SYNTAXES if syntax.name == name))
