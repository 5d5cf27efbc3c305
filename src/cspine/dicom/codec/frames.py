"""Read the bytes of a file's pixel data, or of one compressed frame of them."""

from collections.abc import Callable
from threading import Lock
from typing import Any, Final, TypeVar

from pydicom.uid import DeflatedExplicitVRLittleEndian

from cspine.core.errors import ArchiveError, DecodeError, SourceError
from cspine.dicom.codec.codecs import transfer_syntax_name
from cspine.dicom.codec.codestream import CodestreamError
from cspine.dicom.codec.dataset import parse
from cspine.dicom.codec.elements import inflate_pixels
from cspine.dicom.codec.encapsulation import read_frames
from cspine.dicom.codec.header import MAX_VOLUME_BYTES, SliceHeader
from cspine.dicom.sources import SourceFile

Cached = TypeVar("Cached")

_MAX_OVERHEAD_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of a file beside its pixels: the header, and elements after the pixels."""

_MAX_BYTES_PER_PIXEL: Final = 8
"""Most bytes of a compressed pixel; even noise that does not compress has 4."""


class FrameCache:
    """Cache of multi-frame files during one load, so that each such file is read once.

    It is shared by the threads of the load and discarded with it.

    Attributes
    ----------
    overflowing : set of str
        Names of files whose stored bits do not hold all values (`cspine.dicom.codec.pixels.to_hu`).
    """

    def __init__(self) -> None:
        self.overflowing: set[str] = set()
        self._lock = Lock()
        self._cache: dict[SourceFile, Any] = {}

    def get(self, header: SliceHeader, make: Callable[[SliceHeader], Cached]) -> Cached:
        """Return ``make(header)``; the result for a multi-frame file is cached."""
        if header.frames == 1:
            return make(header)
        with self._lock:
            if header.file not in self._cache:
                self._cache[header.file] = make(header)
            cached: Cached = self._cache[header.file]
            return cached


def frame_size_bytes(header: SliceHeader) -> int:
    """Return the size of one uncompressed frame in bytes."""
    return (header.rows or 0) * (header.columns or 0) * header.pixel_format.bits_allocated // 8


def read_pixel_data(header: SliceHeader) -> bytes:
    """Return the value of a file's PixelData element.

    Parameters
    ----------
    header : SliceHeader
        Header of any frame of the file.

    Returns
    -------
    bytes
        The pixels of all frames, as stored.

    Raises
    ------
    DecodeError
        The file has no pixel data, or they are truncated.
    SourceError, ArchiveError
        The file cannot be read.
    """
    file = header.file
    if header.pixel_data_offset is not None and header.pixel_data_length is not None:
        return file.read(header.pixel_data_offset + header.pixel_data_length)[header.pixel_data_offset :]
    try:
        if header.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            max_bytes = min(frame_size_bytes(header) * header.frames + _MAX_OVERHEAD_BYTES, MAX_VOLUME_BYTES)
            return inflate_pixels(file.read(), max_bytes)
        dataset = parse(file, file.read(), pixels=True)
        data = dataset.get("PixelData")
    except (SourceError, ArchiveError):
        raise
    except Exception as error:  # pydicom raises errors of any type on invalid values
        raise DecodeError(f"{file.name}: has no pixel data that can be read (cut off?); copy the file again") from error
    if data is None and ("FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset):
        raise DecodeError(f"{file.name}: has floating-point pixel data, which are not read; export integers")
    if not isinstance(data, bytes):
        raise DecodeError(f"{file.name}: has no pixel data (cut off?); copy the file again")
    return data


def read_frame(header: SliceHeader, cache: FrameCache) -> bytes:
    """Return one compressed frame, with its fragments joined.

    Parameters
    ----------
    header : SliceHeader
        Header of the frame.
    cache : FrameCache
        Cache of the current load.

    Returns
    -------
    bytes

    Raises
    ------
    DecodeError
        The file lacks the frame, or its pixel data are not encapsulated correctly.
    """
    frames = cache.get(header, read_all_frames)
    return frames[header.frame]


def damage_error(header: SliceHeader, codec: str, error: Exception) -> DecodeError:
    """Return the error for pixels that cannot be decoded, with the file, the codec and the decoder's error.

    Parameters
    ----------
    header : SliceHeader
        Header of the frame.
    codec : str
        Name of the codec.
    error : Exception
        The decoder's error; only its type is quoted unless it is a `CodestreamError`.

    Returns
    -------
    DecodeError
        The error to raise.
    """
    if isinstance(error, ImportError):
        return DecodeError(f"{header.file.name}: the {codec} codec is missing; install imagecodecs from PyPI")
    fact = str(error) if isinstance(error, CodestreamError) else type(error).__name__
    return DecodeError(f"{header.file.name}: the {codec} pixels are damaged ({fact}); copy it again")


def read_all_frames(header: SliceHeader) -> list[bytes]:
    """Return all compressed frames of a file, each with its fragments joined.

    Parameters
    ----------
    header : SliceHeader
        Header of any frame of the file.

    Returns
    -------
    list of bytes
        As many as the header declares.

    Raises
    ------
    DecodeError
        The file lacks a frame, or its pixel data are not encapsulated correctly.
    """
    if header.pixel_data_offset is None:
        data: bytes | bytearray = read_pixel_data(header)
    else:
        length = max(header.file.size - header.pixel_data_offset, 0)
        if header.pixel_data_length is not None:  # other elements may follow
            length = min(length, header.pixel_data_length)
        n_pixels = (header.rows or 0) * (header.columns or 0) * header.frames
        if length > _MAX_BYTES_PER_PIXEL * n_pixels + _MAX_OVERHEAD_BYTES:
            raise DecodeError(f"{header.file.name}: its compressed pixels are longer than the image; copy it again")
        data = bytearray(length)
        del data[header.file.read_into(memoryview(data), header.pixel_data_offset) :]
    try:
        frames = read_frames(data, header.frames)
    except Exception as error:
        raise damage_error(header, transfer_syntax_name(header.transfer_syntax_uid), error) from error
    if len(frames) < header.frames:
        raise DecodeError(
            f"{header.file.name}: holds {len(frames)} of {header.frames} frames (cut off?); copy the file again"
        )
    return frames
