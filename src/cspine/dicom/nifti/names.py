"""The UIDs of NIfTI volumes, which have none: their file names, or their paths where file names repeat."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from cspine.dicom.codec.header import SliceHeader


def is_nifti_name(name: str) -> bool:
    """Return whether a file is NIfTI, by its name."""
    return name.lower().endswith((".nii", ".nii.gz"))


def nifti_stem(name: str) -> str:
    """Return a file's name without folders and extension, which the challenge sets to the StudyInstanceUID.

    >>> nifti_stem("segmentations/1.2.826.nii.gz")
    '1.2.826'
    """
    base = name.rsplit("/", 1)[-1]
    return base[: base.lower().rindex(".nii")]


def separate_volumes(headers: Iterable[SliceHeader]) -> list[SliceHeader]:
    """Return the headers of NIfTI files such that each file is a study of its own.

    A study's UID is the name of its file. Where several files have one name, as in data sets with a folder for each
    subject (``s0001/ct.nii.gz``), it is the path below the source.

    Parameters
    ----------
    headers : iterable of SliceHeader
        As of `cspine.dicom.nifti.headers.nifti_headers`, of any number of files.

    Returns
    -------
    list of SliceHeader
        In the given order.
    """
    headers = list(headers)
    files = {header.file: header.file.name for header in headers}
    counts = Counter(nifti_stem(name).lower() for name in files.values())
    paths = {file: name[: name.lower().rindex(".nii")] for file, name in files.items()}
    path_counts = Counter(path.lower() for path in paths.values())
    uids = {}
    for file, name in files.items():
        if counts[nifti_stem(name).lower()] > 1:
            uids[file] = paths[file] if path_counts[paths[file].lower()] == 1 else name
    return [
        replace(header, study_instance_uid=uids[header.file], series_instance_uid=uids[header.file])
        if header.file in uids
        else header
        for header in headers
    ]
