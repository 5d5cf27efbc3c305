"""The bytes of a file's pixel data, whole or one frame of them."""

from collections.abc import Callable, Sequence
from itertools import islice
from threading import Lock
from typing import Any, Final, TypeVar

from pydicom.encaps import generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cspine.core.errors import ArchiveError, DecodeError, SourceError
from cspine.dicom.codec.codecs import transfer_syntax_name
from cspine.dicom.codec.codestream import CodestreamError, read_fragments
from cspine.dicom.codec.dataset import parse
from cspine.dicom.codec.elements import inflate_pixels
from cspine.dicom.codec.header import MAX_VOLUME_BYTES, SliceHeader
from cspine.dicom.sources import SourceFile

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


def image_bytes(header: SliceHeader) -> int:
    """Return how many bytes one uncompressed frame takes."""
    return (header.rows or 0) * (header.columns or 0) * header.pixel_format.bits_allocated // 8


def read_pixel_data(header: SliceHeader) -> bytes:
    """Return all pixel data of a file.

    Raises
    ------
    DecodeError
        There are none, or they are cut off.
    SourceError, ArchiveError
        The file cannot be read.
    """
    file = header.file
    if header.pixels_at is not None and header.pixels_length is not None:
        return file.read(header.pixels_at + header.pixels_length)[header.pixels_at :]
    try:
        if header.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            most = min(image_bytes(header) * header.frames + _ROOM_BYTES, MAX_VOLUME_BYTES)
            return inflate_pixels(file.read(), most)
        data = parse(file, file.read(), pixels=True).get("PixelData")
    except (SourceError, ArchiveError):
        raise
    except Exception as error:  # pydicom raises whatever the values it converts bring up
        raise DecodeError(f"{file.name}: has no pixel data that can be read (cut off?); copy the file again") from error
    if not isinstance(data, bytes):
        raise DecodeError(f"{file.name}: has no pixel data (cut off?); copy the file again")
    return data


def read_frame(header: SliceHeader, cache: FrameCache) -> bytes:
    """Return one compressed frame, its fragments joined.

    Raises
    ------
    DecodeError
        It is not there, or not held as DICOM holds frames.
    """
    frames = cache.get(header, _all_frames)
    if header.frame >= len(frames):
        raise DecodeError(
            f"{header.file.name}: holds {len(frames)} of {header.frames} frames (cut off?); copy the file again"
        )
    return frames[header.frame]


def damaged(header: SliceHeader, codec: str, error: Exception) -> DecodeError:
    """Say of an error in decoding which file and codec it is about."""
    if isinstance(error, ImportError):
        return DecodeError(f"{header.file.name}: the {codec} codec is missing; install imagecodecs as PyPI has it")
    fact = str(error) if isinstance(error, CodestreamError) else type(error).__name__
    return DecodeError(f"{header.file.name}: the {codec} pixels are damaged ({fact}); copy it again")


def _all_frames(header: SliceHeader) -> Sequence[bytes]:
    """Return a file's compressed frames, at most as many as its header declares."""
    if header.pixels_at is None:
        data: bytes | bytearray = read_pixel_data(header)
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
        raise damaged(header, transfer_syntax_name(header.transfer_syntax_uid), error) from error
