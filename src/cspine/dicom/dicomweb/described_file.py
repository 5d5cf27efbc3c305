"""Instances of an archive: known by the metadata first, and fetched when their pixels are read.

Selection reads headers of all series and pixels of few. The metadata of a series come by one request, and are read here
as what they are: the header of each file.
"""

import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final, cast

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from cspine.core.errors import DicomError, SourceError
from cspine.core.storage.dicomweb import MAX_INSTANCE_BYTES
from cspine.core.storage.read_ahead import READ_AHEAD
from cspine.core.storage.remote_path import RemotePath
from cspine.core.storage.store import ObjectInfo
from cspine.dicom.sources import SourceFile

_PIXEL_DATA: Final = 0x7FE00010
_MAX_HEAD_BYTES: Final = 16 * 2**20
"""Longest header; those of multi-frame CT have a kilobyte for each frame."""


@dataclass(frozen=True, slots=True)
class FetchedFile(SourceFile):
    """A file that was fetched, in memory.

    Attributes
    ----------
    data : bytes
        Its content.
    """

    data: bytes = field(default=b"", compare=False, repr=False)

    def read(self, limit: int | None = None) -> bytes:
        """Return the content, or its first `limit` bytes."""
        return self.data if limit is None else self.data[:limit]

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Copy the content from `offset` on into a buffer; return the number of bytes."""
        part = memoryview(self.data)[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)


@dataclass(frozen=True, slots=True)
class DescribedFile(SourceFile):
    """An instance of an archive whose header is known, and whose file is fetched when it is read as a whole.

    Attributes
    ----------
    head : bytes
        The header as a DICOM file, up to the pixels.
    """

    head: bytes = field(default=b"", compare=False, repr=False)

    def read(self, limit: int | None = None) -> bytes:
        """Return the first `limit` bytes of what the metadata describe, or all of the file that the archive holds."""
        return self.fetch().data if limit is None else self.head[:limit]

    def fetch(self) -> FetchedFile:
        """Fetch the file, unless it was fetched ahead.

        Raises
        ------
        SourceError
            The archive does not send it.
        """
        path = cast("RemotePath", self.container)  # describe makes no others
        try:
            data = READ_AHEAD.take(path, None)
            if data is None:
                data = path.read_bytes()
        except FileNotFoundError as error:
            raise SourceError(f"{self.name}: is no longer in the archive; run again") from error
        return FetchedFile(self.container, None, self.name, len(data), data=data)


def describe(study: RemotePath, metadata: dict[str, Any]) -> DescribedFile:
    """Return an instance as its metadata describe it.

    Parameters
    ----------
    study : RemotePath
        The study in the archive.
    metadata : dict
        A data set in DICOM JSON, of which the UIDs are checked.

    Raises
    ------
    DicomError
        The metadata are not valid.
    """
    series_uid, uid = text_of(metadata, "0020000E"), text_of(metadata, "00080018")
    name = f"{series_uid}/{uid}"
    try:
        dataset = Dataset.from_json(
            {tag: element for tag, element in metadata.items() if not _is_left_out(tag, element)}
        )
        head = _encode(dataset)
    except Exception as error:  # noqa: BLE001 - pydicom raises any type on invalid values, whose text may be personal
        raise DicomError(
            f"{name}: the archive's metadata are not valid ({type(error).__name__}); have the study stored again"
        ) from None
    n_bytes = _pixel_bytes(dataset)
    if len(head) > _MAX_HEAD_BYTES or n_bytes > MAX_INSTANCE_BYTES:
        raise DicomError(f"{name}: the archive describes an image larger than any CT; leave this series out")
    head += struct.pack("<HH2sHI", _PIXEL_DATA >> 16, _PIXEL_DATA & 0xFFFF, b"OW", 0, n_bytes)
    path = (study / "series" / series_uid / "instances" / uid).with_info(ObjectInfo(len(head) + n_bytes))
    return DescribedFile(path, None, name, len(head) + n_bytes, head=head)


def text_of(metadata: dict[str, Any], tag: str) -> str:
    """Return the first value of an element as text; empty where it is absent or something else."""
    element = metadata.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values and isinstance(values[0], (str, int)) else ""


def _is_left_out(tag: str, element: object) -> bool:
    """Return whether an element is no part of the header: pixels and what follows, and values kept elsewhere."""
    is_head = "0003" <= tag.upper() < "7FE00000"
    return not is_head or not isinstance(element, dict) or "BulkDataURI" in element


def _encode(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = BytesIO()
    with pydicom.config.disable_value_validation():
        written = FileDataset(stream, dataset, file_meta=meta, preamble=b"\0" * 128)  # images may lack a SOP class
        dcmwrite(stream, written, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def _pixel_bytes(dataset: Dataset) -> int:
    """Return the bytes of the pixels, as far as the metadata say them."""
    try:
        n_frames = int(dataset.get("NumberOfFrames") or 1)
        n_bits = int(dataset.get("BitsAllocated") or 16)
        n_bytes = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) * n_bits // 8 * n_frames
    except (TypeError, ValueError):
        return 0
    return max(n_bytes + n_bytes % 2, 0)
