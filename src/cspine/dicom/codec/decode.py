"""Decode the pixels of one image to Hounsfield units, directly into the array that holds the volume."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.uid import UID, ExplicitVRBigEndian

from cspine.core.errors import DecodeError
from cspine.core.typing import HounsfieldUnits
from cspine.dicom.codec.codecs import CODECS, NIFTI, RLE, Codec, transfer_syntax_name
from cspine.dicom.codec.codestream import Codestream, CodestreamError
from cspine.dicom.codec.frames import FrameCache, damage_error, frame_size_bytes, read_frame, read_pixel_data
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.codec.pixel_format import PixelFormat
from cspine.dicom.codec.pixels import PixelRegion, swap_bytes, to_hu
from cspine.dicom.codec.rle import decode_rle
from cspine.dicom.dicomweb.described_file import DescribedFile
from cspine.dicom.dicomweb.fetched_header import fetched_header
from cspine.dicom.nifti.values import read_nifti_array, write_nifti_hu

_MAX_PADDING_BYTES: Final = 1024
"""Most bytes after the pixels that writers add to fill a block; with more, the header describes another image."""

_Stored = npt.NDArray[Any]


def decode_into(header: SliceHeader, region: PixelRegion, out: HounsfieldUnits, cache: FrameCache) -> None:
    """Decode one image to Hounsfield units.

    Parameters
    ----------
    header : SliceHeader
        Header of one gray frame.
    region : PixelRegion
        Rows and columns to keep. JPEG 2000 is decoded at reduced resolution if the step allows, which gives the
        wavelet's low-pass around a pixel instead of its value; all other syntaxes give the value.
    out : int16 array of the region's shape, C-contiguous
        Array to write to; padding becomes `AIR_HU`.
    cache : FrameCache
        Cache of the current load.

    Raises
    ------
    DecodeError
        The pixels are missing, truncated, damaged or of an unsupported format, or do not match the header; the message
        names the file and the codec.
    """
    if isinstance(header.file, DescribedFile):
        file_header = cache.get(header, fetched_header)
        header = replace(file_header, frame=header.frame, pixel_format=header.pixel_format)
    if header.transfer_syntax_uid == NIFTI:
        write_nifti_hu(cache.get(header, lambda header: read_nifti_array(header.file)), header, region, out)
        return
    pixels, name = header.pixel_format, header.file.name
    interpretation = header.photometric_interpretation or "no photometric interpretation"
    if header.samples_per_pixel != 1 or pixels.bits_allocated not in {8, 16, 32} or interpretation == "PALETTE COLOR":
        raise DecodeError(
            f"{name}: {header.samples_per_pixel} samples of {pixels.bits_allocated} bits ({interpretation}) are not "
            "read; export gray images"
        )
    if header.transfer_syntax_uid in CODECS:
        stored, pixels = _decompress(header, CODECS[header.transfer_syntax_uid], region, out, cache)
    elif header.transfer_syntax_uid == RLE:
        stored = _shift_down(region.crop(_decode_rle(header, cache)), pixels)
    else:
        stored = _read_native(header, region, out, cache)
    if to_hu(stored, pixels, out):
        cache.overflowing.add(name)


def _shift_down(stored: _Stored, pixels: PixelFormat) -> _Stored:
    """Shift stored bits down to bit 0, where old files store them higher (retired in DICOM)."""
    return np.right_shift(stored, pixels.shift, out=stored) if pixels.shift else stored


# --- uncompressed ----------------------------------------------------------------------------------------------------


def _read_native(header: SliceHeader, region: PixelRegion, out: HounsfieldUnits, cache: FrameCache) -> _Stored:
    """Read the requested rows, directly into `out` if none of their pixels are skipped."""
    syntax = UID(header.transfer_syntax_uid)
    if syntax.is_private or not syntax.is_transfer_syntax or syntax.is_encapsulated:
        raise DecodeError(
            f"{header.file.name}: transfer syntax {transfer_syntax_name(syntax)} is not read; have the series exported "
            "uncompressed"
        )
    size = header.pixel_format.bits_allocated // 8
    is_direct = size == 2 and region.is_contiguous
    shape = (region.stop - region.start, region.columns)
    stored = out.view(np.uint16) if is_direct else np.empty(shape, np.dtype(f"u{size}"))
    row_bytes = region.columns * size
    offset = (header.frame * (header.rows or 0) + region.start) * row_bytes
    _fill(header, stored, offset, cache)
    swap_bytes(stored, little_endian=header.transfer_syntax_uid != ExplicitVRBigEndian)
    if not is_direct:
        stored = stored[:: region.step, :: region.step]
    return _shift_down(stored, header.pixel_format)


def _fill(header: SliceHeader, stored: _Stored, offset: int, cache: FrameCache) -> None:
    """Fill an array with bytes of the pixel data from `offset` on."""
    view = stored.data.cast("B")
    required, name = offset + len(view), header.file.name
    if header.pixel_data_offset is not None and header.pixel_data_length is None:
        raise DecodeError(
            f"{name}: its pixels are encapsulated, which its transfer syntax contradicts; export it again"
        )
    is_read_once = header.frames > 1 and header.file.is_read_once
    if header.pixel_data_offset is None or is_read_once:
        data = cache.get(header, read_pixel_data)
        declared = len(data)
        available = min(required, declared)
        view[: max(available - offset, 0)] = data[offset:available]
    else:
        declared = header.pixel_data_length or 0
        available = min(required, declared)
        if available == required:
            available = offset + header.file.read_into(view, header.pixel_data_offset + offset)
    if available < required:
        raise DecodeError(f"{name}: cut off, {available:,} of {required:,} bytes of pixels; copy it again")
    expected = frame_size_bytes(header) * header.frames
    if declared > expected + _MAX_PADDING_BYTES:
        raise DecodeError(
            f"{name}: holds {declared:,} bytes of pixels where its header describes {expected:,}; export it again"
        )


# --- compressed ------------------------------------------------------------------------------------------------------


def _decompress(
    header: SliceHeader, codec: Codec, region: PixelRegion, out: HounsfieldUnits, cache: FrameCache
) -> tuple[_Stored, PixelFormat]:
    """Decode a frame, directly into `out` if possible; return its values and how they are stored."""
    frame = read_frame(header, cache)
    try:
        stream = codec.shape(frame)
        if stream.components == 1 and (stream.rows, stream.columns) == (header.rows, header.columns):
            stored = _decode(codec, frame, stream, region, out)
            return _reconcile(stored, header.pixel_format, stream)
    except Exception as error:
        raise damage_error(header, codec.name, error) from error
    if stream.components != 1:
        raise DecodeError(f"{header.file.name}: holds {stream.components} colors where gray is declared; export gray")
    raise DecodeError(
        f"{header.file.name}: holds {stream.rows} x {stream.columns} pixels where its header says "
        f"{header.rows} x {header.columns}; have it exported again"
    )


def _decode(codec: Codec, frame: bytes, stream: Codestream, region: PixelRegion, out: HounsfieldUnits) -> _Stored:
    factor = _reduction(codec, region, stream.n_decomposition_levels)
    if factor > 1 and codec.reduce is not None:
        reduced, rest = codec.reduce(frame, stream, factor), region.step // factor
        return reduced[region.start // factor :, :][::rest, ::rest][: out.shape[0], : out.shape[1]]
    is_direct = region.is_contiguous and out.shape == (stream.rows, stream.columns) and 8 < stream.bits <= 16
    target = out.view(np.int16 if stream.signed else np.uint16) if is_direct else None
    image = codec.decode(frame, out=target) if is_direct else codec.decode(frame)
    if codec.check is not None:
        codec.check(frame, image)
    return region.crop(image)


def _reduction(codec: Codec, region: PixelRegion, n_decomposition_levels: int) -> int:
    """Return the largest power of two by which the resolution of a region may be reduced in decoding."""
    if codec.reduce is None:
        return 1
    factor = min(region.step & -region.step, 1 << min(n_decomposition_levels, 3))
    while factor > 1 and region.start % factor:
        factor //= 2
    return factor


def _reconcile(stored: _Stored, pixels: PixelFormat, stream: Codestream) -> tuple[_Stored, PixelFormat]:
    """Return decoded values and how they are stored; the codestream takes precedence over the header.

    This is the rule of PS3.5, section 8.2. Only JPEG 2000 declares signed values, however. Other codestreams hold two's
    complement, of the stored bits or of all bits of the stream; values must be equal under both readings.

    Raises
    ------
    CodestreamError
        Values need more bits than the header declares.
    """
    n_extra_bits = stream.bits - pixels.bits_stored
    if pixels.shift and stream.bits > pixels.high_bit:
        return _shift_down(stored, pixels), pixels
    if stream.signed or not pixels.signed:
        bits = max(stream.bits, pixels.bits_stored)
        return stored, replace(pixels, bits_stored=bits, high_bit=bits - 1, signed=pixels.signed or stream.signed)
    if n_extra_bits > 0:
        upper_bits = stored >> pixels.bits_stored - 1
        if np.any((upper_bits > 1) & (upper_bits != (2 << n_extra_bits) - 1)):
            raise CodestreamError(f"values of {stream.bits} bits where its header says {pixels.bits_stored}")
    return stored, pixels


def _decode_rle(header: SliceHeader, cache: FrameCache) -> _Stored:
    frame = read_frame(header, cache)
    try:
        return decode_rle(frame, header.rows or 0, header.columns or 0, header.pixel_format.bits_allocated // 8)
    except Exception as error:
        raise damage_error(header, transfer_syntax_name(RLE), error) from error
