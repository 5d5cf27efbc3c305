"""The header of a fetched instance, which has to be the one that the archive's metadata described."""

import math
from dataclasses import replace
from typing import Final

from cspine.core.errors import DicomError
from cspine.dicom.codec.header import SliceHeader, read_header
from cspine.dicom.dicomweb.described_file import DescribedFile

_MAX_ROUNDING: Final = 1e-3
"""Largest difference of a length in mm, or of a cosine, that comes from rounding by the archive."""


def fetched_header(header: SliceHeader) -> SliceHeader:
    """Return the header with the file itself, where it is known by an archive's metadata only; others as they are.

    Parameters
    ----------
    header : SliceHeader
        Header of a frame.

    Returns
    -------
    SliceHeader
        The same attributes, with the fetched file and the place and encoding of its pixels.

    Raises
    ------
    DicomError
        The archive sent another image than its metadata describe.
    SourceError
        The archive does not send it.
    """
    if not isinstance(header.file, DescribedFile):
        return header
    file = header.file.fetch()
    actual = read_header(file)
    if _image(actual) != _image(header) or (header.frames == 1 and not _is_same_place(actual, header)):
        raise DicomError(
            f"{file.name}: the archive sent another image than its metadata describe; have the study stored again"
        )
    if header.frame == 0 and not _has_same_values(actual, header):
        raise DicomError(
            f"{file.name}: rescaling or padding of its pixels are not those of the archive's metadata; have the study "
            "stored again"
        )
    return replace(
        header,
        file=file,
        transfer_syntax_uid=actual.transfer_syntax_uid,
        pixel_data_offset=actual.pixel_data_offset,
        pixel_data_length=actual.pixel_data_length,
    )


def _image(header: SliceHeader) -> tuple[object, ...]:
    """Return what identifies an image and describes its pixels."""
    pixels = header.pixel_format
    return (
        header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid, header.rows, header.columns,
        header.frames, header.samples_per_pixel, pixels.bits_allocated, pixels.bits_stored, pixels.signed,
    )  # fmt: skip


def _is_same_place(actual: SliceHeader, described: SliceHeader) -> bool:
    """Return whether two headers place an image alike; metadata may be rounded."""
    for name in ("position_mm", "orientation", "pixel_spacing_mm"):
        one, other = getattr(actual, name), getattr(described, name)
        if (one is None) != (other is None):
            return False
        if one is not None and any(abs(a - b) > _MAX_ROUNDING for a, b in zip(one, other, strict=True)):
            return False
    return True


def _has_same_values(actual: SliceHeader, described: SliceHeader) -> bool:
    """Return whether two headers make the same Hounsfield units of the pixels."""
    one, other = actual.pixel_format, described.pixel_format
    return (
        one.padding == other.padding
        and math.isclose(one.slope, other.slope)
        and math.isclose(one.intercept, other.intercept)
    )
