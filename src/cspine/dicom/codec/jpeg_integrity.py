"""Whether the codes of a JPEG scan come to just its image.

JPEG has no checksum, and decoders go on where a scan is damaged or a piece of it lost: they take what comes next, or
nothing, for the rest. But a scan holds nothing beside its codes, so these have to fill it, bit for bit.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.dicom.codec.codestream import CodestreamError
from cspine.dicom.codec.jpeg import HuffmanTable, Part, Scan, read_scan

_LOST: Final = "its codes do not come to its image"

_NO_CODE: Final = 255
"""Bits of a difference that the table has no code for; far more than any code takes."""

_WINDOW: Final = 16
"""Bits that are looked at for a code; none is longer."""

_BLOCK_END: Final = 64
"""How far the code for "nothing more" moves within a block."""


def check_lossless(data: bytes, image: npt.NDArray[Any]) -> None:
    """Hold that a lossless frame's scan is as long as the codes of the image decoded from it.

    Each sample is coded as its difference from a prediction (ITU-T T.81, section H.1.2), so the decoded image tells
    how many bits its codes take.

    Parameters
    ----------
    data : bytes
        The frame.
    image : (rows, columns) integers
        What was decoded.

    Raises
    ------
    CodestreamError
        They differ: some of the image is not what was written.
    """
    scan = read_scan(data)
    samples: npt.NDArray[np.uint16] = image.view(np.uint16) if image.dtype.itemsize == 2 else image.astype(np.uint16)
    if scan.shift:
        samples = np.right_shift(samples, scan.shift)
    rows, columns = samples.shape
    each, rest = divmod(scan.interval or samples.size, columns)
    if rest or not each:  # T.81, section H.1.1: whole rows
        raise CodestreamError("has restarts within a row")
    if len(scan.parts) != -(-rows // each):
        raise CodestreamError(_LOST)
    costs = _bits_of_sizes(scan.table(scan.dc))
    for number, part in enumerate(scan.parts):
        differences = _differences(samples[number * each : (number + 1) * each], scan)
        _check_filled(part, _bits_of(differences, costs))


def check_sequential(data: bytes, image: npt.NDArray[Any]) -> None:
    """Hold that a baseline or extended frame's scan holds just the codes of its blocks (ITU-T T.81, section F.2.2).

    Parameters
    ----------
    data : bytes
        The frame.
    image : (rows, columns) integers
        What was decoded; only its shape counts, since it does not tell its codes.

    Raises
    ------
    CodestreamError
        The scan has fewer or more, or others.
    """
    scan = read_scan(data)
    blocks = -(-image.shape[0] // 8) * -(-image.shape[1] // 8)
    each = scan.interval or blocks
    if len(scan.parts) != -(-blocks // each):
        raise CodestreamError(_LOST)
    steps = _steps(scan.table(scan.dc), first=True), _steps(scan.table(scan.ac, ac=True), first=False)
    for number, part in enumerate(scan.parts):
        _check_filled(part, _walk_blocks(part, steps, min(each, blocks - number * each)))


def _check_filled(part: Part, bits: int) -> None:
    """Hold that codes fill an interval, but for bits up to a whole byte and zeros that make the frame's length even."""
    needed, there = -(-bits // 8), len(part.data) - part.stuffed
    if needed > there or (needed < there and part.data[needed - there :].strip(b"\0")):
        raise CodestreamError(_LOST)
    unused = (1 << 8 * needed - bits) - 1
    if part.data[needed - there - 1] & unused not in {0, unused}:  # T.81, section F.1.2.3: ones; zeros are met
        raise CodestreamError(_LOST)


# --- lossless --------------------------------------------------------------------------------------------------------


def _differences(samples: npt.NDArray[np.uint16], scan: Scan) -> npt.NDArray[np.uint16]:
    """Return each sample of an interval less its prediction, modulo 2^16."""
    result = np.empty_like(samples)
    result[0, 0] = int(samples[0, 0]) - (1 << max(scan.stream.bits - scan.shift - 1, 0)) & 0xFFFF
    np.subtract(samples[1:, 0], samples[:-1, 0], out=result[1:, 0])
    ahead = samples.shape[0] if scan.predictor == 1 else 1
    np.subtract(samples[:ahead, 1:], samples[:ahead, :-1], out=result[:ahead, 1:])
    if scan.predictor != 1:
        np.subtract(samples[1:, 1:], _predictions(samples, scan.predictor), out=result[1:, 1:])
    return result


def _bits_of(differences: npt.NDArray[np.uint16], costs: tuple[int, ...]) -> int:
    """Return how many bits differences take together: counted size by size, which is faster than looking each up."""
    sizes = np.abs(differences.view(np.int16)).view(np.uint16)
    small = sizes.astype(np.uint8)  # half the bytes to go through
    small |= np.negative((sizes > 255).view(np.uint8))  # all bits where a size is greater: clipped, but faster
    bits = differences.size * costs[0]
    for size in range(1, 17):
        reach = int(np.count_nonzero((small if size <= 8 else sizes) >= 1 << size - 1))
        bits += reach * (costs[size] - costs[size - 1])
        if reach <= 1:  # the first sample is coded as it is: the rest of its way alone
            last = int(sizes.max()).bit_length()
            return bits + reach * (costs[last] - costs[size])
    return bits


def _predictions(samples: npt.NDArray[np.uint16], predictor: int) -> npt.NDArray[np.uint16]:
    """Predict all but the first row and column from neighbours (ITU-T T.81, table H.1)."""
    left, above, corner = samples[1:, :-1], samples[:-1, 1:], samples[:-1, :-1]
    if predictor in {2, 3}:
        return above if predictor == 2 else corner
    a, b, c = (values.astype(np.int32) for values in (left, above, corner))
    if predictor not in {4, 5, 6, 7}:
        raise CodestreamError("has no such predictor")
    values = {4: a + b - c, 5: a + (b - c >> 1), 6: b + (a - c >> 1), 7: a + b >> 1}[predictor]
    return values.astype(np.uint16)


@lru_cache(maxsize=64)
def _bits_of_sizes(table: HuffmanTable) -> tuple[int, ...]:
    """Return how many bits a difference of each size (its own bits, 0 to 16) takes: its code, then the difference."""
    bits = [_NO_CODE] * 17
    lengths = np.repeat(np.arange(1, 17), list(table.counts)).tolist()
    for size, length in zip(table.symbols, lengths, strict=True):
        if size <= 16:
            bits[size] = length + (size if size < 16 else 0)  # 32768 is told by its size alone
    return tuple(bits)


# --- with cosine transform -------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _steps(table: HuffmanTable, *, first: bool) -> npt.NDArray[np.uint16]:
    """Return, for each 16 bits that a code may begin, how many it takes and how far it moves within the block.

    Bits in the low six, coefficients above them; 0 where no code begins so.
    """
    steps = np.zeros(1 << _WINDOW, np.uint16)
    lengths = np.repeat(np.arange(1, 17), list(table.counts)).tolist()
    start = 0
    for symbol, length in zip(table.symbols, lengths, strict=True):
        run, size = (0, symbol) if first else divmod(symbol, 16)
        moved = _BLOCK_END if not first and symbol == 0 else run + 1
        width = 1 << _WINDOW - length
        steps[start : start + width] = moved << 6 | length + size
        start += width
    return steps


def _walk_blocks(part: Part, steps: tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]], blocks: int) -> int:
    """Return how many bits the codes of that many blocks take; CodestreamError where one is none."""
    data = np.frombuffer(part.data.replace(b"\xff\x00", b"\xff") + b"\xff\xff\xff", np.uint8).astype(np.uint32)
    three = data[:-2] << 16 | data[1:-1] << 8 | data[2:]
    windows = (three[:, None] >> np.arange(8, 0, -1, dtype=np.uint32) & 0xFFFF).ravel()
    first, rest = (step[windows].tolist() for step in steps)
    position, end = 0, 8 * (len(data) - 3)
    for _ in range(blocks):
        if position >= end:
            raise CodestreamError(_LOST)
        step, moved = first[position], 0
        if not step:
            raise CodestreamError(_LOST)
        position += step & 63
        while moved < 63:
            step = rest[position] if position < end else 0
            if not step:
                raise CodestreamError(_LOST)
            position += step & 63
            moved += step >> 6
        if moved != 63 and step >> 6 != _BLOCK_END:  # past the block's last coefficient
            raise CodestreamError(_LOST)
    return position
