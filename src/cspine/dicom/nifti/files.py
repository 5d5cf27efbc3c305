"""Open NIfTI files, compressed or not, on disk or in an archive."""

import gzip
import io
from typing import Any, Final

from cspine.core.errors import DicomError
from cspine.core.extras import require_extra
from cspine.dicom.sources import SourceFile

_GZIP_MAGIC: Final = b"\x1f\x8b"


def is_nifti(file: SourceFile) -> bool:
    """Return whether a file is NIfTI, by its name."""
    return file.name.lower().endswith((".nii", ".nii.gz"))


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
    nib = nibabel_module()
    head = file.read(2)
    if not head:
        raise DicomError(f"{file.name}: is empty; copy it again")
    is_compressed = head == _GZIP_MAGIC
    try:
        if not file.is_packed and is_compressed == file.name.lower().endswith(".gz"):
            return nib.load(file.container)
        stream: Any = io.BytesIO(file.read())  # in an archive, or with an ending that is not true
        if is_compressed:
            stream = gzip.GzipFile(fileobj=stream)
        size = stream.read(4)
        stream.seek(0)
        is_second = 540 in {int.from_bytes(size, "little"), int.from_bytes(size, "big")}
        return (nib.Nifti2Image if is_second else nib.Nifti1Image).from_stream(stream)
    except Exception as error:  # nibabel raises errors of any type on damaged files
        raise DicomError(f"{file.name}: is not a readable NIfTI ({type(error).__name__}); copy it again") from error


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
