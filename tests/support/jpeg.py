"""A slow encoder of lossless JPEG (ITU-T T.81, annex H) with restarts and point transforms, which imagecodecs lacks."""

import struct

import numpy as np
import numpy.typing as npt

CODE_BITS = 5
"""Length of the code of every size from 0 to 16: 00000 to 10000."""


def encode_lossless(
    samples: npt.NDArray[np.uint16], *, predictor: int = 1, shift: int = 0, rows_between_restarts: int = 0
) -> bytes:
    """Return one gray frame of 16 bits."""
    rows, columns = samples.shape
    interval_rows = rows_between_restarts or rows
    intervals = [
        _encode_interval(samples[start : start + interval_rows].astype(int) >> shift, predictor, shift)
        for start in range(0, rows, interval_rows)
    ]
    restarts = (bytes([0xFF, 0xD0 + n % 8]) + interval for n, interval in enumerate(intervals[1:]))
    entropy_coded = intervals[0] + b"".join(restarts)
    table = bytes([0, *[0] * (CODE_BITS - 1), 17, *[0] * (16 - CODE_BITS), *range(17)])
    restart_segment = b"\xff\xdd" + struct.pack(">HH", 4, columns * interval_rows) if rows_between_restarts else b""
    return b"".join(
        [
            b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB3B", 11, 16, rows, columns, 1, 1, 0x11, 0),
            b"\xff\xc4" + struct.pack(">H", 2 + len(table)) + table,
            restart_segment,
            b"\xff\xda" + struct.pack(">HB2B3B", 8, 1, 1, 0, predictor, 0, shift),
            entropy_coded,
            b"\xff\xd9",
        ]
    )


def _encode_interval(values: npt.NDArray[np.int_], predictor: int, shift: int) -> bytes:
    bits = ""
    for (row, column), value in np.ndenumerate(values):
        difference = (int(value) - _predict(values, row, column, predictor, shift) + 32768) % 65536 - 32768
        size = abs(difference).bit_length()
        bits += f"{size:0{CODE_BITS}b}"
        if 0 < size < 16:
            bits += f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")


def _predict(values: npt.NDArray[np.int_], row: int, column: int, predictor: int, shift: int) -> int:
    if row == column == 0:
        return int(1 << 15 - shift)
    if row == 0:
        return int(values[row, column - 1])
    if column == 0:
        return int(values[row - 1, column])
    a, b, c = int(values[row, column - 1]), int(values[row - 1, column]), int(values[row - 1, column - 1])
    return [0, a, b, c, a + b - c, a + (b - c >> 1), b + (a - c >> 1), a + b >> 1][predictor]
