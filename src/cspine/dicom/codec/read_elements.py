"""Read the elements of a file's header, in as few bytes as hold them."""

import struct
from typing import Final

from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian

from cspine.core.errors import DicomError
from cspine.dicom.codec.dataset import elements_by_pydicom, looks_like_dicom
from cspine.dicom.codec.elements import (
    MAX_NESTING,
    MEDIA_CLASS,
    Elements,
    NestingError,
    TruncatedError,
    UnsupportedLayoutError,
    walk_elements,
)
from cspine.dicom.files.formats import HEAD_BYTES, packed_reason
from cspine.dicom.sources import SourceFile

READ_BYTES: Final = (16 * 1024, 1024 * 1024, 64 * 1024 * 1024)
"""Bytes of a file read in turn until the header is complete; nearly every CT header ends within the first."""

_SOP_CLASS: Final = 0x00080016
_PIXEL_TAGS: Final = tuple(
    struct.pack(f"{order}2H", 0x7FE0, element) for order in "<>" for element in (0x0010, 0x0008, 0x0009)
)
"""Tags of PixelData and of floating-point pixels, in little and in big endian."""


def read_elements(file: SourceFile, tags: frozenset[int] | None) -> Elements:
    """Read increasing parts of a file until its header is complete.

    Parameters
    ----------
    file : SourceFile
        The file to read.
    tags : set of int, or None
        Requested tags, as ``group << 16 | element``; None for all of the top level.

    Returns
    -------
    Elements

    Raises
    ------
    DicomError
        The file is not DICOM, or its header is damaged or too long.
    SourceError, ArchiveError
        The file cannot be read.
    """
    for limit in READ_BYTES:
        data = file.read(limit)
        if not looks_like_dicom(data):
            raise DicomError(f"{file.name}: {_reason_against(file.name, data)}")
        complete = len(data) >= file.size
        try:
            elements = _parse(file, data, tags, complete=complete)
        except TruncatedError:
            continue
        if complete and _ends_before_pixels(elements, data):
            raise DicomError(f"{file.name}: ends before its pixels, so it is cut off; copy it again")
        return elements
    raise DicomError(
        f"{file.name}: its header is longer than {READ_BYTES[-1] >> 20} MiB, which no CT has; remove the file"
    )


def _parse(file: SourceFile, data: bytes, tags: frozenset[int] | None, *, complete: bool) -> Elements:
    try:
        return walk_elements(data, tags, complete=complete)
    except NestingError:
        raise DicomError(
            f"{file.name}: nests sequences more than {MAX_NESTING} deep, which no CT does; remove the file"
        ) from None
    except TruncatedError:
        if not complete:
            raise
    except UnsupportedLayoutError:
        pass
    return elements_by_pydicom(file, data, tags, complete=complete)


def _reason_against(name: str, data: bytes) -> str:
    """Return why a file is not DICOM, with the remedy."""
    if not data:
        return "is empty; copy it again"
    if not any(data):
        return "holds nothing but zeros; copy it again"
    return packed_reason(name, data[:HEAD_BYTES]) or (
        "is not a DICOM file; take it out of the folder or give the right one"
    )


def _ends_before_pixels(elements: Elements, data: bytes) -> bool:
    """Return whether a file that is read to its end is a CT image without pixels.

    One that does not say what it is counts as an image, since a file that is cut off early lacks that, too.
    """
    if elements.pixel_data_offset is not None or elements.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        return False
    raw = elements.values.get(_SOP_CLASS) or elements.values.get(MEDIA_CLASS)
    sop_class = raw.value.decode("ascii", "replace").strip(" \0") if raw else CTImageStorage
    return sop_class.startswith(CTImageStorage) and not any(tag in data for tag in _PIXEL_TAGS)
