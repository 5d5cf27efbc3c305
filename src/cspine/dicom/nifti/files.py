"""Open NIfTI files, compressed or not, on disk or in an archive."""

import gzip
import io
import math
import zlib
from functools import cache
from typing import Any, Final

from cspine.core.errors import DicomError
from cspine.core.extras import require_extra
from cspine.dicom.codec.header import MAX_VOLUME_BYTES
from cspine.dicom.nifti.names import is_nifti_name
from cspine.dicom.sources import SourceFile

_GZIP_MAGIC: Final = b"\x1f\x8b"

_HEAD_BYTES: Final = 1024

_QUATERNION_THRESHOLD: Final = -1e-5
"""Lowest square of a quaternion's first element that is 0 but for rounding; nibabel's bound refuses files in use."""

_MAX_REST_BYTES: Final = 4096
"""Most bytes after the voxels; with more, the header describes another volume."""


def is_nifti(file: SourceFile) -> bool:
    """Return whether a file is NIfTI, by its name."""
    return is_nifti_name(file.name)


def open_nifti(file: SourceFile) -> Any:  # noqa: ANN401 - nibabel has no types
    """Open a NIfTI file, reading its header only.

    Parameters
    ----------
    file : SourceFile
        A .nii or .nii.gz file, which may lie in a zip.

    Returns
    -------
    nibabel.Nifti1Image or nibabel.Nifti2Image

    Raises
    ------
    DicomError
        The file is not NIfTI, or damaged.
    SourceError, ArchiveError
        The file cannot be read.
    MissingExtraError
        The extra ``nifti`` is not installed.
    """
    head = file.read(_HEAD_BYTES)
    if not head:
        raise DicomError(f"{file.name}: is empty; copy it again")
    is_compressed = head.startswith(_GZIP_MAGIC)
    try:
        image_class = _image_class(is_second=_is_second(head, is_compressed=is_compressed))
        if not file.is_read_once and is_compressed == file.name.lower().endswith(".gz"):
            image = image_class.from_filename(file.container)
        else:  # in an archive or a store, or with an ending that is not true
            stream: Any = io.BytesIO(file.read())
            image = image_class.from_stream(gzip.GzipFile(fileobj=stream) if is_compressed else stream)
    except Exception as error:  # nibabel raises errors of any type on damaged files
        raise DicomError(f"{file.name}: is not a readable NIfTI ({type(error).__name__}); copy it again") from error
    _check_length(file, image, is_compressed=is_compressed)
    return image


def _is_second(head: bytes, *, is_compressed: bool) -> bool:
    """Return whether a file is NIfTI-2, by the size of its header."""
    start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 4) if is_compressed else head[:4]
    return 540 in {int.from_bytes(start, "little"), int.from_bytes(start, "big")}


@cache
def _image_class(*, is_second: bool) -> Any:  # noqa: ANN401 - nibabel has no types
    """Return nibabel's class of images, with a bound for quaternions that allows for single precision."""
    nib = nibabel_module()
    base = nib.Nifti2Image if is_second else nib.Nifti1Image
    header_class = type("Header", (base.header_class,), {"quaternion_threshold": _QUATERNION_THRESHOLD})
    return type("Image", (base,), {"header_class": header_class})


def _check_length(file: SourceFile, image: Any, *, is_compressed: bool) -> None:  # noqa: ANN401 - nibabel has no types
    """Raise if the voxels begin within the header, or if the file holds more of them than its header describes."""
    header, begin = image.header, int(image.dataobj.offset)
    if begin < int(header["sizeof_hdr"]):
        raise DicomError(
            f"{file.name}: its voxels begin at byte {begin} by its header, which is within the header; export it again"
        )
    expected = begin + math.prod(image.shape) * int(header["bitpix"]) // 8
    if _has_more_bytes(file, expected + _MAX_REST_BYTES, is_compressed=is_compressed):
        raise DicomError(f"{file.name}: holds more voxels than its header describes; export it again")


def _has_more_bytes(file: SourceFile, limit: int, *, is_compressed: bool) -> bool:
    """Return whether a file's content is longer than a limit; False where that would be costly to know."""
    if not is_compressed:
        return file.size > limit
    tail = bytearray(4)  # the length before compression, modulo 4 GiB, unless the file is cut off or goes on
    if file.is_read_once or file.read_into(memoryview(tail), max(file.size - 4, 0)) < 4:
        return False
    if limit > MAX_VOLUME_BYTES or int.from_bytes(tail, "little") <= limit:
        return False
    try:
        with gzip.open(file.container) as stream:
            stream.seek(limit)
            return bool(stream.read(1))
    except (OSError, EOFError, zlib.error):  # cut off, or followed by something else
        return False


def nibabel_module() -> Any:  # noqa: ANN401 - nibabel has no types
    """Import nibabel on first use; it is an extra, and DICOM does not need it.

    Raises
    ------
    MissingExtraError
        The extra ``nifti`` is not installed.
    """
    require_extra("nifti")
    import nibabel  # noqa: PLC0415 - an extra

    return nibabel
