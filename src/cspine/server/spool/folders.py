"""The folders of the spool, and the names in them: none is made of what was received."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from cspine.core.errors import OutputError
from cspine.core.files import output_errors

_INCOMING, _STUDIES, _JOBS, _RESULTS, _CURRENT = "incoming", "studies", "jobs", "results", "current"

OBJECT_SUFFIX: Final = ".dcm"


def storage_key(study_instance_uid: str, patient_id: str) -> str:
    """Return the name of a study in the spool, in addresses and in logs: 32 hex digits.

    Two patients whose studies have the same UID, which some modalities produce, have two keys.

    >>> storage_key("1.2.3", "A")
    'dc44af0221173bcdc03ef01b5e410e8c'
    """
    return _hash(study_instance_uid.strip(), patient_id.strip())


def object_name(sop_instance_uid: str) -> str:
    """Return the file name of an object: 32 hex digits and the suffix."""
    return _hash(sop_instance_uid.strip()) + OBJECT_SUFFIX


class Spool:
    """The folders that the processes of a server share; all on one file system, since files are moved and linked.

    Parameters
    ----------
    folder : Path
        Created by `create` where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def create(self) -> None:
        """Create the folders; only their owner may enter them.

        Raises
        ------
        OutputError
        """
        with output_errors(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the database in it holds names of patients
            for name in (_INCOMING, _STUDIES, _JOBS, _RESULTS, _CURRENT):
                (self.folder / name).mkdir(mode=0o700, exist_ok=True)

    @property
    def is_there(self) -> bool:
        """Whether the folders are there; they are not where a network's file system is not mounted."""
        return (self.folder / _STUDIES).is_dir()

    def incoming(self, suffix: str = OBJECT_SUFFIX) -> Path:
        """Return a new, empty, private file for what is being received.

        Raises
        ------
        DiskFullError, OutputError
        """
        folder = self.folder / _INCOMING
        with output_errors(folder):
            handle, name = tempfile.mkstemp(dir=folder, suffix=suffix)
            os.close(handle)
            return Path(name)

    def study_folder(self, key: str) -> Path:
        """Return the folder of a study's objects."""
        return self.folder / _STUDIES / _checked(key)

    def object_file(self, key: str, sop_instance_uid: str) -> Path:
        """Return the file of an object."""
        return self.study_folder(key) / object_name(sop_instance_uid)

    def study_folders(self) -> list[Path]:
        """Return the folders of all studies, in order of their names."""
        return sorted(path for path in (self.folder / _STUDIES).iterdir() if path.is_dir())

    def job_folder(self, job_id: int, token: str) -> Path:
        """Return the folder of what one attempt of a job reads and writes before it is done."""
        return self.folder / _JOBS / f"{job_id}-{_checked(token)}"

    def job_folders(self) -> list[Path]:
        """Return the folders of all attempts, also of those that were killed."""
        return sorted((self.folder / _JOBS).iterdir())

    def result_folder(self, key: str, job_id: int, token: str) -> Path:
        """Return the folder of the results of a job; the token keeps two attempts apart."""
        return self.folder / _RESULTS / _checked(key) / f"{job_id}-{_checked(token)}"

    def result_folders(self) -> list[Path]:
        """Return the folders of all results."""
        return sorted(
            path for study in (self.folder / _RESULTS).iterdir() if study.is_dir() for path in study.iterdir()
        )

    def current_link(self, key: str) -> Path:
        """Return the link to the current answer of a study."""
        return self.folder / _CURRENT / _checked(key)

    def current_links(self) -> list[Path]:
        """Return all links to current answers."""
        folder = self.folder / _CURRENT
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.exists() else []

    def relative(self, path: Path) -> str:
        """Return a path below the spool as the database holds it."""
        return path.relative_to(self.folder).as_posix()

    def absolute(self, relative: str) -> Path:
        """Return the path of what the database holds.

        Raises
        ------
        OutputError
            It would lie outside of the spool.
        """
        path = self.folder / relative
        if not relative or ".." in path.parts or not path.is_relative_to(self.folder):
            raise OutputError(f"{self.folder}: the database names a path outside of the spool; check the database")
        return path

    def incoming_files(self) -> list[Path]:
        """Return what is being received, or was when a process was killed."""
        return sorted((self.folder / _INCOMING).iterdir())

    @property
    def free_bytes(self) -> int:
        """Free space of the file system, bytes."""
        return shutil.disk_usage(self.folder).free


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, as fsync does for a file's content."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make a folder durable with all that it holds, and its name in the folder above."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
    sync_folder(folder.parent)


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _checked(key: str) -> str:
    """Return a key that consists of hex digits, and thus names nothing outside of its folder."""
    if not key or any(character not in "0123456789abcdef" for character in key):
        raise OutputError("a key of the spool consists of hex digits; check the address")
    return key
