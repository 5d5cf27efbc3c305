"""Discover the studies and series that a path holds, from headers alone."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

from cspine.core.errors import InputError, SourceError
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path
from cspine.core.storage.read_ahead import READ_AHEAD
from cspine.dicom.codec.header import MULTI_FRAME_CT, SliceHeader, read_header, suppress_pydicom_warnings
from cspine.dicom.codec.multiframe import frame_headers
from cspine.dicom.codec.read_elements import READ_BYTES
from cspine.dicom.dicomdir import MEDIA_DIRECTORY, find_missing, is_dicomdir, list_referenced_files
from cspine.dicom.dicomweb.described_file import DescribedFile
from cspine.dicom.files.limits import LimitExceededError
from cspine.dicom.files.listing import list_files
from cspine.dicom.grouping.group import group_headers
from cspine.dicom.grouping.lost_files import UnreadFile, assign_unread, find_cut_off
from cspine.dicom.nifti.files import is_nifti
from cspine.dicom.nifti.headers import nifti_headers
from cspine.dicom.nifti.labels import LabelMapError
from cspine.dicom.nifti.names import separate_volumes
from cspine.dicom.series import Discovery
from cspine.dicom.sources import SourceFile, UnreadableFile

_N_THREADS: Final = 8
"""Threads that read headers, so that the latencies of a slow disk overlap."""

_FILES_PER_BATCH: Final = 32
"""Files that a thread reads in sequence."""

_MAX_CACHED_READ_S: Final = 0.4e-3
"""A header that takes longer came from a disk and not from the file cache, where it takes 0.1 ms."""

_BESIDE_DICOM: Final = "a NIfTI volume beside DICOM files; give it alone to read it"


class _MediaDirectoryError(SourceError):
    """A file is a DICOMDIR, and no image."""


_Outcome: TypeAlias = tuple[SliceHeader, ...] | InputError


def discover(path: str | Path, *, progress: Progress = silent) -> Discovery:
    """Discover the studies and series at a path, reading headers only.

    Parameters
    ----------
    path : str or Path
        A file (DICOM, DICOMDIR or NIfTI), a folder of any depth, or a zip; on the disk, or in a store by its URL.
    progress : Progress
        Called with the number of files read.

    Returns
    -------
    Discovery
        At least one study; files that are not images are listed as skipped, with the reason.

    Raises
    ------
    SourceError
        No file can be read; the message gives the first file's reason.
    ArchiveError
        A zip is unsafe or damaged.
    """
    path = as_path(path)
    return discover_files(list_images(path), origin=str(path), progress=progress)


def list_images(path: Path) -> list[SourceFile]:
    """List the files at a path, or those that a DICOMDIR references; raises as `discover` does."""
    files = list_files(path)
    if len(files) == 1 and files[0].member is None and is_dicomdir(files[0]):
        return list_referenced_files(files[0])
    return files


def discover_files(files: Sequence[SourceFile], *, origin: str, progress: Progress = silent) -> Discovery:
    """Discover the studies and series of files that are already listed.

    Parameters
    ----------
    files : sequence of SourceFile
        The files to read; at least one.
    origin : str
        Name of the files' source in error messages.
    progress : Progress
        Called with the number of files read.

    Returns
    -------
    Discovery
        As `discover` returns it; raises as `discover` does, too.
    """
    volumes = [file for file in files if is_nifti(file)]
    headers, unread = _read_all([file for file in files if not is_nifti(file)], progress)
    if headers:  # beside DICOM, NIfTI is most likely a segmentation or a copy
        unread += [UnreadFile(file, _BESIDE_DICOM, is_image=False) for file in volumes]
    elif volumes:
        headers, unreadable = _read_all(volumes, progress)
        headers = separate_volumes(headers)
        unread += unreadable
    if not headers:
        count = "the only file" if len(files) == 1 else f"none of the {len(files):,} files"
        verb = "is not" if len(files) == 1 else "is"
        raise SourceError(f"{origin}: {count} {verb} readable DICOM, first: {unread[0].file.name}: {unread[0].reason}")
    headers, cut_off = find_cut_off(headers)
    unread += cut_off
    studies, excess = group_headers(headers)
    return Discovery(assign_unread(studies, unread), (*(each.skipped() for each in unread), *excess))


def _read_all(files: Sequence[SourceFile], progress: Progress) -> tuple[list[SliceHeader], list[UnreadFile]]:
    """Read all headers, in the files' order."""
    headers: list[SliceHeader] = []
    unread: list[UnreadFile] = []
    done = 0
    progress("headers", done, len(files))
    heads = [file.container for file in files if not file.is_packed and not isinstance(file, DescribedFile)]
    with suppress_pydicom_warnings(), READ_AHEAD.reading(heads, READ_BYTES[0]):
        for batch, outcomes in _read_batches(files):
            for file, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, InputError):
                    unread += _unread(file, outcome, files)
                else:
                    headers.extend(outcome)
            done += len(batch)
            progress("headers", done, len(files))
    return headers, unread


def _unread(file: SourceFile, error: InputError, files: Sequence[SourceFile]) -> list[UnreadFile]:
    """Return a file that was not read; after a DICOMDIR also the files that it lists and that are not there."""
    reason = str(error).removeprefix(f"{file.name}: ")
    if isinstance(error, LabelMapError):
        return [UnreadFile(file, reason, is_image=False)]
    if not isinstance(error, _MediaDirectoryError):
        return [UnreadFile(file, reason, is_image=file.is_lost if isinstance(file, UnreadableFile) else None)]
    try:
        missing = find_missing(file, [each.name for each in files if not isinstance(each, UnreadableFile)])
    except InputError as damage:
        reason = f"{reason}; {str(damage).removeprefix(f'{file.name}: ')}"
        missing = []
    return [UnreadFile(file, reason, is_image=False), *(UnreadFile(m, m.problem, is_image=m.is_lost) for m in missing)]


def _read_batches(files: Sequence[SourceFile]) -> Iterator[tuple[Sequence[SourceFile], list[_Outcome]]]:
    """Read batch after batch, in one thread until a batch is slow, then in several.

    One thread is faster for files in the system's cache, since parsing holds the interpreter lock; several are faster
    for files on a disk, since their latencies overlap.
    """
    batches = deque(files[start : start + _FILES_PER_BATCH] for start in range(0, len(files), _FILES_PER_BATCH))
    while batches:
        batch, started = batches.popleft(), time.perf_counter()
        outcomes = _read_batch(batch)
        elapsed_s = time.perf_counter() - started
        yield batch, outcomes
        if elapsed_s > _MAX_CACHED_READ_S * len(batch):
            break
    with ThreadPoolExecutor(_N_THREADS) as threads:
        jobs = [(batch, threads.submit(_read_batch, batch)) for batch in batches]
        try:
            for batch, job in jobs:
                yield batch, job.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _read_batch(files: Sequence[SourceFile]) -> list[_Outcome]:
    return [_read(file) for file in files]


def _read(file: SourceFile) -> _Outcome:
    """Read the header of each image in a file; an unreadable file's error is returned, that of an attack is raised."""
    try:
        if is_nifti(file):
            return nifti_headers(file)
        header = read_header(file)
        if header.sop_class_uid == MEDIA_DIRECTORY:
            return _MediaDirectoryError(f"{file.name}: a DICOMDIR; the files beside it are read themselves")
        if header.frames > 1 or header.sop_class_uid in MULTI_FRAME_CT:
            return frame_headers(header)
        return (header,)
    except LimitExceededError:
        raise
    except InputError as error:
        return error
