"""Pixels of one file to Hounsfield units."""

from collections.abc import Callable
from typing import Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from cspine.errors import DecodeError, DicomError
from cspine.imaging.header import SliceHeader, parse

AIR_HU: Final = -1024
"""What padding and everything outside the scan becomes."""

Pixels = npt.NDArray[np.int16]
_Codec = Callable[[bytes], npt.NDArray[Any]]

_JPEG2000: Final[_Codec] = imagecodecs.jpeg2k_decode
_CODECS: Final[dict[str, tuple[str, _Codec]]] = {
    "1.2.840.10008.1.2.4.50": ("JPEG baseline", imagecodecs.jpeg8_decode),
    "1.2.840.10008.1.2.4.51": ("JPEG extended", imagecodecs.jpeg_decode),
    "1.2.840.10008.1.2.4.57": ("JPEG lossless", imagecodecs.jpegsof3_decode),
    "1.2.840.10008.1.2.4.70": ("JPEG lossless SV1", imagecodecs.jpegsof3_decode),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS lossless", imagecodecs.jpegls_decode),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS near-lossless", imagecodecs.jpegls_decode),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000 lossless", _JPEG2000),
    "1.2.840.10008.1.2.4.91": ("JPEG 2000", _JPEG2000),
    "1.2.840.10008.1.2.4.201": ("HTJ2K lossless", _JPEG2000),
    "1.2.840.10008.1.2.4.202": ("HTJ2K lossless RPCL", _JPEG2000),
    "1.2.840.10008.1.2.4.203": ("HTJ2K", _JPEG2000),
}
_RLE: Final = "1.2.840.10008.1.2.5"


def transfer_syntax_name(uid: str) -> str:
    """Return a transfer syntax's short name, or its UID where it has none."""
    return _CODECS[uid][0] if uid in _CODECS else str(UID(uid).name)


def decode_slice(header: SliceHeader) -> Pixels:
    """Decode one image to Hounsfield units.

    Parameters
    ----------
    header : SliceHeader
        Of a file with one grey frame of 16 bits or less.

    Returns
    -------
    (rows, columns) int16
        HU, rounded and clipped to int16; padding becomes `AIR_HU`.

    Raises
    ------
    DecodeError
        The pixels are missing, cut off, of a kind we do not read, or damaged; the file and the codec are named.
    """
    file = header.file
    try:
        dataset = parse(file, file.read(), pixels=True)
    except DicomError as error:
        raise DecodeError(str(error)) from error
    if "PixelData" not in dataset:
        raise DecodeError(f"{file.name}: has no pixel data (cut off?); copy the file again")
    bits = int(dataset.get("BitsAllocated") or 16)
    if header.samples_per_pixel != 1 or header.frames != 1 or bits not in {8, 16}:
        raise DecodeError(
            f"{file.name}: {header.samples_per_pixel} samples of {bits} bits in {header.frames} frames are not read; "
            "export single-frame 16-bit grey images"
        )
    try:
        stored = _stored(header, dataset, bits)
    except DecodeError:
        raise
    except Exception as error:
        name = transfer_syntax_name(header.transfer_syntax_uid)
        raise DecodeError(
            f"{file.name}: the {name} pixels are damaged ({type(error).__name__}); copy it again"
        ) from error
    if stored.shape != (header.rows, header.columns):
        raise DecodeError(
            f"{file.name}: holds {stored.shape[0]} x {stored.shape[1]} pixels where its header says "
            f"{header.rows} x {header.columns}; have it exported again"
        )
    return _to_hu(_fit_bits(stored, dataset, bits), dataset)


def _stored(header: SliceHeader, dataset: FileDataset, bits: int) -> npt.NDArray[Any]:
    """Return the stored values as the transfer syntax holds them, before sign and unused bits are looked at."""
    syntax = UID(header.transfer_syntax_uid)
    if syntax in _CODECS:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        return np.asarray(_CODECS[syntax][1](frame))
    if syntax == _RLE:
        decoder = get_decoder(UID(_RLE))
        return np.asarray(decoder.as_array(dataset, raw=True)[0])
    if syntax.is_private or not syntax.is_transfer_syntax or syntax.is_encapsulated:
        raise DecodeError(
            f"{header.file.name}: transfer syntax {syntax.name} is not read; convert it, with dcmdjpeg for example"
        )
    rows, columns = header.rows or 0, header.columns or 0
    wanted, found = rows * columns * bits // 8, len(dataset.PixelData)
    if found < wanted:
        raise DecodeError(f"{header.file.name}: cut off, {found:,} of {wanted:,} bytes of pixels; copy it again")
    order = "<" if syntax.is_little_endian else ">"
    dtype = np.dtype(f"{order}u{bits // 8}")
    return np.frombuffer(dataset.PixelData, dtype, rows * columns).reshape(rows, columns)


def _fit_bits(stored: npt.NDArray[Any], dataset: FileDataset, bits: int) -> npt.NDArray[np.int32]:
    """Return the stored values with their sign, without what lies above the stored bits."""
    used = min(int(dataset.get("BitsStored") or bits), bits)
    values = stored.astype(np.int32) & ((1 << used) - 1)
    if int(dataset.get("PixelRepresentation") or 0) == 1:
        sign = 1 << (used - 1)
        values = (values ^ sign) - sign
    return values


def _to_hu(stored: npt.NDArray[np.int32], dataset: FileDataset) -> Pixels:
    slope = 1.0 if dataset.get("RescaleSlope") in (None, "") else float(dataset.RescaleSlope)
    intercept = 0.0 if dataset.get("RescaleIntercept") in (None, "") else float(dataset.RescaleIntercept)
    if slope.is_integer() and intercept.is_integer():
        hu: npt.NDArray[Any] = stored.astype(np.int64) * int(slope) + int(intercept)
    else:
        hu = np.rint(stored * slope + intercept)
    limits = np.iinfo(np.int16)
    result: Pixels = np.clip(hu, limits.min, limits.max).astype(np.int16)
    padding = dataset.get("PixelPaddingValue")
    if isinstance(padding, int):  # some writers give it unsigned beside signed pixels
        bits = int(dataset.get("BitsAllocated") or 16)
        stored_padding = np.array(padding & ((1 << bits) - 1))
        result[stored == _fit_bits(stored_padding, dataset, bits)] = AIR_HU
    return result
