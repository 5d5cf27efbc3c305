"""Parse the markers of JPEG and JPEG-LS frames (ITU-T T.81, annex B) before they are decoded."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from cspine.dicom.codec.codestream import END_OF_IMAGE, Codestream, CodestreamError

_RESTART: Final = re.compile(rb"\xff+([\xd0-\xd7])")
_TABLES, _SCAN, _INTERVAL = 0xC4, 0xDA, 0xDD

_FRAME_MARKERS: Final = frozenset({0xC0, 0xC1, 0xC3, 0xF7})
"""Frame markers of DICOM's transfer syntaxes: SOF0, SOF1 and SOF3 of JPEG (T.81, table B.1), SOF55 of JPEG-LS (T.87).

Progressive frames are excluded, since a file that repeats their scans could take arbitrarily long to decode.
"""

_OTHER_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - _FRAME_MARKERS - {_TABLES, 0xC8, 0xCC}

_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a marker segment."""

_TEXTS: Final = frozenset({0xFE, *range(0xE0, 0xF0)}) - {0xE0, 0xE8, 0xEE}
"""Markers of comments and of applications' data such as Exif; JFIF, SPIFF and Adobe's say how samples are coded."""


@dataclass(frozen=True, slots=True)
class HuffmanTable:
    """A Huffman table (T.81, section B.2.4.2).

    Attributes
    ----------
    counts : bytes
        Number of codes of each length from 1 to 16 bits.
    symbols : bytes
        Symbols of the codes, shortest code first.
    """

    counts: bytes
    symbols: bytes


@dataclass(frozen=True, slots=True)
class EntropySegment:
    """Entropy-coded data between two markers.

    Attributes
    ----------
    data : bytes
        The data, including stuffed bytes.
    n_stuffed_bytes : int
        Number of zero bytes that are stuffed after 0xFF to tell it from a marker.
    """

    data: bytes
    n_stuffed_bytes: int


@dataclass(frozen=True)
class Scan:
    """The only scan of a gray frame.

    Attributes
    ----------
    stream : Codestream
        Shape of the image.
    tables : dict
        Huffman tables by class and number, as ``class << 4 | number``.
    dc, ac : int
        Numbers of the tables that the scan is coded with; a lossless scan uses only the first.
    predictor, shift : int
        Predictor of samples from their neighbors (T.81, table H.1) and point transform of a lossless scan.
    restart_interval : int
        Samples (lossless) or blocks of 8 x 8 pixels between restart markers; 0 if there are none.
    entropy_coded : bytes
        The entropy-coded data of all intervals, with restart markers.
    """

    stream: Codestream
    tables: dict[int, HuffmanTable]
    dc: int
    ac: int
    predictor: int
    shift: int
    restart_interval: int
    entropy_coded: bytes

    def table(self, number: int, *, ac: bool = False) -> HuffmanTable:
        """Return a Huffman table; CodestreamError if the frame lacks it."""
        try:
            return self.tables[ac << 4 | number]
        except KeyError:
            raise CodestreamError("lacks a Huffman table") from None

    @cached_property
    def segments(self) -> tuple[EntropySegment, ...]:
        """The data of each restart interval; CodestreamError if they contain another marker."""
        if not self.restart_interval:
            return (_to_segment(self.entropy_coded),)
        pieces = _RESTART.split(self.entropy_coded)
        if any(marker[0] != 0xD0 + number % 8 for number, marker in enumerate(pieces[1::2])):
            raise CodestreamError("has restarts out of order")
        return tuple(_to_segment(piece) for piece in pieces[::2])


def read_jpeg(data: bytes) -> Codestream:
    """Return the size and depth in the frame header of JPEG or JPEG-LS.

    Parameters
    ----------
    data : bytes
        Bytes of one encoded frame.

    Raises
    ------
    CodestreamError
        The frame header or the end marker is missing.
    """
    if data[:2] != b"\xff\xd8":
        raise CodestreamError("does not begin as JPEG")
    for marker, start, stop in _segments(data):
        if marker in _FRAME_MARKERS:
            stream = _read_frame(data, start, stop)
            _find_end(data)
            return stream
    raise CodestreamError("has no frame header that DICOM allows")


def scrub_jpeg(data: bytes) -> bytes:
    """Return a frame of JPEG or JPEG-LS with its comments blank, and without bytes after its end marker.

    Parameters
    ----------
    data
        As of `read_jpeg`.

    Raises
    ------
    CodestreamError
        The frame has no scan or no end marker.
    """
    frame = bytearray(data[: _find_end(data)])
    for marker, start, stop in _segments(data):
        if marker in _TEXTS:
            frame[start:stop] = bytes(stop - start)
    return bytes(frame)


def read_scan(data: bytes) -> Scan:
    """Read the markers of a gray JPEG frame up to its scan, and the entropy-coded data of the scan.

    Parameters
    ----------
    data
        As of `read_jpeg`.

    Raises
    ------
    CodestreamError
        A marker is missing, or the frame is not one gray image.
    """
    stream: Codestream | None = None
    tables: dict[int, HuffmanTable] = {}
    restart_interval = 0
    for marker, start, stop in _segments(data):
        if marker in _FRAME_MARKERS:
            stream = _read_frame(data, start, stop)
        elif marker == _TABLES:
            _read_tables(data, start, stop, tables)
        elif marker == _INTERVAL and stop - start == 2:
            (restart_interval,) = struct.unpack_from(">H", data, start)
        elif marker == _SCAN:
            if stream is None or stop - start != 6 or data[start] != 1:
                break
            # Fill bytes may precede a marker.
            entropy_coded = data[stop : _find_end(data) - len(END_OF_IMAGE)].rstrip(b"\xff")
            return Scan(
                stream,
                tables,
                dc=data[start + 2] >> 4,
                ac=data[start + 2] & 15,
                predictor=data[start + 3],
                shift=data[start + 5] & 15,
                restart_interval=restart_interval,
                entropy_coded=entropy_coded,
            )
    raise CodestreamError("has no scan of one gray image")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each marker segment up to the first scan, with the start and stop of its content."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        stop = position + 2 + length
        if length < 2 or marker in _OTHER_FRAMES or stop > len(data):
            return
        yield marker, position + 4, stop
        if marker == _SCAN:
            return
        position = stop


def _find_end(data: bytes) -> int:
    """Return the offset after the end marker; entropy-coded data cannot hold its bytes."""
    for marker, _, stop in _segments(data):
        if marker == _SCAN:
            end = data.find(END_OF_IMAGE, stop)
            if end >= 0:
                return end + len(END_OF_IMAGE)
    raise CodestreamError("cut off")


def _to_segment(entropy_coded: bytes) -> EntropySegment:
    values = np.frombuffer(entropy_coded, np.uint8)
    marks = np.flatnonzero(values == 0xFF)
    if not entropy_coded or (len(marks) and (marks[-1] == len(entropy_coded) - 1 or values[marks + 1].any())):
        raise CodestreamError("has a marker within its image")
    return EntropySegment(entropy_coded, len(marks))


def _read_frame(data: bytes, start: int, stop: int) -> Codestream:
    if stop - start < 6:
        raise CodestreamError("has no frame header that DICOM allows")
    bits, rows, columns, components = struct.unpack_from(">BHHB", data, start)
    return Codestream(rows, columns, components, bits)


def _read_tables(data: bytes, start: int, stop: int, tables: dict[int, HuffmanTable]) -> None:
    """Read the tables of one marker segment (T.81, section B.2.4.2); a later one replaces one of the same number."""
    while start + 17 <= stop:
        counts = data[start + 1 : start + 17]
        end = start + 17 + sum(counts)
        if end > stop:
            break
        tables[data[start]] = HuffmanTable(counts, data[start + 17 : end])
        start = end
    if start != stop:
        raise CodestreamError("has a damaged Huffman table")
