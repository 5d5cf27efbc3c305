"""Pixels of one image to Hounsfield units, straight into the array that is to hold them."""

from collections.abc import Callable, Sequence
from itertools import islice
from threading import Lock
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from pydicom.encaps import generate_frames
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from cspine.errors import ArchiveError, DecodeError, SourceError
from cspine.imaging.codecs import CODECS, NIFTI, RLE, Codec, transfer_syntax_name
from cspine.imaging.codestream import CodestreamError, read_fragments
from cspine.imaging.dataset import parse
from cspine.imaging.elements import inflate_pixels
from cspine.imaging.header import SliceHeader
from cspine.imaging.nifti import nifti_hu, read_array
from cspine.imaging.pixels import Pixels, Window, swap_bytes, to_hu
from cspine.imaging.rle import decode_rle
from cspine.imaging.source import SourceFile

Kept = TypeVar("Kept")

_ROOM_BYTES: Final = 16 * 1024 * 1024
"""What may stand beside the pixels: a deflated header, elements behind them."""

_MOST_PER_PIXEL: Final = 8
"""Bytes of a compressed pixel; even noise that does not compress has 4."""


class FrameCache:
    """What one load keeps of files that hold several frames, so that each such file is read once.

    Shared by the threads of one load and dropped with it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[SourceFile, Any] = {}

    def get(self, header: SliceHeader, make: Callable[[SliceHeader], Kept]) -> Kept:
        """Return what `make` gives for a header's file; only files of several frames are kept."""
        if header.frames == 1:
            return make(header)
        with self._lock:
            if header.file not in self._kept:
                self._kept[header.file] = make(header)
            kept: Kept = self._kept[header.file]
            return kept


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
        The pixels are missing, cut off, of a kind we do not read, or damaged; the file and the codec are named.
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
    if header.transfer_syntax_uid in CODECS:
        stored = _decompressed(header, CODECS[header.transfer_syntax_uid], window, out, cache)
    elif header.transfer_syntax_uid == RLE:
        stored = window.cut(_run_lengths(header, cache))
    else:
        stored = _native(header, window, out, cache)
    to_hu(stored, header.pixel_format, out)


# --- uncompressed ----------------------------------------------------------------------------------------------------


def _native(header: SliceHeader, window: Window, out: Pixels, cache: FrameCache) -> npt.NDArray[Any]:
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
    return _shift_down(stored, header)


def _fill(header: SliceHeader, stored: npt.NDArray[Any], before: int, cache: FrameCache) -> None:
    """Fill an array with bytes of the pixel data from `before` on."""
    view = stored.data.cast("B")
    declared = header.pixels_length
    if header.pixels_at is None:
        data = cache.get(header, _whole_pixel_data)
        found = max(min(len(data) - before, len(view)), 0)
        view[:found] = data[before : before + found]
        wanted, found = before + len(view), before + found
    elif declared is None:
        raise DecodeError(
            f"{header.file.name}: its pixels are encapsulated, which its transfer syntax contradicts; export it again"
        )
    else:
        wanted = before + len(view)
        found = min(wanted, declared)
        if found == wanted:
            found = before + header.file.read_into(view, header.pixels_at + before)
    if found < wanted:
        raise DecodeError(f"{header.file.name}: cut off, {found:,} of {wanted:,} bytes of pixels; copy it again")


def _shift_down(stored: npt.NDArray[Any], header: SliceHeader) -> npt.NDArray[Any]:
    """Move stored bits that do not begin at bit 0 there (retired in DICOM, but met in old files)."""
    shift = header.pixel_format.high_bit + 1 - header.pixel_format.bits_stored
    if shift > 0:
        stored >>= shift
    return stored


def _whole_pixel_data(header: SliceHeader) -> bytes:
    """Return all of a file's pixel data where their place in the file is not known."""
    file = header.file
    try:
        if header.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            most = (header.rows or 0) * (header.columns or 0) * header.frames * header.pixel_format.bits_allocated // 8
            return inflate_pixels(file.read(), most + _ROOM_BYTES)
        data = parse(file, file.read(), pixels=True).get("PixelData")
    except (SourceError, ArchiveError):
        raise
    except Exception as error:  # pydicom raises whatever the values it converts bring up
        raise DecodeError(f"{file.name}: has no pixel data that can be read (cut off?); copy the file again") from error
    if not isinstance(data, bytes):
        raise DecodeError(f"{file.name}: has no pixel data (cut off?); copy the file again")
    return data


# --- compressed ------------------------------------------------------------------------------------------------------


def _decompressed(
    header: SliceHeader, codec: Codec, window: Window, out: Pixels, cache: FrameCache
) -> npt.NDArray[Any]:
    frame = _frame(header, cache)
    try:
        stream = codec.shape(frame)
        if stream.components == 1 and (stream.rows, stream.columns) == (header.rows, header.columns):
            factor = _reduction(codec, window, stream.levels)
            if factor > 1 and codec.reduce is not None:
                reduced = codec.reduce(frame, stream, factor)
                rest = window.step // factor
                return reduced[window.start // factor :, :][::rest, ::rest][: out.shape[0], : out.shape[1]]
            whole = window.is_whole_rows and out.shape == (header.rows, header.columns) and 8 < stream.bits <= 16
            target = out.view(np.int16 if stream.signed else np.uint16) if whole else None
            return window.cut(codec.decode(frame, out=target) if whole else codec.decode(frame))
    except Exception as error:
        raise _damaged(header, codec.name, error) from error
    if stream.components != 1:
        raise DecodeError(f"{header.file.name}: holds {stream.components} colours where grey is declared; export grey")
    raise DecodeError(
        f"{header.file.name}: holds {stream.rows} x {stream.columns} pixels where its header says "
        f"{header.rows} x {header.columns}; have it exported again"
    )


def _reduction(codec: Codec, window: Window, levels: int) -> int:
    """Return the largest power of two by which the window may be decoded reduced."""
    if codec.reduce is None:
        return 1
    factor = min(window.step & -window.step, 1 << min(levels, 3))
    while factor > 1 and window.start % factor:
        factor //= 2
    return factor


def _run_lengths(header: SliceHeader, cache: FrameCache) -> npt.NDArray[Any]:
    frame = _frame(header, cache)
    try:
        return decode_rle(frame, header.rows or 0, header.columns or 0, header.pixel_format.bits_allocated // 8)
    except Exception as error:
        raise _damaged(header, transfer_syntax_name(RLE), error) from error


def _damaged(header: SliceHeader, codec: str, error: Exception) -> DecodeError:
    if isinstance(error, ImportError):
        return DecodeError(f"{header.file.name}: the {codec} codec is missing; install imagecodecs as PyPI has it")
    fact = str(error) if isinstance(error, CodestreamError) else type(error).__name__
    return DecodeError(f"{header.file.name}: the {codec} pixels are damaged ({fact}); copy it again")


def _frame(header: SliceHeader, cache: FrameCache) -> bytes:
    """Return one compressed frame, its fragments joined."""
    frames = cache.get(header, _all_frames)
    if header.frame >= len(frames):
        raise DecodeError(
            f"{header.file.name}: holds {len(frames)} of {header.frames} frames (cut off?); copy the file again"
        )
    return frames[header.frame]


def _all_frames(header: SliceHeader) -> Sequence[bytes]:
    """Return a file's compressed frames, at most as many as its header declares."""
    if header.pixels_at is None:
        data: bytes | bytearray = _whole_pixel_data(header)
    else:
        length = max(header.file.size - header.pixels_at, 0)
        if length > _MOST_PER_PIXEL * (header.rows or 0) * (header.columns or 0) * header.frames + _ROOM_BYTES:
            raise DecodeError(f"{header.file.name}: its compressed pixels are longer than the image; copy it again")
        data = bytearray(length)
        del data[header.file.read_into(memoryview(data), header.pixels_at) :]
    try:
        if header.frames == 1:
            return (b"".join(read_fragments(data)),)
        read_fragments(data)  # raises where the file is cut off
        return list(islice(generate_frames(bytes(data), number_of_frames=header.frames), header.frames))
    except Exception as error:
        raise _damaged(header, transfer_syntax_name(header.transfer_syntax_uid), error) from error
