"""Parse DICOM bytes with pydicom, for encodings and elements that the parser of `elements` does not support."""

import io
import struct
from collections.abc import Mapping
from typing import Any, Final

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cspine.core.errors import DicomError
from cspine.core.text import sanitize_text
from cspine.dicom.codec.elements import (
    MEDIA_CLASS,
    PIXEL_DATA,
    Elements,
    RawElement,
    TruncatedError,
    dictionary_vr,
    inflate_dataset,
)
from cspine.dicom.sources import SourceFile

_MAX_INFLATED_BYTES: Final = 256 * 1024 * 1024
"""Most bytes of a deflated data set to inflate; headers have a few kilobytes."""


def parse(file: SourceFile, data: bytes, *, complete: bool = True, pixels: bool = False) -> FileDataset:
    """Parse DICOM bytes, with or without the DICOM preamble.

    Parameters
    ----------
    file : SourceFile
        The file, for its name in error messages.
    data : bytes
        Content of the file, or its beginning.
    complete : bool
        Whether `data` is all that can be read of the file.
    pixels : bool
        Whether to read pixel data, too.

    Returns
    -------
    pydicom.FileDataset

    Raises
    ------
    DicomError
        The bytes are not DICOM, or are truncated or damaged.
    TruncatedError
        `data` is not complete and ends within the header.
    """
    stream = io.BytesIO(data)
    if not looks_like_dicom(data):
        raise DicomError(f"{file.name}: is not a DICOM file; take it out of the folder or give the right one")
    if DeflatedExplicitVRLittleEndian.encode() in data[: 2**20]:  # pydicom would inflate it without a limit
        raise DicomError(f"{file.name}: is deflated, and damaged or of unsupported layout; convert it with dcmconv")
    try:
        dataset = pydicom.dcmread(stream, force=data[128:132] != b"DICM", stop_before_pixels=not pixels)
        if not complete and stream.tell() >= len(data):
            raise TruncatedError
        if not len(dataset):
            raise DicomError(f"{file.name}: holds no DICOM elements, since it is cut off or not DICOM; copy it again")
        return dataset
    except (TruncatedError, DicomError):
        raise
    except Exception as error:  # pydicom raises errors of any type on invalid values
        if not complete:
            raise TruncatedError from error
        raise _unreadable(file, error) from error


def parse_deflated(file: SourceFile) -> Dataset:
    """Parse the header of a deflated file, inflating at most `_MAX_INFLATED_BYTES` of it; raises as `parse` does."""
    try:
        inflated = io.BytesIO(inflate_dataset(file.read(), _MAX_INFLATED_BYTES))
        return read_dataset(inflated, False, True, stop_when=lambda tag, *_: tag == PIXEL_DATA)
    except Exception as error:
        raise _unreadable(file, error) from error


def elements_by_pydicom(file: SourceFile, data: bytes, tags: frozenset[int] | None, *, complete: bool) -> Elements:
    """Read the requested elements with pydicom, as `elements.walk_elements` returns them; raises as `parse` does."""
    dataset = parse(file, data, complete=complete)
    try:
        return _to_elements(dataset, tags)
    except Exception as error:
        raise _unreadable(file, error) from error


def _to_elements(dataset: FileDataset, tags: frozenset[int] | None) -> Elements:
    values: dict[int, RawElement] = {}
    for tag in dataset.keys() if tags is None else tags:
        element: Any = dataset.get_item(tag) if tag in dataset else None
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
            vr = dictionary_vr(tag) if element.VR in {None, "UN"} else str(element.VR)
            values[tag] = RawElement(vr, element.value, element.is_little_endian)
    meta: Mapping[str, Any] = getattr(dataset, "file_meta", {})
    syntax = sanitize_text(str(meta.get("TransferSyntaxUID", "")))
    media_class = str(meta.get("MediaStorageSOPClassUID", ""))
    if media_class:
        values[MEDIA_CLASS] = RawElement("UI", media_class.encode(), little_endian=True)
    if not syntax:
        is_implicit, is_little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian
        syntax = str(ImplicitVRLittleEndian if is_implicit else explicit)
    return Elements(syntax, values, None, None)


def _unreadable(file: SourceFile, error: Exception) -> DicomError:
    """Return an error with the original one's type only, since its text may quote personal values of the file."""
    name = type(error).__name__
    return DicomError(f"{file.name}: the header cannot be read ({name}); copy the file again")


def looks_like_dicom(data: bytes) -> bool:
    """Return whether bytes begin with the DICOM preamble or, for a data set without it, with an element of low tag."""
    if data[128:132] == b"DICM":
        return True
    if len(data) < 8:
        return False
    group, element = struct.unpack_from("<HH", data)
    if group in {0x0200, 0x0800}:  # big endian
        group, element = struct.unpack_from(">HH", data)
    return group in {0x0002, 0x0008} and element <= 0x0030
