"""JPEG and JPEG-LS frames by their markers (ITU-T T.81, annex B), read before anything is decoded."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from cspine.dicom.codec.codestream import END, Codestream, CodestreamError, check_end

_RESTART: Final = re.compile(rb"\xff+([\xd0-\xd7])")
_TABLES, _SCAN, _INTERVAL = 0xC4, 0xDA, 0xDD

_FRAME_MARKERS: Final = frozenset({0xC0, 0xC1, 0xC3, 0xF7})
"""SOF0, SOF1 and SOF3 of JPEG (ITU-T T.81, table B.1) and SOF55 of JPEG-LS (T.87): what DICOM's syntaxes hold.

Progressive frames are not among them: a scan repeated without end would decode without end.
"""

_OTHER_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - _FRAME_MARKERS - {_TABLES, 0xC8, 0xCC}

_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment."""


@dataclass(frozen=True, slots=True)
class HuffmanTable:
    """How many codes there are of each length from 1 to 16 bits, and what they stand for, shortest first."""

    counts: bytes
    symbols: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """Coded data without a marker in them; `stuffed` is how many zero bytes stand in them after 0xFF, to say so."""

    data: bytes
    stuffed: int


@dataclass(frozen=True)
class Scan:
    """The one scan of a grey frame.

    Attributes
    ----------
    dc, ac : int
        Which tables it is coded with; lossless frames have only the first.
    predictor, shift : int
        Of a lossless scan: which neighbours predict a sample (T.81, table H.1), and the point transform.
    interval : int
        Samples (lossless) or blocks of 8 x 8 between restarts; 0 where there are none.
    coded : bytes
        The entropy-coded data, all intervals of them.
    """

    stream: Codestream
    tables: dict[int, HuffmanTable]
    dc: int
    ac: int
    predictor: int
    shift: int
    interval: int
    coded: bytes

    def table(self, number: int, *, ac: bool = False) -> HuffmanTable:
        """Return a table; CodestreamError where the frame lacks it."""
        try:
            return self.tables[ac << 4 | number]
        except KeyError:
            raise CodestreamError("lacks a table of codes") from None

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The coded data of each interval; CodestreamError where a marker stands within them that is no restart."""
        if not self.interval:
            return (_to_part(self.coded),)
        pieces = _RESTART.split(self.coded)
        if any(marker[0] != 0xD0 + number % 8 for number, marker in enumerate(pieces[1::2])):
            raise CodestreamError("has restarts out of order")
        return tuple(_to_part(piece) for piece in pieces[::2])


def read_jpeg(data: bytes) -> Codestream:
    """Read the frame header of JPEG or JPEG-LS.

    Raises
    ------
    CodestreamError
        There is none, or the end is missing.
    """
    _check_ends(data)
    for marker, start, stop in _segments(data):
        if marker in _FRAME_MARKERS:
            return _read_frame(data, start, stop)
    raise CodestreamError("has no frame header that DICOM allows")


def read_scan(data: bytes) -> Scan:
    """Read all that stands before the coded data of a grey JPEG frame, and find where these end.

    Raises
    ------
    CodestreamError
        Something is missing, or not of one grey image.
    """
    _check_ends(data)
    stream: Codestream | None = None
    tables: dict[int, HuffmanTable] = {}
    interval = 0
    for marker, start, stop in _segments(data):
        if marker in _FRAME_MARKERS:
            stream = _read_frame(data, start, stop)
        elif marker == _TABLES:
            _read_tables(data, start, stop, tables)
        elif marker == _INTERVAL and stop - start == 2:
            (interval,) = struct.unpack_from(">H", data, start)
        elif marker == _SCAN:
            if stream is None or stop - start != 6 or data[start] != 1:
                break
            coded = data[stop : data.rindex(END)].rstrip(b"\xff")  # fill bytes may stand before a marker
            which = data[start + 2]
            return Scan(stream, tables, which >> 4, which & 15, data[start + 3], data[start + 5] & 15, interval, coded)
    raise CodestreamError("has no scan of one grey image")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment up to the first scan, and where its content starts and stops."""
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


def _check_ends(data: bytes) -> None:
    if data[:2] != b"\xff\xd8":
        raise CodestreamError("does not begin as JPEG")
    check_end(data)


def _to_part(coded: bytes) -> Part:
    values = np.frombuffer(coded, np.uint8)
    marks = np.flatnonzero(values == 0xFF)
    if not coded or (len(marks) and (marks[-1] == len(coded) - 1 or values[marks + 1].any())):
        raise CodestreamError("has a marker within its image")
    return Part(coded, len(marks))


def _read_frame(data: bytes, start: int, stop: int) -> Codestream:
    if stop - start < 6:
        raise CodestreamError("has no frame header that DICOM allows")
    bits, rows, columns, components = struct.unpack_from(">BHHB", data, start)
    return Codestream(rows, columns, components, bits)


def _read_tables(data: bytes, start: int, stop: int, tables: dict[int, HuffmanTable]) -> None:
    """Read the tables of one segment (T.81, section B.2.4.2); a later one of the same number counts."""
    while start + 17 <= stop:
        counts = data[start + 1 : start + 17]
        end = start + 17 + sum(counts)
        if end > stop:
            break
        tables[data[start]] = HuffmanTable(counts, data[start + 17 : end])
        start = end
    if start != stop:
        raise CodestreamError("has a damaged table of codes")
