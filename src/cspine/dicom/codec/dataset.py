"""DICOM bytes to a pydicom data set, for what the plain walk over elements leaves to pydicom."""

import io
import struct
from collections.abc import Mapping
from typing import Any, Final

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cspine.core.errors import DicomError
from cspine.core.text import sanitize_text
from cspine.dicom.codec.elements import MEDIA_CLASS, PIXEL_DATA, Cut, Elements, Raw, inflate_dataset
from cspine.dicom.sources import SourceFile

_INFLATED_BYTES: Final = 256 * 1024 * 1024


def parse(file: SourceFile, data: bytes, *, complete: bool = True, pixels: bool = False) -> FileDataset:
    """Parse DICOM bytes, with or without the DICOM preamble.

    Parameters
    ----------
    file : SourceFile
        Named in errors.
    data : bytes
        The file's content or its beginning.
    complete : bool
        Whether `data` is the whole file, or all that is wanted of it.
    pixels : bool
        Whether to read pixel data too.

    Raises
    ------
    DicomError
        The bytes are no DICOM, are cut off, or damaged.
    Cut
        They are not complete and end within the header.
    """
    stream = io.BytesIO(data)
    if not looks_like_dicom(data):
        raise DicomError(f"{file.name}: is not a DICOM file; take it out of the folder or give the right one")
    if DeflatedExplicitVRLittleEndian.encode() in data[: 2**20]:  # pydicom would inflate it without a limit
        raise DicomError(f"{file.name}: is deflated, and damaged or laid out oddly; convert it with dcmconv")
    try:
        dataset = pydicom.dcmread(stream, force=data[128:132] != b"DICM", stop_before_pixels=not pixels)
        if not complete and stream.tell() >= len(data):
            raise Cut
        if not len(dataset):
            raise DicomError(f"{file.name}: holds no DICOM elements; it is cut off or not DICOM, copy it again")
        return dataset
    except (Cut, DicomError):
        raise
    except Exception as error:  # pydicom raises whatever the values it converts bring up
        if not complete:
            raise Cut from error
        raise _unreadable(file, error) from error


def parse_deflated(file: SourceFile) -> Dataset:
    """Parse a deflated file without its pixels, inflating a bounded part of it; raises as `parse` does."""
    try:
        inflated = io.BytesIO(inflate_dataset(file.read(), _INFLATED_BYTES))
        return read_dataset(inflated, False, True, stop_when=lambda tag, *_: tag == PIXEL_DATA)
    except Exception as error:
        raise _unreadable(file, error) from error


def elements_by_pydicom(file: SourceFile, data: bytes, wanted: frozenset[int], *, complete: bool) -> Elements:
    """Do what `elements.walk` does, for files laid out in a way only pydicom knows; raises as `parse` does."""
    dataset = parse(file, data, complete=complete)
    try:
        return _to_elements(dataset, wanted)
    except Exception as error:
        raise _unreadable(file, error) from error


def _to_elements(dataset: FileDataset, wanted: frozenset[int]) -> Elements:
    values: dict[int, Raw] = {}
    for tag in wanted:
        element: Any = dataset.get_item(tag) if tag in dataset else None
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
            vr = dictionary_VR(tag) if element.VR in {None, "UN"} else str(element.VR)
            values[tag] = Raw(vr, element.value, element.is_little_endian)
    meta: Mapping[str, Any] = getattr(dataset, "file_meta", {})
    syntax = sanitize_text(str(meta.get("TransferSyntaxUID", "")))
    media_class = str(meta.get("MediaStorageSOPClassUID", ""))
    if media_class:
        values[MEDIA_CLASS] = Raw("UI", media_class.encode(), little_endian=True)
    if not syntax:
        implicit = bool(dataset.original_encoding[0])
        syntax = str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    return Elements(syntax, values, None, None)


def _unreadable(file: SourceFile, error: Exception) -> DicomError:
    """Name the error by its kind: its own text may quote values of the file, which may be personal."""
    kind = type(error).__name__
    return DicomError(f"{file.name}: the header cannot be read ({kind}); copy the file again")


def looks_like_dicom(data: bytes) -> bool:
    """Tell whether bytes begin as DICOM does: with its preamble, or with a low group, as every bare data set does."""
    if data[128:132] == b"DICM":
        return True
    if len(data) < 8:
        return False
    group, element = struct.unpack_from("<HH", data)
    if group in {0x0200, 0x0800}:  # big endian
        group, element = struct.unpack_from(">HH", data)
    return group in {0x0002, 0x0008} and element <= 0x0030
