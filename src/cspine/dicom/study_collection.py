"""The folder layout of the RSNA 2022 challenge, and any other folder of studies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.core.errors import SourceError
from cspine.core.progress import Progress, silent
from cspine.core.settings import digest
from cspine.dicom.discovery import discover, discover_files, list_images
from cspine.dicom.series import SkippedFile, Study

LABELS_FILE: Final = "train.csv"
IMAGE_FOLDERS: Final = ("train_images", "test_images")
BOXES_FILE: Final = "train_bounding_boxes.csv"
FRACTURES_FOLDER: Final = "fractures"
TRUTH_FOLDER: Final = "truth"
"""Of a phantom's data set, drawn or compiled: a JSON for each study with all that is known of it."""

PHANTOM_MARKER: Final = "phantom.json"
"""The file that the phantom leaves in the data sets it writes."""


@dataclass(frozen=True)
class SourceFingerprint:
    """A study's files at one time.

    Attributes
    ----------
    fingerprint : str
        Changes where files come, go or are written over: of their names, sizes and times.
    newest : float
        When the newest of them was written, seconds since 1970; 0 where nothing is there any more.
    """

    fingerprint: str
    newest: float


@dataclass(frozen=True)
class StudySource:
    """A study that is there to be read: a folder of the challenge's layout, or one already discovered.

    Attributes
    ----------
    study_instance_uid : str
        From the folder's name, or from the headers.
    folder : Path or None
        Where its files lie; None where `study` is given.
    study : Study or None
        Headers already read.
    """

    study_instance_uid: str
    folder: Path | None = None
    study: Study | None = None

    def stamp(self) -> SourceFingerprint:
        """Return what its files are now, from one look at them."""
        told, newest = [], 0.0
        for place in sorted(self._places()):
            if place.exists():
                stat = place.stat()
                told.append([place.name, stat.st_size, stat.st_mtime_ns])
                newest = max(newest, stat.st_mtime)
        headers = [header for each in (self.study.series if self.study else ()) for header in each.headers]
        return SourceFingerprint(digest([told, sorted({header.file.name for header in headers})]), newest)

    def _places(self) -> set[Path]:
        """Return its files; of a zip, the zip."""
        if self.folder is not None:
            return {place for place in self.folder.rglob("*") if place.is_file() and not place.name.startswith(".")}
        series = self.study.series if self.study else ()
        return {header.file.container for each in series for header in each.headers}

    def open(self, *, progress: Progress = silent) -> Study:
        """Return the study's headers, read now where they are not yet.

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
        found = discover(self.folder, progress=progress).studies
        if len(found) > 1:
            raise SourceError(f"{self.folder.name}: holds files of {len(found)} studies; keep one study per folder")
        return found[0]


@dataclass(frozen=True)
class StudyCollection:
    """A place with many studies.

    Attributes
    ----------
    labels_path : Path or None
        The challenge's train.csv, where it lies there.
    is_phantom : bool
        Whether the phantom made it.
    boxes_path : Path or None
        The challenge's train_bounding_boxes.csv, where it lies beside the labels.
    fractures_path : Path or None
        A folder of label maps of fractures, as the phantom writes them, where it lies there.
    skipped : tuple of Skipped
        Files that no study can be told of, where headers were read to find studies.
    """

    path: Path
    studies: tuple[StudySource, ...]
    labels_path: Path | None
    is_phantom: bool
    boxes_path: Path | None = None
    fractures_path: Path | None = None
    skipped: tuple[SkippedFile, ...] = ()


def open_collection(path: Path, *, progress: Progress = silent) -> StudyCollection:
    """Find the studies at `path`: the challenge's folders by name, without reading them, or any folder by headers.

    Parameters
    ----------
    path : Path
        The challenge's root (with train_images/), or a file, folder or zip with any number of studies.
    progress : Progress
        Told how many headers are read, where they must be.

    Returns
    -------
    StudyCollection

    Raises
    ------
    SourceError
        There are no studies.
    """
    is_phantom = (path / PHANTOM_MARKER).is_file()
    for name in IMAGE_FOLDERS:
        images = path / name
        if not images.is_dir():
            continue
        folders = sorted(entry for entry in images.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        if not folders:
            raise SourceError(f"{images}: holds no study folders; unpack the challenge's images there")
        labels = path / LABELS_FILE
        labels_path = labels if labels.is_file() and name == IMAGE_FOLDERS[0] else None
        studies = tuple(StudySource(folder.name, folder=folder) for folder in folders)
        if labels_path is None:
            return StudyCollection(path, studies, None, is_phantom)
        boxes, fractures = path / BOXES_FILE, path / FRACTURES_FOLDER
        return StudyCollection(
            path,
            studies,
            labels_path,
            is_phantom,
            boxes_path=boxes if boxes.is_file() else None,
            fractures_path=fractures if fractures.is_dir() else None,
        )
    if (path / LABELS_FILE).is_file():
        raise SourceError(f"{path}: has {LABELS_FILE} but no {IMAGE_FOLDERS[0]}/ beside it; unpack the images there")
    found = discover_files(list_images(path), origin=str(path), progress=progress)
    studies = tuple(StudySource(study.study_instance_uid, study=study) for study in found.studies)
    return StudyCollection(path, studies, None, is_phantom, skipped=found.skipped)
