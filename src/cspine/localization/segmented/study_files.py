"""Which file of a folder is the segmentation of a study."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from cspine.core.errors import LabelError, SourceError
from cspine.core.findings import NotAssessable
from cspine.core.identifiers import study_key
from cspine.core.settings import digest
from cspine.core.storage.locations import as_path
from cspine.dicom.nifti.names import is_nifti_name
from cspine.dicom.seg_file import seg_study_uid
from cspine.localization.segmented.label_file import vertebra_files
from cspine.localization.segmented.numbering import Numbering, numbering_of
from cspine.localization.segmented.segmented_vertebrae import CODE, SegmentedVertebrae

MISSING_CODE: Final = "no-segmentation"
"""Code of studies for which a folder of segmentations holds no file."""

_SCAN_SUFFIX: Final = re.compile(r"(_ct|_0000)$", re.IGNORECASE)
"""What follows a case's name in NIfTI scans of BIDS and of nnU-Net, and not in its segmentation."""


@dataclass(frozen=True)
class SegmentationFiles:
    """The segmentation of one study, or a folder with those of many.

    Attributes
    ----------
    path : Path
        A NIfTI file, a DICOM segmentation, a folder with one NIfTI file for each vertebra, or a folder of any of these
        with the StudyInstanceUID in their names.
    numbering : str
        One of `cspine.localization.segmented.numbering.NUMBERINGS`.
    """

    path: Path
    numbering: Numbering = "auto"

    @classmethod
    def open(cls, path: str | Path, numbering: str = "auto", *, n_studies: int = 1) -> "SegmentationFiles":
        """Take what a user named.

        Parameters
        ----------
        path : str or Path
            As the attribute.
        numbering : str
            As the attribute.
        n_studies : int
            How many studies it is for.

        Raises
        ------
        SourceError
            It does not exist, or is the segmentation of one study for several.
        InputError
            The numbering is none.
        """
        path = as_path(path)
        if not path.exists():
            raise SourceError(f"{path}: does not exist; check --vertebrae")
        files = cls(path, numbering_of(numbering))
        files.check_count(n_studies)
        return files

    def check_count(self, n_studies: int) -> None:
        """Check that there may be a segmentation for each of so many studies; raises SourceError otherwise."""
        if n_studies > 1 and self.is_single:
            raise SourceError(
                f"{self.path}: is one segmentation for {n_studies} studies; give a folder of files named by their UIDs"
            )

    @property
    def job(self) -> dict[str, str]:
        """What tells a job with these files from others."""
        return {"vertebrae": str(self.path.resolve()), "vertebrae_labels": self.numbering}

    @property
    def is_single(self) -> bool:
        """Whether it is the segmentation of one study."""
        return not self.path.is_dir() or _is_vertebra_folder(self.path)

    @property
    def sha256(self) -> str:
        """SHA-256 of the one segmentation, or of the names and sizes of all of a folder."""
        if self.is_single:
            return SegmentedVertebrae(self.path, self.numbering).sha256
        files = [path for each in _index(self.path) for path in (sorted(each.iterdir()) if each.is_dir() else [each])]
        lines = [f"{path.relative_to(self.path).as_posix()} {path.stat().st_size}\n" for path in files]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

    def of_study(self, *uids: str) -> SegmentedVertebrae:
        """Return the vertebrae of a study.

        Parameters
        ----------
        *uids : str
            StudyInstanceUID of the study, or what stands for it; the first one by which a file is found counts.

        Returns
        -------
        SegmentedVertebrae
            Where the folder holds no file of the study, or several, its `problem` says so.
        """
        if self.is_single:
            return SegmentedVertebrae(self.path, self.numbering)
        for uid in dict.fromkeys(uids):
            files = _find(self.path, uid)
            if len(files) > 1:
                names = ", ".join(file.name for file in files[:3])
                reason = f"{self.path.name}: holds several segmentations of study {uid} ({names}); leave one"
                return SegmentedVertebrae(None, self.numbering, NotAssessable(code=CODE, reason=reason))
            if files:
                return SegmentedVertebrae(files[0], self.numbering)
        reason = f"{self.path.name}: holds no segmentation of study {uids[0]}; add a file named by its UID"
        return SegmentedVertebrae(None, self.numbering, NotAssessable(code=MISSING_CODE, reason=reason))

    def ambiguity(self, uid: str) -> str:
        """Return the sentence about a study that has several segmentations; empty of others."""
        problem = self.of_study(uid).problem
        return problem.reason if problem is not None and problem.code == CODE else ""

    def fingerprint(self, uid: str) -> str:
        """Return a hash of the state of a study's file, or of its absence."""
        path = self.of_study(uid).path
        if path is None:
            return digest([self.numbering])
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        states = [[file.name, stat.st_size, stat.st_mtime_ns] for file in files for stat in (file.stat(),)]
        return digest([self.numbering, states])


def _find(folder: Path, uid: str) -> Sequence[Path]:
    """Return the segmentations of a study: those whose path is named by it, otherwise by the header of DICOM."""
    stem = _SCAN_SUFFIX.sub("", uid)
    candidates = [uid, study_key(uid), stem, *([stem.rpartition("/")[0]] if "/" in stem else [])]
    index = _index(folder)
    for name in dict.fromkeys(filter(None, candidates)):
        if exact := _by_stem(folder).get(name):
            return exact
        pattern = re.compile(rf"(?<![0-9A-Za-z.]){re.escape(name)}(?![0-9A-Za-z]|\.[0-9])")
        if named := [path for path in index if pattern.search(path.relative_to(folder).as_posix())]:
            return named
    return [path for path, study_uid in _dicom_index(folder).items() if study_uid == uid]


@lru_cache(maxsize=4)
def _index(folder: Path) -> tuple[Path, ...]:
    """Return the segmentations in a folder: NIfTI and other files, and folders with a file for each vertebra."""
    return tuple(sorted(_segmentations(folder)))


@lru_cache(maxsize=4)
def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the segmentations in a folder by their names without suffix: an archive has thousands."""
    paths: dict[str, list[Path]] = {}
    for path in _index(folder):
        paths.setdefault(_stem(path), []).append(path)
    return paths


def _segmentations(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir() or _is_vertebra_folder(path):
            yield path
        else:
            yield from _segmentations(path)


@lru_cache(maxsize=4)
def _dicom_index(folder: Path) -> dict[Path, str]:
    """Return the StudyInstanceUID of each DICOM segmentation in a folder."""
    uids = {path: seg_study_uid(path) for path in _index(folder) if path.is_file() and not is_nifti_name(path.name)}
    return {path: uid for path, uid in uids.items() if uid}


def _is_vertebra_folder(path: Path) -> bool:
    """Return whether a folder holds one file for each vertebra, as TotalSegmentator writes it."""
    try:
        return bool(vertebra_files(path))
    except LabelError:
        return False


def _stem(path: Path) -> str:
    return re.sub(r"\.(nii|nii\.gz|dcm)$", "", path.name, flags=re.IGNORECASE)
