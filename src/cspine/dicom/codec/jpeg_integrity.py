"""Integrity check of JPEG scans: the Huffman codes of the image must fill the scan exactly.

JPEG has no checksum, and decoders continue where a scan is damaged or truncated: they decode whatever follows, or fill
the rest of the image. A scan holds only the codes of its image, however, so their total length must equal that of the
scan, bit for bit.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cspine.dicom.codec.codestream import CodestreamError
from cspine.dicom.codec.jpeg import EntropySegment, HuffmanTable, Scan, read_scan

_LENGTH_MISMATCH: Final = "its codes do not match the image"

_MISSING_CODE_BITS: Final = 255
"""Length given to a prediction error without a code in the table; far longer than any code."""

_MAX_CODE_BITS: Final = 16
"""Length of the longest code in bits."""

_END_OF_BLOCK: Final = 64
"""Coefficients that the end-of-block code skips: all of a block."""


def check_lossless(data: bytes, image: npt.NDArray[Any]) -> None:
    """Check that a lossless scan is as long as the codes of the image that was decoded from it.

    Each sample is coded as its prediction error (ITU-T T.81, section H.1.2), so the length of its code follows from the
    decoded image.

    Parameters
    ----------
    data : bytes
        Bytes of one encoded frame.
    image : (rows, columns) integer array
        The frame as the decoder returned it.

    Raises
    ------
    CodestreamError
        The lengths differ: part of the image is not what was encoded.
    """
    scan = read_scan(data)
    samples: npt.NDArray[np.uint16] = image.view(np.uint16) if image.dtype.itemsize == 2 else image.astype(np.uint16)
    if scan.shift:
        samples = np.right_shift(samples, scan.shift)
    rows, columns = samples.shape
    each, rest = divmod(scan.restart_interval or samples.size, columns)
    if rest or not each:  # T.81, section H.1.1: complete rows
        raise CodestreamError("has restarts within a row")
    if len(scan.segments) != -(-rows // each):
        raise CodestreamError(_LENGTH_MISMATCH)
    costs = _bits_per_size(scan.table(scan.dc))
    for number, segment in enumerate(scan.segments):
        differences = _prediction_errors(samples[number * each : (number + 1) * each], scan)
        _check_filled(segment, _count_bits(differences, costs))


def check_sequential(data: bytes, image: npt.NDArray[Any]) -> None:
    """Check that a baseline or extended scan holds exactly the codes of its blocks (ITU-T T.81, section F.2.2).

    Parameters
    ----------
    data : bytes
        Bytes of one encoded frame.
    image : (rows, columns) integer array
        The decoded image; only its shape is used, since the codes of a lossy image do not follow from its values.

    Raises
    ------
    CodestreamError
        The scan has fewer or more codes, or invalid ones.
    """
    scan = read_scan(data)
    blocks = -(-image.shape[0] // 8) * -(-image.shape[1] // 8)
    each = scan.restart_interval or blocks
    if len(scan.segments) != -(-blocks // each):
        raise CodestreamError(_LENGTH_MISMATCH)
    steps = _code_steps(scan.table(scan.dc), first=True), _code_steps(scan.table(scan.ac, ac=True), first=False)
    for number, segment in enumerate(scan.segments):
        _check_filled(segment, _count_block_bits(segment, steps, min(each, blocks - number * each)))


def _check_filled(segment: EntropySegment, bits: int) -> None:
    """Check that codes fill an interval, up to the padding of the last byte and of the frame to an even length."""
    needed, available = -(-bits // 8), len(segment.data) - segment.n_stuffed_bytes
    if needed > available or (needed < available and segment.data[needed - available :].strip(b"\0")):
        raise CodestreamError(_LENGTH_MISMATCH)
    unused = (1 << 8 * needed - bits) - 1
    if segment.data[needed - available - 1] & unused not in {0, unused}:  # T.81, F.1.2.3: ones; some write zeros
        raise CodestreamError(_LENGTH_MISMATCH)


# --- lossless --------------------------------------------------------------------------------------------------------


def _prediction_errors(samples: npt.NDArray[np.uint16], scan: Scan) -> npt.NDArray[np.uint16]:
    """Return the prediction error of each sample of an interval, modulo 2^16."""
    result = np.empty_like(samples)
    result[0, 0] = int(samples[0, 0]) - (1 << max(scan.stream.bits - scan.shift - 1, 0)) & 0xFFFF
    np.subtract(samples[1:, 0], samples[:-1, 0], out=result[1:, 0])
    n_left = samples.shape[0] if scan.predictor == 1 else 1  # rows predicted from the left
    np.subtract(samples[:n_left, 1:], samples[:n_left, :-1], out=result[:n_left, 1:])
    if scan.predictor != 1:
        np.subtract(samples[1:, 1:], _predictions(samples, scan.predictor), out=result[1:, 1:])
    return result


def _count_bits(differences: npt.NDArray[np.uint16], costs: tuple[int, ...]) -> int:
    """Return the total code length of prediction errors in bits, counted by size: faster than a look-up of each."""
    sizes = np.abs(differences.view(np.int16)).view(np.uint16)
    small = sizes.astype(np.uint8)  # half the memory to scan
    small |= np.negative((sizes > 255).view(np.uint8))  # 255 where a size is greater, as clipping but faster
    bits = differences.size * costs[0]
    for size in range(1, 17):
        n_at_least = int(np.count_nonzero((small if size <= 8 else sizes) >= 1 << size - 1))
        bits += n_at_least * (costs[size] - costs[size - 1])
        if n_at_least <= 1:  # usually the first sample, which is not predicted: add the rest of its bits at once
            last = int(sizes.max()).bit_length()
            return bits + n_at_least * (costs[last] - costs[size])
    return bits


def _predictions(samples: npt.NDArray[np.uint16], predictor: int) -> npt.NDArray[np.uint16]:
    """Predict all samples but the first row and column from their neighbors (ITU-T T.81, table H.1)."""
    left, above, corner = samples[1:, :-1], samples[:-1, 1:], samples[:-1, :-1]
    if predictor in {2, 3}:
        return above if predictor == 2 else corner
    a, b, c = (values.astype(np.int32) for values in (left, above, corner))
    if predictor not in {4, 5, 6, 7}:
        raise CodestreamError("has no such predictor")
    values = {4: a + b - c, 5: a + (b - c >> 1), 6: b + (a - c >> 1), 7: a + b >> 1}[predictor]
    return values.astype(np.uint16)


@lru_cache(maxsize=64)
def _bits_per_size(table: HuffmanTable) -> tuple[int, ...]:
    """Return the bits of a prediction error by its size, 0 to 16 bits: those of its code, and the size itself."""
    bits = [_MISSING_CODE_BITS] * 17
    lengths = np.repeat(np.arange(1, 17), list(table.counts)).tolist()
    for size, length in zip(table.symbols, lengths, strict=True):
        if size <= 16:
            bits[size] = length + (size if size < 16 else 0)  # 32768, the only one of size 16, has no further bits
    return tuple(bits)


# --- baseline and extended: discrete cosine transform ----------------------------------------------------------------


@lru_cache(maxsize=64)
def _code_steps(table: HuffmanTable, *, first: bool) -> npt.NDArray[np.uint16]:
    """Return, for each 16 bits that a code may begin with, its length and the number of coefficients that it covers.

    The length, including the bits of the coefficient's value, is in the low six bits, the number of coefficients above
    them; 0 if no code begins so.
    """
    steps = np.zeros(1 << _MAX_CODE_BITS, np.uint16)
    lengths = np.repeat(np.arange(1, 17), list(table.counts)).tolist()
    start = 0
    for symbol, length in zip(table.symbols, lengths, strict=True):
        run, size = (0, symbol) if first else divmod(symbol, 16)
        n_covered = _END_OF_BLOCK if not first and symbol == 0 else run + 1
        width = 1 << _MAX_CODE_BITS - length
        steps[start : start + width] = n_covered << 6 | length + size
        start += width
    return steps


def _count_block_bits(
    segment: EntropySegment, steps: tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]], blocks: int
) -> int:
    """Return the total code length of `blocks` blocks in bits; CodestreamError if a code is invalid."""
    data = np.frombuffer(segment.data.replace(b"\xff\x00", b"\xff") + b"\xff\xff\xff", np.uint8).astype(np.uint32)
    three = data[:-2] << 16 | data[1:-1] << 8 | data[2:]
    windows = (three[:, None] >> np.arange(8, 0, -1, dtype=np.uint32) & 0xFFFF).ravel()
    first, rest = (step[windows].tolist() for step in steps)
    position, end = 0, 8 * (len(data) - 3)
    for _ in range(blocks):
        if position >= end:
            raise CodestreamError(_LENGTH_MISMATCH)
        step, moved = first[position], 0
        if not step:
            raise CodestreamError(_LENGTH_MISMATCH)
        position += step & 63
        while moved < 63:
            step = rest[position] if position < end else 0
            if not step:
                raise CodestreamError(_LENGTH_MISMATCH)
            position += step & 63
            moved += step >> 6
        if moved != 63 and step >> 6 != _END_OF_BLOCK:  # beyond the block's last coefficient
            raise CodestreamError(_LENGTH_MISMATCH)
    return position
