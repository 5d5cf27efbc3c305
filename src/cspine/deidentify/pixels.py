"""The image in a file: written anew so that every reader reads it, and compared between a file and its copy."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cspine.core.errors import DicomError
from cspine.dicom.codec.codecs import CODECS, RLE
from cspine.dicom.codec.encapsulation import encapsulate_frames
from cspine.dicom.codec.frames import FrameCache, damage_error, frame_size_bytes, read_all_frames, read_pixel_data
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.codec.multiframe import frame_headers
from cspine.dicom.read_planes import decode_slice

_VR_OFFSET: Final = 8
"""Bytes between the VR of PixelData and its value."""

_OFFSET_TABLES: Final = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")

_COMPARED: Final[dict[str, Callable[[SliceHeader], object]]] = {
    "Rows and Columns": lambda header: (header.rows, header.columns, header.frames),
    "PixelSpacing": lambda header: _rounded(header.pixel_spacing_mm),
    "ImagePositionPatient": lambda header: _rounded(header.position_mm),
    "ImageOrientationPatient": lambda header: _rounded(header.orientation),
    "SliceThickness": lambda header: _rounded((header.slice_thickness_mm,) if header.slice_thickness_mm else None),
    "PhotometricInterpretation": lambda header: header.photometric_interpretation,
    "Modality": lambda header: header.modality,
}
"""Attributes that must be the same in the copy, beside the pixels in HU."""


@dataclass(frozen=True)
class ImageContent:
    """What an image shows, and where: equal for a file and a copy that lost nothing.

    Attributes
    ----------
    attributes : tuple of (str, str)
        Name of each attribute compared, and its values in all frames as text.
    pixels : str
        SHA-256 of all pixels in HU.
    """

    attributes: tuple[tuple[str, str], ...]
    pixels: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def differences(self, other: "ImageContent") -> list[str]:
        """Return the names of what differs."""
        names = sorted({name for name, _ in {*self.attributes} ^ {*other.attributes}})
        return [*names, *(["the pixels"] if self.pixels != other.pixels else [])]


def read_content(header: SliceHeader) -> ImageContent:
    """Decode all pixels of a file.

    Parameters
    ----------
    header : SliceHeader
        Header of the file.

    Returns
    -------
    ImageContent

    Raises
    ------
    DicomError
        The file has no size of its image, or invalid functional groups.
    DecodeError
        The pixels are missing, truncated, damaged or of an unsupported format.
    """
    if not header.rows or not header.columns:
        raise DicomError(f"{header.file.name}: has no Rows and Columns; export it again")
    frames = frame_headers(header) if header.frames > 1 else (header,)
    if len(frames) < header.frames:  # without functional groups
        frames = tuple(replace(header, frame=number) for number in range(header.frames))
    digest, cache = hashlib.sha256(), FrameCache()
    for frame in frames:
        digest.update(decode_slice(frame, cache).data)
    attributes = tuple((name, str([get(frame) for frame in frames])) for name, get in _COMPARED.items())
    return ImageContent(attributes, digest.hexdigest())


def set_pixels(dataset: Dataset, header: SliceHeader) -> str:
    """Set the pixels of a data set to those of a file, without anything that is not pixels.

    Compressed frames become one item of even length each, behind a table of their offsets; their comments, and bytes
    after their ends, are blank. Of uncompressed pixels, bytes after the last one are left out.

    Parameters
    ----------
    dataset : Dataset
        Header of the same file; changed in place.
    header : SliceHeader
        Header of a file whose pixels `read_content` decodes.

    Returns
    -------
    str
        UID of the transfer syntax to write: the file's, or explicit VR little endian where the file is deflated.

    Raises
    ------
    DecodeError
        The pixels cannot be read.
    """
    for keyword in _OFFSET_TABLES:
        dataset.pop(keyword, None)
    syntax = header.transfer_syntax_uid
    if syntax in CODECS or syntax == RLE:
        dataset.PixelData = encapsulate_frames([_scrub(header, frame) for frame in read_all_frames(header)])
        dataset["PixelData"].VR = "OB"
        return syntax
    size = frame_size_bytes(header) * header.samples_per_pixel * header.frames
    dataset.PixelData = read_pixel_data(header)[:size] + bytes(size % 2)
    dataset["PixelData"].VR = _native_vr(header)
    return str(ExplicitVRLittleEndian) if syntax == DeflatedExplicitVRLittleEndian else syntax


def _scrub(header: SliceHeader, frame: bytes) -> bytes:
    """Return a compressed frame without comments; runs have no room for them."""
    codec = CODECS.get(header.transfer_syntax_uid)
    if codec is None:
        return frame
    try:
        return codec.scrub(frame)
    except Exception as error:
        raise damage_error(header, codec.name, error) from error


def _native_vr(header: SliceHeader) -> str:
    """Return the VR of uncompressed pixels; of those of one byte the file's own, on which their byte order depends."""
    offset = header.pixel_data_offset
    if header.pixel_format.bits_allocated > 8 or offset is None or header.transfer_syntax_uid == ImplicitVRLittleEndian:
        return "OW"
    return "OB" if header.file.read(offset)[-_VR_OFFSET:].startswith(b"OB") else "OW"


def _rounded(numbers: tuple[float, ...] | None) -> tuple[str, ...] | None:
    """Return numbers as texts of nine digits, since decimal strings of 16 characters may round others."""
    return None if numbers is None else tuple(f"{number + 0.0:.9g}" for number in numbers)
