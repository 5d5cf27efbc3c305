"""Files that could not be read: which study they belong to, and whether they held slices of it.

A file belongs to the studies in its folder, or to the one study in the nearest folder above. It counts as lost, so that
the study's findings say so, where it is DICOM that is damaged, an archive that is not read, named as the study's own
files are, or as long as they are and not of another kind by its ending. What lies beside images on every medium, such
as a viewer, a report, a licence or Thumbs.db, is neither.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from statistics import median
from typing import Final

from cspine.core.errors import InputError
from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.files.formats import HEAD_BYTES, packed_reason
from cspine.dicom.series import SkippedFile, Study
from cspine.dicom.sources import SourceFile

_DICOM_ENDINGS: Final = (".dcm", ".dicom", ".dic", ".dc3", ".ima", ".acr")

_NUMBERS: Final = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[a-f]*\d)[0-9a-f]{16,}|\d+([._]\d+)*", re.IGNORECASE
)
"""What differs between the names of a study's files: UUIDs, hashes, numbers and UIDs."""

_NOT_IMAGES: Final = tuple(
    f"1.2.840.10008.5.1.4.1.1.{number}".encode() for number in ("88.", "11.", "104.", "9.", "66.", "481.")
)
"""SOP classes of DICOM that holds no slices: reports, presentation states, documents, waveforms, radiotherapy."""

_UNFINISHED: Final = frozenset({"", ".part", ".partial", ".filepart", ".crdownload", ".tmp", ".bak"})
"""Endings of files of any kind: none, and those of unfinished or saved copies."""

_SIZE_TOLERANCE: Final = 0.02
_MIN_SLICE_BYTES: Final = 4096
_N_NAMED: Final = 3


@dataclass(frozen=True)
class UnreadFile:
    """A file that was not read.

    Attributes
    ----------
    file : SourceFile
        The file.
    reason : str
        Why it was not read, with the remedy.
    study_instance_uid : str or None
        The study that it names; None where it is not known.
    is_image : bool or None
        Whether it held images; None where its name and content decide.
    """

    file: SourceFile
    reason: str
    study_instance_uid: str | None = None
    is_image: bool | None = None

    def skipped(self, *, is_lost: bool = False) -> SkippedFile:
        """Return it as a study and a discovery hold it."""
        return SkippedFile(self.file.name, self.reason, is_lost)

    @cached_property
    def is_damaged_dicom(self) -> bool:
        """Whether its content is DICOM that may be an image, or an archive that may hold some."""
        try:
            head = self.file.read(2 * HEAD_BYTES)
        except InputError:
            return False
        if head[128:132] == b"DICM":
            return not any(uid in head for uid in _NOT_IMAGES)
        return packed_reason(self.file.name, head[:HEAD_BYTES]) is not None


class _StudyFiles:
    """The folders, names and sizes of a study's files, by which others are told to belong to it."""

    def __init__(self, study: Study) -> None:
        self.uid = study.study_instance_uid
        headers = [header for series in study.series for header in series.headers]
        files = {header.file.name: header.file for header in headers if header.transfer_syntax_uid != NIFTI}
        self.folders = {_folder(name) for name in files}
        self.patterns = {_pattern(PurePosixPath(name).name) for name in files}
        self.endings = {_pattern(PurePosixPath(name).suffix) for name in files} | _UNFINISHED
        self.folder_patterns = {_pattern(part) for folder in self.folders for part in folder.split("/")}
        self.size = median(file.size for file in files.values()) if files else 0

    def is_lost(self, unread: UnreadFile) -> bool:
        """Return whether a file that lies beside the study's held slices of it."""
        if unread.is_image is not None or not self.patterns:
            return bool(unread.is_image and self.patterns)
        name = PurePosixPath(unread.file.name).name
        pattern = _pattern(name)
        if name.lower().endswith(_DICOM_ENDINGS) or (pattern in self.patterns and "#" in pattern):
            return True
        if not unread.file.size:
            return "#" in pattern and pattern in self.folder_patterns  # a folder that was copied as an empty file
        is_alike = abs(unread.file.size - self.size) <= _SIZE_TOLERANCE * self.size and self.size > _MIN_SLICE_BYTES
        is_same_kind = _pattern(PurePosixPath(name).suffix) in self.endings  # a picture may be as long by chance
        return (is_alike and is_same_kind) or unread.is_damaged_dicom


class _Owners:
    """Finds the studies that files belong to, by folder, since a source may hold many files of either kind."""

    def __init__(self, files: Sequence[_StudyFiles]) -> None:
        self._by_uid: dict[str, list[int]] = defaultdict(list)
        self._by_folder: dict[str, list[int]] = defaultdict(list)
        below: dict[str, set[int]] = defaultdict(set)
        for index, study in enumerate(files):
            self._by_uid[study.uid].append(index)
            for folder in study.folders:
                self._by_folder[folder].append(index)
                for above in _with_parents(folder):
                    below[above].add(index)
        self._below = {folder: sorted(indices) for folder, indices in below.items()}

    def find(self, unread: UnreadFile) -> list[int]:
        """Return the studies that a file belongs to: the one it names, those in its folder, or the only one near."""
        folder = _folder(unread.file.name)
        named = [] if unread.study_instance_uid is None else self._by_uid.get(unread.study_instance_uid)
        owners = named or self._by_folder.get(folder)
        if owners:
            return owners
        near = next((self._below[above] for above in _with_parents(folder) if above in self._below), [])
        return near if len(near) == 1 else []


def assign_unread(studies: Sequence[Study], unread: Sequence[UnreadFile]) -> tuple[Study, ...]:
    """Add the files that were not read to the studies that they belong to, with a warning where slices were lost.

    Parameters
    ----------
    studies : sequence of Study
        All studies of a source.
    unread : sequence of UnreadFile
        All files of the source that were not read.

    Returns
    -------
    tuple of Study
        The studies, with `Study.skipped`, and the warning in `Study.warnings`.
    """
    files = [_StudyFiles(study) for study in studies]
    owners = _Owners(files)
    owned: dict[int, list[SkippedFile]] = defaultdict(list)
    for each in unread:
        for index in owners.find(each):
            owned[index].append(each.skipped(is_lost=files[index].is_lost(each)))
    return tuple(
        replace(
            study,
            skipped=(*study.skipped, *owned[index]),
            warnings=(*study.warnings, *_warning([file for file in owned[index] if file.is_lost])),
        )
        for index, study in enumerate(studies)
    )


def find_cut_off(headers: Sequence[SliceHeader]) -> tuple[list[SliceHeader], list[UnreadFile]]:
    """Separate images whose files end within the pixels, where their series has complete ones.

    Parameters
    ----------
    headers : sequence of SliceHeader
        Headers of all images.

    Returns
    -------
    headers : list of SliceHeader
        The complete images, and those of series that have none: decoding them says what is wrong.
    unread : list of UnreadFile
        The files that are cut off.
    """
    cut = [_is_cut_off(header) for header in headers]
    if not any(cut):
        return list(headers), []
    complete = {
        (header.study_instance_uid, header.series_instance_uid)
        for header, is_cut in zip(headers, cut, strict=True)
        if not is_cut
    }
    kept: list[SliceHeader] = []
    unread: list[UnreadFile] = []
    for header, is_cut in zip(headers, cut, strict=True):
        if is_cut and (header.study_instance_uid, header.series_instance_uid) in complete:
            reason = "is cut off within its pixels; copy it again"
            unread.append(UnreadFile(header.file, reason, header.study_instance_uid, is_image=True))
        else:
            kept.append(header)
    return kept, unread


def _is_cut_off(header: SliceHeader) -> bool:
    """Return whether a file of one uncompressed image ends before its pixels do."""
    if header.frames > 1 or header.pixel_data_offset is None or header.pixel_data_length is None:
        return False
    described = (header.rows or 0) * (header.columns or 0) * header.pixel_format.bits_allocated // 8
    required = min(header.pixel_data_length, described * header.samples_per_pixel)
    return header.file.size < header.pixel_data_offset + required


def _with_parents(folder: str) -> Iterator[str]:
    """Yield a folder and those above it, up to the source's own, which has no name."""
    while folder:
        yield folder
        folder = _folder(folder)
    yield ""


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _pattern(name: str) -> str:
    """Return a name with its numbers replaced.

    >>> _pattern("IM00113.dcm"), _pattern("1.2.840.7.dcm"), _pattern("readme.txt")
    ('im#.dcm', '#.dcm', 'readme.txt')
    """
    return _NUMBERS.sub("#", name).lower()


def _warning(lost: Sequence[SkippedFile]) -> tuple[str, ...]:
    """Return the sentence about lost files, if there are any."""
    if not lost:
        return ()
    if len(lost) == 1:
        return (f"1 file could not be read: {lost[0].name}: {lost[0].reason}",)
    names = ", ".join(file.name for file in lost[:_N_NAMED])
    return (f"{len(lost)} files could not be read, first: {names}: {lost[0].reason}",)
