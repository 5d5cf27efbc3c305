"""Which studies and series a path holds, from headers alone."""

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from cspine.core.errors import ArchiveError, InputError, SourceError
from cspine.core.progress import Progress, silent
from cspine.dicom.codec.header import MULTI_FRAME_CT, SliceHeader, read_header, suppress_pydicom_warnings
from cspine.dicom.dicomdir import MEDIA_DIRECTORY, is_dicomdir, listed_files
from cspine.dicom.geometry import SAME_PLACE_MM
from cspine.dicom.multiframe import frame_headers
from cspine.dicom.nifti import is_nifti, nifti_headers
from cspine.dicom.series import Discovery, Series, SkippedFile, Study
from cspine.dicom.sources import SourceFile, list_files

SAME_DIRECTION: Final = 2e-3
"""Direction cosines and pixel spacings (mm) that differ less are the same: 0.1 degrees, 1 mm over 512 pixels."""

MOST_PARTS: Final = 200
"""Kinds of images in one series; no honest series comes near it."""

MOST_ACQUISITIONS: Final = 50
"""Where a series numbers more, the number counts something else, such as each table position."""

_THREADS: Final = 8
"""Read at the same time, so that a slow disk's answers are waited for together."""

_BATCH: Final = 32
"""Files read in a row."""

_WAITING_S: Final = 0.4e-3
"""A header that takes longer was waited for; from memory it takes 0.1 ms."""

_Outcome: TypeAlias = tuple[SliceHeader, ...] | InputError


def discover(path: str | Path, *, progress: Progress = silent) -> Discovery:
    """Find the studies and series at `path`, reading headers only.

    Parameters
    ----------
    path : str or Path
        A file (DICOM, DICOMDIR or NIfTI), a folder of any depth, or a zip.
    progress : Progress
        Told how many files are read.

    Returns
    -------
    Discovery
        At least one study; files that are no images are listed as skipped, with the reason.

    Raises
    ------
    SourceError
        Nothing there can be read; the sentence says what is there instead.
    ArchiveError
        A zip is unsafe or damaged.
    """
    path = Path(path)
    return discover_files(list_images(path), origin=str(path), progress=progress)


def list_images(path: Path) -> list[SourceFile]:
    """List the files at `path`; of a DICOMDIR, those that it names. Raises as `discover` does."""
    files = list_files(path)
    if len(files) == 1 and files[0].member is None and is_dicomdir(files[0]):
        return listed_files(files[0])
    return files


def discover_files(files: Sequence[SourceFile], *, origin: str, progress: Progress = silent) -> Discovery:
    """Do what `discover` does for files already listed; `origin` names them in errors."""
    volumes = [file for file in files if is_nifti(file)]
    found, skipped = _read_all([file for file in files if not is_nifti(file)], progress)
    if found:  # beside DICOM, NIfTI is most likely a segmentation or a copy
        skipped += [SkippedFile(file.name, _BESIDE) for file in volumes]
    elif volumes:
        found, damaged = _read_all(volumes, progress)
        skipped += damaged
    if not found:
        count = "the only file" if len(files) == 1 else f"none of the {len(files):,} files"
        verb = "is not" if len(files) == 1 else "is"
        raise SourceError(f"{origin}: {count} {verb} readable DICOM, first: {skipped[0].name}: {skipped[0].reason}")
    studies, crowded = _group(found)
    return Discovery(studies, (*skipped, *crowded))


_BESIDE: Final = "a NIfTI volume beside DICOM files; give it alone to read it"


def _read_all(files: Sequence[SourceFile], progress: Progress) -> tuple[list[SliceHeader], list[SkippedFile]]:
    """Read all headers, in the files' order."""
    headers: list[SliceHeader] = []
    skipped: list[SkippedFile] = []
    done = 0
    progress("headers", done, len(files))
    with suppress_pydicom_warnings():
        for batch, outcomes in _read_batches(files):
            for file, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, InputError):
                    skipped.append(SkippedFile(file.name, _reason(file, outcome)))
                else:
                    headers.extend(outcome)
            done += len(batch)
            progress("headers", done, len(files))
    return headers, skipped


def _read_batches(files: Sequence[SourceFile]) -> Iterator[tuple[Sequence[SourceFile], list[_Outcome]]]:
    """Read batch after batch, in several threads from the first on that had to wait for the disk.

    Headers that the system holds in memory are parsed faster by one thread than by several that share an interpreter.
    """
    batches = deque(files[start : start + _BATCH] for start in range(0, len(files), _BATCH))
    while batches:
        batch, started = batches.popleft(), time.perf_counter()
        outcomes = _read_batch(batch)
        waited = time.perf_counter() - started
        yield batch, outcomes
        if waited > _WAITING_S * len(batch):
            break
    with ThreadPoolExecutor(_THREADS) as threads:
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
    """Read one file's headers; one for each frame of a multi-frame file. A bad file is told of, a bad zip raises."""
    try:
        if is_nifti(file):
            return nifti_headers(file)
        header = read_header(file)
        if header.sop_class_uid == MEDIA_DIRECTORY:
            return SourceError(f"{file.name}: a DICOMDIR; the files beside it are read themselves")
        if header.frames > 1 or header.sop_class_uid in MULTI_FRAME_CT:
            return frame_headers(header)
        return (header,)
    except ArchiveError:
        raise
    except InputError as error:
        return error


def _group(headers: Iterable[SliceHeader]) -> tuple[tuple[Study, ...], list[SkippedFile]]:
    """Sort headers into studies, series, and parts of one size, orientation and spacing."""
    studies: dict[str, dict[str, list[list[SliceHeader]]]] = defaultdict(lambda: defaultdict(list))
    crowded: list[SkippedFile] = []
    for header in headers:
        parts = studies[header.study_instance_uid][header.series_instance_uid]
        part = next((part for part in parts if _alike(part[0], header)), None)
        if part is not None:
            part.append(header)
        elif len(parts) < MOST_PARTS:
            parts.append([header])
        else:
            crowded.append(SkippedFile(header.file.name, f"its series holds images of more than {MOST_PARTS} kinds"))
    grouped = tuple(
        Study(study_uid, tuple(part for uid, parts in series.items() for part in _parts(study_uid, uid, parts)))
        for study_uid, series in studies.items()
    )
    return grouped, crowded


def _parts(study_uid: str, series_uid: str, parts: Sequence[Sequence[SliceHeader]]) -> Iterator[Series]:
    number = 0
    for part in parts:
        for headers in _by_acquisition(part):
            yield Series(study_uid, series_uid, tuple(headers), number)
            number += 1


def _by_acquisition(headers: Sequence[SliceHeader]) -> Sequence[Sequence[SliceHeader]]:
    """Tell repeated scans of one place apart (a second phase, a repeat after motion), where the headers number them.

    Acquisitions that continue each other stay together: each joins the first stack that does not reach over most of it.
    """
    numbers = {header.acquisition_number for header in headers}
    first = headers[0].orientation
    if not 1 < len(numbers) <= MOST_ACQUISITIONS or None in numbers or first is None:
        return [headers]
    normal = np.cross(first[:3], first[3:])
    stacks: list[tuple[list[SliceHeader], list[tuple[float, float]]]] = []
    for number in sorted(numbers, key=lambda number: number or 0):
        acquisition = [header for header in headers if header.acquisition_number == number]
        if any(header.position_mm is None for header in acquisition):
            return [headers]
        along = np.array([header.position_mm for header in acquisition]) @ normal
        home = next((stack for stack in stacks if not any(_reaches_over(area, along) for area in stack[1])), None)
        if home is None:
            home = ([], [])
            stacks.append(home)
        home[0].extend(acquisition)
        home[1].append((float(along.min()), float(along.max())))
    return [members for members, _ in stacks]


def _reaches_over(area: tuple[float, float], along: npt.NDArray[np.float64]) -> bool:
    """Tell whether most of an acquisition lies where another one has been."""
    return bool(np.mean((along > area[0] - SAME_PLACE_MM) & (along < area[1] + SAME_PLACE_MM)) > 0.5)


def _alike(one: SliceHeader, other: SliceHeader) -> bool:
    """Tell whether two images may be of one volume; numbers are compared with a tolerance, as writers round."""
    return (
        (one.rows, one.columns, one.frames > 1) == (other.rows, other.columns, other.frames > 1)
        and ("LOCALIZER" in one.image_type) == ("LOCALIZER" in other.image_type)
        and _agree(one.frame_of_reference_uid, other.frame_of_reference_uid)
        and _agree(one.kernel, other.kernel)
        and _agree(one.rescale_type, other.rescale_type)
        and _close(one.pixel_spacing_mm, other.pixel_spacing_mm)
        and _close(one.orientation, other.orientation)
    )


def _agree(one: str | None, other: str | None) -> bool:
    """Tell whether two values are the same as far as both are known."""
    return one is None or other is None or one == other


def _close(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) < SAME_DIRECTION for a, b in zip(one, other, strict=True))


def _reason(file: SourceFile, error: InputError) -> str:
    return str(error).removeprefix(f"{file.name}: ")
