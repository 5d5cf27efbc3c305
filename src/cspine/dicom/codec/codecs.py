"""Transfer syntaxes and the decoders that read them; all of them let other threads run.

JPEG is decoded by libjpeg-turbo, which is more than twice as fast as the other lossless decoders of imagecodecs and
equal to them bit for bit; but it says nothing of damage, so its scans are accounted for afterwards. HTJ2K is decoded
by OpenJPEG, because imagecodecs' OpenJPH reports no damage. What only changes coefficients of JPEG 2000 is not found:
the format has no checksum.
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
from cspine.dicom.codec.jpeg import read_jpeg
from cspine.dicom.codec.jpeg2000 import read_jpeg2000
from cspine.dicom.codec.jpeg_integrity import check_lossless, check_sequential

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Codec:
    """How frames of one transfer syntax are read.

    Attributes
    ----------
    name : str
        What messages call it.
    decode : callable
        ``decode(frame, out=None)`` gives (rows, columns) integers, in `out` where that is given and fits.
    shape : callable
        Reads the frame's own account of its shape; ValueError where it is damaged.
    check : callable or None
        ``check(frame, image)`` raises ValueError where the decoded image is not all that the frame holds.
    reduce : callable or None
        ``reduce(frame, codestream, factor)`` decodes at a fraction of the resolution.
    """

    name: str
    decode: Callable[..., Array]
    shape: Callable[[bytes], Codestream]
    check: Callable[[bytes, Array], None] | None = None
    reduce: Callable[[bytes, Codestream, int], Array] | None = None


def _reduce_jpeg2000(frame: bytes, stream: Codestream, factor: int) -> Array:
    """Decode at a fraction of the resolution: value n is the wavelet's low-pass about pixel ``n * factor``.

    Pillow scales samples up to fill 16 bits and lifts signed ones above zero; both are taken back.
    """
    with Image.open(io.BytesIO(frame), formats=("JPEG2000",)) as image:
        image.reduce = factor.bit_length() - 1  # type: ignore[method-assign, assignment]  # Pillow's own interface
        values = np.asarray(image)
    if values.ndim != 2 or values.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        raise ValueError(f"mode {image.mode}")
    lowered: Array = np.right_shift(values, 8 * values.dtype.itemsize - stream.bits)
    return lowered.astype(np.int32) - (1 << stream.bits - 1) if stream.signed else lowered


_JPEG8: Final = imagecodecs.jpeg8_decode
_REDUCE: Final = _reduce_jpeg2000 if features.check("jpg_2000") else None
_JPEG2000: Final = (imagecodecs.jpeg2k_decode, read_jpeg2000, None, _REDUCE)

CODECS: Final[dict[str, Codec]] = {
    "1.2.840.10008.1.2.4.50": Codec("JPEG baseline", _JPEG8, read_jpeg, check_sequential),
    "1.2.840.10008.1.2.4.51": Codec("JPEG extended", _JPEG8, read_jpeg, check_sequential),
    "1.2.840.10008.1.2.4.57": Codec("JPEG lossless", _JPEG8, read_jpeg, check_lossless),
    "1.2.840.10008.1.2.4.70": Codec("JPEG lossless SV1", _JPEG8, read_jpeg, check_lossless),
    "1.2.840.10008.1.2.4.80": Codec("JPEG-LS lossless", imagecodecs.jpegls_decode, read_jpeg),
    "1.2.840.10008.1.2.4.81": Codec("JPEG-LS near-lossless", imagecodecs.jpegls_decode, read_jpeg),
    "1.2.840.10008.1.2.4.90": Codec("JPEG 2000 lossless", *_JPEG2000),
    "1.2.840.10008.1.2.4.91": Codec("JPEG 2000", *_JPEG2000),
    "1.2.840.10008.1.2.4.201": Codec("HTJ2K lossless", *_JPEG2000),
    "1.2.840.10008.1.2.4.202": Codec("HTJ2K lossless RPCL", *_JPEG2000),
    "1.2.840.10008.1.2.4.203": Codec("HTJ2K", *_JPEG2000),
}

RLE: Final = "1.2.840.10008.1.2.5"
NIFTI: Final = "NIfTI"
"""Stands where a transfer syntax would for slices of a NIfTI file."""


def transfer_syntax_name(uid: str) -> str:
    """Return a transfer syntax's short name, or its UID where it has none."""
    if uid == NIFTI:
        return uid
    return CODECS[uid].name if uid in CODECS else str(UID(uid).name)
