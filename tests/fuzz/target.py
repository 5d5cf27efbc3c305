"""What must hold for any bytes: discovery and decoding give a volume, or one clear sentence."""

from pathlib import Path

import numpy as np

from cspine.core.errors import CspineError
from cspine.dicom.codec.frames import FrameCache
from cspine.dicom.codec.header import SliceHeader, suppress_pydicom_warnings
from cspine.dicom.codec.pixels import PixelRegion
from cspine.dicom.decode import decode_into
from cspine.dicom.discovery import discover
from cspine.dicom.open_series import load_volume

MOST_PIXELS = 2**20
"""Larger images are not decoded: allowed sizes take seconds, which teaches nothing."""


def run_one(data: bytes, folder: Path) -> str:
    """Put bytes into a file, find what is in it, load or decode it; returns what became of it.

    Raises
    ------
    Exception
        Anything but the project's own errors, and those too where they are not one line that names a file.
    """
    path = folder / f"x{_suffix(data)}"
    path.write_bytes(data)
    try:
        found = discover(path)
    except CspineError as error:
        _check(error)
        return "not_assessable"
    outcome = "read"
    for study in found.studies:
        for series in study.series:
            try:
                if _is_small(series.headers):
                    load_volume(series)
            except CspineError as error:
                _check(error)
                outcome = "not loaded"
            for header in series.headers[:2]:
                _decode(header)
    return outcome


def _decode(header: SliceHeader) -> None:
    rows, columns = header.rows or 0, header.columns or 0
    if not 0 < rows * columns <= MOST_PIXELS:
        return
    for step in (1, 4):
        region = PixelRegion(0, rows, columns, step)
        try:
            with suppress_pydicom_warnings():
                decode_into(header, region, np.empty(region.shape, np.int16), FrameCache())
        except CspineError as error:
            _check(error)


def _is_small(headers: tuple[SliceHeader, ...]) -> bool:
    return sum((header.rows or 0) * (header.columns or 0) for header in headers) <= MOST_PIXELS


def _check(error: CspineError) -> None:
    said = str(error)
    assert said, "an error without a sentence"
    assert len(said) < 2000, "an error that is no sentence"
    assert "\n" not in said, f"more than one line: {said!r}"


def _suffix(data: bytes) -> str:
    if data[:2] == b"PK":
        return ".zip"
    if data[:2] == b"\x1f\x8b":
        return ".nii.gz"
    if data[:4] in {b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0"}:
        return ".nii"
    return ".dcm"
