"""Parse the markers of JPEG 2000 frames, including HTJ2K (ITU-T T.800, annex A), before they are decoded."""

import math
import struct
from typing import Final

from cspine.dicom.codec.codestream import END_OF_IMAGE, Codestream, CodestreamError

_SOC_SIZ: Final = b"\xff\x4f\xff\x51"
_COD, _COMMENT, _TILE, _DATA, _END = 0xFF52, 0xFF64, 0xFF90, 0xFF93, 0xFFD9
_JP2_HEAD: Final = b"\x00\x00\x00\x0cjP  "

_MAX_TILES: Final = 1024
"""Most tiles of a frame, since a decoder allocates memory for each; CT has 1, or a few dozen."""


def read_jpeg2000(data: bytes) -> Codestream:
    """Read the size of the image (T.800, section A.5.1), and check that no tile is missing.

    A decoder leaves missing tiles empty without an error.

    Parameters
    ----------
    data : bytes
        The frame, or a JP2 file that holds it.

    Returns
    -------
    Codestream
        `n_decomposition_levels` is 0 if the image has an offset, since reduced resolutions then begin elsewhere.

    Raises
    ------
    CodestreamError
        The header, a tile or the end marker is missing, or there are too many tiles.
    """
    start = _find_start(data)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">8I", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    depth = data[start + 42]
    if not tile_width or not tile_height or right <= left or bottom <= top:
        raise CodestreamError("has no size")
    n_decomposition_levels, position = _read_main_header(data, start + 2)
    tiles = math.ceil((right - tile_left) / tile_width) * math.ceil((bottom - tile_top) / tile_height)
    _check_tiles(data, position, tiles)
    return Codestream(
        bottom - top,
        right - left,
        components,
        (depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        n_decomposition_levels=0 if (left, top) != (0, 0) else n_decomposition_levels,
    )


def scrub_jpeg2000(data: bytes) -> bytes:
    """Return the codestream of a frame with its comments blank, without what a JP2 file adds and bytes after its end.

    Parameters
    ----------
    data
        As of `read_jpeg2000`.

    Raises
    ------
    CodestreamError
        As of `read_jpeg2000`.
    """
    start = _find_start(data)
    _, first = _read_main_header(data, start + 2)
    parts, end = _read_tile_parts(data, first)
    frame = bytearray(data[:end])
    for position in (start + 2, *(part + 12 for part in parts)):
        _blank_comments(frame, position)
    return bytes(frame[start:])


def _blank_comments(frame: bytearray, position: int) -> None:
    """Blank the comments (section A.9.2) of the main header or of a tile part's."""
    while position + 4 <= len(frame):
        marker, length = struct.unpack_from(">2H", frame, position)
        if marker in {_TILE, _DATA, _END} or length < 2:
            return
        stop = min(position + 2 + length, len(frame))
        if marker == _COMMENT and stop > position + 6:
            frame[position + 6 : stop] = b" " * (stop - position - 6)
        position = stop


def _find_start(data: bytes) -> int:
    """Return the offset of the codestream."""
    start = 0
    if data[:8] == _JP2_HEAD:  # a JP2 file, which DICOM does not allow but some writers embed
        start = max(data.find(_SOC_SIZ, 0, 65536), 0)
    if data[start : start + 4] != _SOC_SIZ or len(data) < start + 46:
        raise CodestreamError("does not begin as JPEG 2000")
    return start


def _read_main_header(data: bytes, position: int) -> tuple[int, int]:
    """Return the decomposition levels (section A.6.1; 0 if absent), and the offset of the first tile part."""
    n_decomposition_levels = 0
    while position + 12 <= len(data):
        marker, length = struct.unpack_from(">2H", data, position)
        if marker == _TILE:
            return n_decomposition_levels, position
        if marker == _COD:
            n_decomposition_levels = data[position + 9]
        if not 0xFF50 <= marker <= 0xFF7F or length < 2:
            break
        position += 2 + length
    raise CodestreamError("has no tiles")


def _check_tiles(data: bytes, position: int, tiles: int) -> None:
    """Check that the tile parts up to the end include every tile."""
    if tiles > _MAX_TILES:
        raise CodestreamError(f"{tiles:,} tiles, at most {_MAX_TILES:,} are read")
    parts, _ = _read_tile_parts(data, position)
    missing = set(range(tiles)) - {int.from_bytes(data[part + 4 : part + 6], "big") for part in parts}
    if missing:
        raise CodestreamError(f"lacks {len(missing)} of {tiles} tiles")


def _read_tile_parts(data: bytes, position: int) -> tuple[list[int], int]:
    """Return the offset of each tile part (section A.4.2), and that after the end marker."""
    parts: list[int] = []
    while position + 2 <= len(data):
        (marker,) = struct.unpack_from(">H", data, position)
        if marker == _END:
            return parts, position + 2
        if marker != _TILE or position + 12 > len(data):
            raise CodestreamError("is not made of tiles")
        (length,) = struct.unpack_from(">I", data, position + 6)
        parts.append(position)
        if not length:  # the last tile part, which extends to the end; coded data cannot hold the end marker
            end = data.find(END_OF_IMAGE, position + 12)
            if end < 0:
                break
            return parts, end + 2
        if length < 14:
            raise CodestreamError("is not made of tiles")
        position += length
    raise CodestreamError("cut off")
