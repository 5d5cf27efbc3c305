"""Pixels of one image to Hounsfield units, straight into the array that is to hold them."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.uid import UID, ExplicitVRBigEndian

from cspine.core.errors import DecodeError
from cspine.dicom.codec.codecs import CODECS, NIFTI, RLE, Codec, transfer_syntax_name
from cspine.dicom.codec.codestream import Codestream, CodestreamError
from cspine.dicom.codec.frames import FrameCache, damaged, image_bytes, read_frame, read_pixel_data
from cspine.dicom.codec.header import PixelFormat, SliceHeader
from cspine.dicom.codec.pixels import Pixels, Window, swap_bytes, to_hu
from cspine.dicom.codec.rle import decode_rle
from cspine.dicom.nifti import nifti_hu, read_array

_FILLING_BYTES: Final = 1024
"""What writers add behind the pixels to fill a block; more means that the header describes another image."""

_Stored = npt.NDArray[Any]


def decode_into(header: SliceHeader, window: Window, out: Pixels, cache: FrameCache) -> None:
    """Decode one image to Hounsfield units.

    Parameters
    ----------
    header : SliceHeader
        Of one grey frame.
    window : Window
        What of it to keep. JPEG 2000 is decoded at reduced resolution where the step allows, which gives the
        wavelet's own mean about a pixel instead of the pixel; all others give the pixel itself.
    out : int16 of the window's shape, C-contiguous
        Where to write; padding becomes `AIR_HU`.
    cache : FrameCache
        Of this load.

    Raises
    ------
    DecodeError
        The pixels are missing, cut off, of a kind we do not read, or damaged, or not those that the header describes;
        the file and the codec are named.
    """
    if header.transfer_syntax_uid == NIFTI:
        nifti_hu(cache.get(header, lambda header: read_array(header.file)), header.frame, window, out)
        return
    name, bits = header.file.name, header.pixel_format.bits_allocated
    kind = header.photometric_interpretation or "no photometric interpretation"
    if header.samples_per_pixel != 1 or bits not in {8, 16, 32} or kind == "PALETTE COLOR":
        raise DecodeError(
            f"{name}: {header.samples_per_pixel} samples of {bits} bits ({kind}) are not read; export grey images"
        )
    pixels = header.pixel_format
    if header.transfer_syntax_uid in CODECS:
        stored, pixels = _decompressed(header, CODECS[header.transfer_syntax_uid], window, out, cache)
    elif header.transfer_syntax_uid == RLE:
        stored = _shift_down(window.cut(_run_lengths(header, cache)), pixels)
    else:
        stored = _native(header, window, out, cache)
    to_hu(stored, pixels, out)


def _shift_down(stored: _Stored, pixels: PixelFormat) -> _Stored:
    """Move stored bits that do not begin at bit 0 there (retired in DICOM, but met in old files)."""
    return np.right_shift(stored, pixels.shift, out=stored) if pixels.shift else stored


# --- uncompressed ----------------------------------------------------------------------------------------------------


def _native(header: SliceHeader, window: Window, out: Pixels, cache: FrameCache) -> _Stored:
    """Read the rows that are wanted, into `out` itself where nothing needs to be left out."""
    syntax = UID(header.transfer_syntax_uid)
    if syntax.is_private or not syntax.is_transfer_syntax or syntax.is_encapsulated:
        raise DecodeError(
            f"{header.file.name}: transfer syntax {syntax.name} is not read; convert it, with dcmdjpeg for example"
        )
    size = header.pixel_format.bits_allocated // 8
    straight = size == 2 and window.is_whole_rows
    shape = (window.stop - window.start, window.columns)
    stored = out.view(np.uint16) if straight else np.empty(shape, np.dtype(f"u{size}"))
    row_bytes = window.columns * size
    before = (header.frame * (header.rows or 0) + window.start) * row_bytes
    _fill(header, stored, before, cache)
    swap_bytes(stored, little_endian=header.transfer_syntax_uid != ExplicitVRBigEndian)
    if not straight:
        stored = stored[:: window.step, :: window.step]
    return _shift_down(stored, header.pixel_format)


def _fill(header: SliceHeader, stored: _Stored, before: int, cache: FrameCache) -> None:
    """Fill an array with bytes of the pixel data from `before` on."""
    view = stored.data.cast("B")
    wanted, name = before + len(view), header.file.name
    if header.pixels_at is not None and header.pixels_length is None:
        raise DecodeError(
            f"{name}: its pixels are encapsulated, which its transfer syntax contradicts; export it again"
        )
    many_of_zip = header.frames > 1 and header.file.member is not None  # a zip is read from its member's beginning
    if header.pixels_at is None or many_of_zip:
        data = cache.get(header, read_pixel_data)
        declared = len(data)
        found = min(wanted, declared)
        view[: max(found - before, 0)] = data[before:found]
    else:
        declared = header.pixels_length or 0
        found = min(wanted, declared)
        if found == wanted:
            found = before + header.file.read_into(view, header.pixels_at + before)
    if found < wanted:
        raise DecodeError(f"{name}: cut off, {found:,} of {wanted:,} bytes of pixels; copy it again")
    whole = image_bytes(header) * header.frames
    if declared > whole + _FILLING_BYTES:
        raise DecodeError(
            f"{name}: holds {declared:,} bytes of pixels where its header describes {whole:,}; have it exported again"
        )


# --- compressed ------------------------------------------------------------------------------------------------------


def _decompressed(
    header: SliceHeader, codec: Codec, window: Window, out: Pixels, cache: FrameCache
) -> tuple[_Stored, PixelFormat]:
    """Decode a frame, into `out` itself where nothing needs to be left out, and say how its values are stored."""
    frame = read_frame(header, cache)
    try:
        stream = codec.shape(frame)
        if stream.components == 1 and (stream.rows, stream.columns) == (header.rows, header.columns):
            stored = _decode(codec, frame, stream, window, out)
            return _reconcile(stored, header.pixel_format, stream)
    except Exception as error:
        raise damaged(header, codec.name, error) from error
    if stream.components != 1:
        raise DecodeError(f"{header.file.name}: holds {stream.components} colours where grey is declared; export grey")
    raise DecodeError(
        f"{header.file.name}: holds {stream.rows} x {stream.columns} pixels where its header says "
        f"{header.rows} x {header.columns}; have it exported again"
    )


def _decode(codec: Codec, frame: bytes, stream: Codestream, window: Window, out: Pixels) -> _Stored:
    factor = _reduction(codec, window, stream.levels)
    if factor > 1 and codec.reduce is not None:
        reduced, rest = codec.reduce(frame, stream, factor), window.step // factor
        return reduced[window.start // factor :, :][::rest, ::rest][: out.shape[0], : out.shape[1]]
    whole = window.is_whole_rows and out.shape == (stream.rows, stream.columns) and 8 < stream.bits <= 16
    target = out.view(np.int16 if stream.signed else np.uint16) if whole else None
    image = codec.decode(frame, out=target) if whole else codec.decode(frame)
    if codec.check is not None:
        codec.check(frame, image)
    return window.cut(image)


def _reduction(codec: Codec, window: Window, levels: int) -> int:
    """Return the largest power of two by which the window may be decoded reduced."""
    if codec.reduce is None:
        return 1
    factor = min(window.step & -window.step, 1 << min(levels, 3))
    while factor > 1 and window.start % factor:
        factor //= 2
    return factor


def _reconcile(stored: _Stored, pixels: PixelFormat, stream: Codestream) -> tuple[_Stored, PixelFormat]:
    """Return decoded values and how they are stored: the stream counts where the header says otherwise.

    So DICOM has it (PS3.5, section 8.2). Only JPEG 2000 can tell signed values, though; in others they are two's
    complement of the bits stored, or of all bits of the stream, and both must come to the same.

    Raises
    ------
    CodestreamError
        Values have more bits than the header has for them.
    """
    spare = stream.bits - pixels.bits_stored
    if pixels.shift and stream.bits > pixels.high_bit:
        return _shift_down(stored, pixels), pixels
    if stream.signed or not pixels.signed:
        bits = max(stream.bits, pixels.bits_stored)
        return stored, replace(pixels, bits_stored=bits, high_bit=bits - 1, signed=pixels.signed or stream.signed)
    if spare > 0:
        above = stored >> pixels.bits_stored - 1
        if np.any((above > 1) & (above != (2 << spare) - 1)):
            raise CodestreamError(f"values of {stream.bits} bits where its header says {pixels.bits_stored}")
    return stored, pixels


def _run_lengths(header: SliceHeader, cache: FrameCache) -> _Stored:
    frame = read_frame(header, cache)
    try:
        return decode_rle(frame, header.rows or 0, header.columns or 0, header.pixel_format.bits_allocated // 8)
    except Exception as error:
        raise damaged(header, transfer_syntax_name(RLE), error) from error
