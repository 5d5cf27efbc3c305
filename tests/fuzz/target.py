"""The property that is fuzzed: for any bytes, discovery and decoding give a volume, or an error of one line."""

from pathlib import Path

import numpy as np

from cspine.core.errors import CspineError
from cspine.dicom.codec.decode import decode_into
from cspine.dicom.codec.frames import FrameCache
from cspine.dicom.codec.header import SliceHeader, suppress_pydicom_warnings
from cspine.dicom.codec.pixels import PixelRegion
from cspine.dicom.discovery import discover
from cspine.dicom.loading import load_volume

MAX_PIXELS = 2**20
"""Larger images are not decoded, since that takes seconds without reaching other code."""


def run_one(data: bytes, folder: Path) -> str:
    """Write bytes to a file, discover, load and decode it; return whether that succeeded.

    Raises
    ------
    Exception
        Any error but the project's own, and one of these if its message is not one line.
    """
    path = folder / f"x{_guess_suffix(data)}"
    path.write_bytes(data)
    try:
        discovery = discover(path)
    except CspineError as error:
        _check_message(error)
        return "not_assessable"
    outcome = "read"
    for study in discovery.studies:
        for series in study.series:
            try:
                if _is_small(series.headers):
                    load_volume(series)
            except CspineError as error:
                _check_message(error)
                outcome = "not loaded"
            for header in series.headers[:2]:
                _decode(header)
    return outcome


def _decode(header: SliceHeader) -> None:
    rows, columns = header.rows or 0, header.columns or 0
    if not 0 < rows * columns <= MAX_PIXELS:
        return
    for step in (1, 4):
        region = PixelRegion(0, rows, columns, step)
        try:
            with suppress_pydicom_warnings():
                decode_into(header, region, np.empty(region.shape, np.int16), FrameCache())
        except CspineError as error:
            _check_message(error)


def _is_small(headers: tuple[SliceHeader, ...]) -> bool:
    return sum((header.rows or 0) * (header.columns or 0) for header in headers) <= MAX_PIXELS


def _check_message(error: CspineError) -> None:
    message = str(error)
    assert message, "an error without a message"
    assert len(message) < 2000, "an error whose message is too long"
    assert "\n" not in message, f"more than one line: {message!r}"


def _guess_suffix(data: bytes) -> str:
    if data[:2] == b"PK":
        return ".zip"
    if data[:2] == b"\x1f\x8b":
        return ".nii.gz"
    if data[:4] in {b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0"}:
        return ".nii"
    return ".dcm"
