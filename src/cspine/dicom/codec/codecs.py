"""Transfer syntaxes and their decoders, all of which release the interpreter lock.

JPEG is decoded by libjpeg-turbo, which is more than twice as fast as the other lossless decoders of imagecodecs and
gives the same values. It does not report damage, so its scans are checked afterwards (`jpeg_integrity`). HTJ2K is
decoded by OpenJPEG, because imagecodecs' OpenJPH does not report damage. Damage that only changes coefficients of JPEG
2000 is not detected, since the format has no checksum.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, features
from pydicom.uid import UID

from cspine.dicom.codec.codestream import Codestream
from cspine.dicom.codec.jpeg import read_jpeg, scrub_jpeg
from cspine.dicom.codec.jpeg2000 import read_jpeg2000, scrub_jpeg2000
from cspine.dicom.codec.jpeg_integrity import check_lossless, check_sequential

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Codec:
    """The decoder of one transfer syntax.

    Attributes
    ----------
    name : str
        Name of the transfer syntax in messages.
    decode : callable
        ``decode(frame, out=None)`` returns (rows, columns) integers, written to `out` if it is given.
    shape : callable
        ``shape(frame)`` returns the `Codestream` that the frame declares; ValueError if it is damaged.
    scrub : callable
        ``scrub(frame)`` returns the frame without comments and without bytes after its end; ValueError as `shape`.
    check : callable or None
        ``check(frame, image)`` raises ValueError if the frame does not hold exactly the decoded image.
    reduce : callable or None
        ``reduce(frame, codestream, factor)`` decodes at a resolution reduced by a power of two.
    """

    name: str
    decode: Callable[..., Array]
    shape: Callable[[bytes], Codestream]
    scrub: Callable[[bytes], bytes]
    check: Callable[[bytes, Array], None] | None = None
    reduce: Callable[[bytes, Codestream, int], Array] | None = None


def _reduce_jpeg2000(frame: bytes, stream: Codestream, factor: int) -> Array:
    """Decode at reduced resolution: value n is the wavelet's low-pass around pixel ``n * factor``.

    Pillow scales samples to fill 16 bits and adds an offset to signed ones; both are reversed here.
    """
    with Image.open(io.BytesIO(frame), formats=("JPEG2000",)) as image:
        image.reduce = factor.bit_length() - 1  # type: ignore[method-assign, assignment]  # Pillow's own interface
        values = np.asarray(image)
    if values.ndim != 2 or values.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        raise ValueError(f"mode {image.mode}")
    samples: Array = np.right_shift(values, 8 * values.dtype.itemsize - stream.bits)
    return samples.astype(np.int32) - (1 << stream.bits - 1) if stream.signed else samples


_JPEG_MARKERS: Final = (read_jpeg, scrub_jpeg)
_JPEG8: Final = imagecodecs.jpeg8_decode
_REDUCE: Final = _reduce_jpeg2000 if features.check("jpg_2000") else None
_JPEG2000: Final = (imagecodecs.jpeg2k_decode, read_jpeg2000, scrub_jpeg2000, None, _REDUCE)

CODECS: Final[dict[str, Codec]] = {  # by UID of the transfer syntax
    "1.2.840.10008.1.2.4.50": Codec("JPEG baseline", _JPEG8, *_JPEG_MARKERS, check_sequential),
    "1.2.840.10008.1.2.4.51": Codec("JPEG extended", _JPEG8, *_JPEG_MARKERS, check_sequential),
    "1.2.840.10008.1.2.4.57": Codec("JPEG lossless", _JPEG8, *_JPEG_MARKERS, check_lossless),
    "1.2.840.10008.1.2.4.70": Codec("JPEG lossless SV1", _JPEG8, *_JPEG_MARKERS, check_lossless),
    "1.2.840.10008.1.2.4.80": Codec("JPEG-LS lossless", imagecodecs.jpegls_decode, *_JPEG_MARKERS),
    "1.2.840.10008.1.2.4.81": Codec("JPEG-LS near-lossless", imagecodecs.jpegls_decode, *_JPEG_MARKERS),
    "1.2.840.10008.1.2.4.90": Codec("JPEG 2000 lossless", *_JPEG2000),
    "1.2.840.10008.1.2.4.91": Codec("JPEG 2000", *_JPEG2000),
    "1.2.840.10008.1.2.4.201": Codec("HTJ2K lossless", *_JPEG2000),
    "1.2.840.10008.1.2.4.202": Codec("HTJ2K lossless RPCL", *_JPEG2000),
    "1.2.840.10008.1.2.4.203": Codec("HTJ2K", *_JPEG2000),
}

RLE: Final = "1.2.840.10008.1.2.5"
"""UID of RLE Lossless, which `rle` decodes."""

_UNREAD_NAMES: Final = {
    "1.2.840.10008.1.2.4.110": "JPEG XL lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
    "1.2.840.113619.5.2": "Implicit VR Big Endian DLX (GE private)",
}
"""Names of transfer syntaxes that pydicom's dictionary lacks."""

NIFTI: Final = "NIfTI"
"""Takes the place of the transfer syntax UID for slices of a NIfTI file."""


def transfer_syntax_name(uid: str) -> str:
    """Return a transfer syntax's short name for messages, or that of the DICOM dictionary."""
    if uid == NIFTI:
        return uid
    return CODECS[uid].name if uid in CODECS else _UNREAD_NAMES.get(uid, str(UID(uid).name))
