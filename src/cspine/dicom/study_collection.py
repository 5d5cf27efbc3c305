"""A collection of studies: the folder layout of the RSNA 2022 challenge, or any file, folder or archive of studies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.errors import SourceError
from cspine.core.progress import Progress, silent
from cspine.core.settings import digest
from cspine.core.storage.locations import as_path, is_archive
from cspine.core.storage.remote_path import RemotePath
from cspine.core.text import sanitize_text
from cspine.dicom.dicomweb.archive import find_studies, list_series, study_uid_of
from cspine.dicom.discovery import discover, discover_files, list_images
from cspine.dicom.files.listing import list_folder
from cspine.dicom.files.manifest import is_imported, read_manifest
from cspine.dicom.series import SkippedFile, Study

LABELS_FILE: Final = "train.csv"
"""The challenge's table of labels, one row per study."""

IMAGE_FOLDERS: Final = ("train_images", "test_images")
"""The challenge's folders of images; each holds one folder per study, named by StudyInstanceUID."""

BOXES_FILE: Final = "train_bounding_boxes.csv"
"""The challenge's table of fracture bounding boxes, one row per slice and box."""

FRACTURES_FOLDER: Final = "fractures"
"""Folder of fracture label maps, which the phantom writes beside the challenge's layout."""

SEGMENTATIONS_FOLDER: Final = "segmentations"
"""The challenge's folder of label maps of vertebrae, some of its studies'."""

TRUTH_FOLDER: Final = "truth"
"""Folder of a phantom data set, synthesized or compiled, with one JSON of reference data per study."""

PHANTOM_MARKER: Final = "phantom.json"
"""File by which a data set of the phantom is recognized."""


@dataclass(frozen=True)
class SourceFingerprint:
    """The state of a study's files at one time, by which a change is detected.

    Attributes
    ----------
    digest : str
        Hash of the files' names, sizes and modification times: it changes where files are added, removed or written.
    modified_s : float
        Latest modification time of the files, in seconds since 1970; 0 if there are no files.
    """

    digest: str
    modified_s: float


@dataclass(frozen=True)
class StudySource:
    """A study that can be opened: of the challenge's layout or a manifest, or one whose headers are already read.

    Attributes
    ----------
    study_instance_uid : str
        From the folder's name, or from the headers; of a further patient whose images carry the same UID, with a
        number after it.
    folder : Path or None
        Folder of the study's files, or its only file; None where `study` is given.
    study : Study or None
        The headers, where they are already read.
    patient : str or None
        Pseudonym of the patient, where a data set's manifest has it; otherwise the headers tell.
    """

    study_instance_uid: str
    folder: Path | None = None
    study: Study | None = None
    patient: str | None = None

    def fingerprint(self) -> SourceFingerprint:
        """Return the present state of the study's files; each file's status is read once.

        Of a study in an archive it is its series and their numbers of instances: an image that was replaced by another
        one is not noticed.
        """
        if isinstance(self.folder, RemotePath) and is_archive(self.folder):
            return SourceFingerprint(digest([list(series) for series in list_series(self.folder)]), 0.0)
        states, newest = [], 0.0
        for path in sorted(self._paths()):
            if path.exists():
                stat = path.stat()
                states.append([path.name, stat.st_size, stat.st_mtime_ns])
                newest = max(newest, stat.st_mtime)
        headers = [header for each in (self.study.series if self.study else ()) for header in each.headers]
        names: list[object] = [states, sorted({header.file.name for header in headers})]
        if self.study is not None and self.study.skipped:
            names.append(sorted([file.name, file.reason] for file in self.study.skipped))
        return SourceFingerprint(digest(names), newest)

    def _paths(self) -> set[Path]:
        """Return the study's files, also those that links lead to; of an archive, the archive."""
        if self.folder is not None:
            if self.folder.is_file():
                return {self.folder}
            try:
                return {file.container for file in list_folder(self.folder)}
            except SourceError:  # opening the study reports it
                return set()
        series = self.study.series if self.study else ()
        return {header.file.container for each in series for header in each.headers}

    def open(self, *, progress: Progress = silent) -> Study:
        """Return the study, reading its headers unless they are already read.

        Parameters
        ----------
        progress : Progress
            Called with the number of headers read.

        Returns
        -------
        Study

        Raises
        ------
        SourceError
            The folder holds no DICOM, or files of several studies.
        """
        if self.study is not None:
            return self.study
        if self.folder is None:
            raise SourceError(
                f"study {self.study_instance_uid}: has labels but no images; get its folder or drop its row"
            )
        studies = discover(self.folder, progress=progress).studies
        if len(studies) > 1:
            raise SourceError(
                f"{sanitize_text(self.folder.name)}: holds files of {len(studies)} studies; keep one study per folder"
            )
        return studies[0]


@dataclass(frozen=True)
class StudyCollection:
    """The studies at a path, with the tables and label maps that belong to them.

    Attributes
    ----------
    path : Path
        The path that was opened.
    studies : tuple of StudySource
        All studies of the collection; at least one.
    labels_path : Path or None
        The challenge's train.csv, if there is one.
    is_phantom : bool
        Whether the phantom made the collection.
    boxes_path : Path or None
        The challenge's train_bounding_boxes.csv, if it lies beside the labels.
    fractures_path : Path or None
        Folder of fracture label maps, if it lies beside the labels.
    skipped : tuple of SkippedFile
        Files that belong to no study: those beside the study folders, or those that were read to find the studies.
    """

    path: Path
    studies: tuple[StudySource, ...]
    labels_path: Path | None
    is_phantom: bool
    boxes_path: Path | None = None
    fractures_path: Path | None = None
    skipped: tuple[SkippedFile, ...] = ()


def open_collection(path: str | Path, *, progress: Progress = silent) -> StudyCollection:
    """Find the studies at a path: by folder names in the challenge's layout, otherwise by headers.

    Parameters
    ----------
    path : str or Path
        The challenge's root (with train_images/), a data set of `cspine import`, or a file, folder or archive with any
        number of studies; on the disk, or in a store by its URL.
    progress : Progress
        Called with the number of headers read, where they have to be read.

    Returns
    -------
    StudyCollection

    Raises
    ------
    SourceError
        There are no studies.
    """
    path = as_path(path)
    if isinstance(path, RemotePath) and is_archive(path):
        found = sorted({study_uid_of(study): study for study in find_studies(path)}.items())
        return StudyCollection(path, tuple(StudySource(uid, folder=study) for uid, study in found), None, False)
    is_phantom = (path / PHANTOM_MARKER).is_file()
    if is_imported(path):
        return _open_imported(path, is_phantom=is_phantom)
    for name in IMAGE_FOLDERS:
        if (path / name).is_dir():
            return _open_challenge(path, name, is_phantom=is_phantom)
    if (path / LABELS_FILE).is_file():
        raise SourceError(f"{path}: has {LABELS_FILE} but no {IMAGE_FOLDERS[0]}/ beside it; unpack the images there")
    discovery = discover_files(list_images(path), origin=str(path), progress=progress)
    return StudyCollection(path, _named_sources(discovery.studies), None, is_phantom, skipped=discovery.skipped)


def _named_sources(studies: Sequence[Study]) -> tuple[StudySource, ...]:
    """Return the sources of studies, each of another name, which is the UID unless patients share it."""
    counts: Counter[str] = Counter()
    sources = []
    for study in studies:
        uid = study.study_instance_uid
        counts[uid] += 1
        sources.append(StudySource(uid if counts[uid] == 1 else f"{uid}-{counts[uid]}", study=study))
    return tuple(sources)


def _open_challenge(path: Path, name: str, *, is_phantom: bool) -> StudyCollection:
    """Open a root of the challenge's layout without reading headers; labels belong to its train_images only."""
    images = path / name
    entries = sorted(entry for entry in images.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    folders = [entry for entry in entries if entry.is_dir()]
    skipped = tuple(SkippedFile(entry.name, _reason_against(entry)) for entry in entries if not entry.is_dir())
    if not folders:
        raise SourceError(f"{images}: holds no study folders; unpack the challenge's images there")
    studies = tuple(StudySource(sanitize_text(folder.name), folder=folder) for folder in folders)
    if name != IMAGE_FOLDERS[0]:
        return StudyCollection(path, studies, None, is_phantom, skipped=skipped)
    return _with_tables(path, studies, skipped, is_phantom=is_phantom)


def _open_imported(path: Path, *, is_phantom: bool) -> StudyCollection:
    """Open an imported data set by its manifest."""
    studies = tuple(StudySource(each.study, folder=each.images, patient=each.patient) for each in read_manifest(path))
    if not studies:
        raise SourceError(f"{path}: holds no studies; import a data set that has some")
    return _with_tables(path, studies, (), is_phantom=is_phantom)


def _with_tables(
    path: Path, studies: tuple[StudySource, ...], skipped: tuple[SkippedFile, ...], *, is_phantom: bool
) -> StudyCollection:
    """Return the studies with the labels that lie in the root, and what belongs to them."""
    labels, boxes, fractures = path / LABELS_FILE, path / BOXES_FILE, path / FRACTURES_FOLDER
    if not labels.is_file():
        return StudyCollection(path, studies, None, is_phantom, skipped=skipped)
    return StudyCollection(
        path,
        studies,
        labels,
        is_phantom,
        boxes_path=boxes if boxes.is_file() else None,
        fractures_path=fractures if fractures.is_dir() else None,
        skipped=skipped,
    )


def _reason_against(entry: Path) -> str:
    """Return why an entry beside the challenge's study folders is not read."""
    if entry.is_symlink() and not entry.exists():
        return "is a link to a folder that is not there; copy the folder itself"
    return "is no study folder; unpack it, or move it elsewhere"
