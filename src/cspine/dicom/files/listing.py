"""List the files of a source: a file, a folder of any depth with the links in it, or an archive."""

import os
from pathlib import Path, PurePosixPath
from typing import Final

from cspine.core.errors import ArchiveError, SourceError
from cspine.core.storage.locations import is_archive
from cspine.core.storage.remote_path import RemotePath
from cspine.core.text import sanitize_text
from cspine.dicom.dicomweb.archive import find_studies, list_instances
from cspine.dicom.files.archive import DAMAGE_ERRORS
from cspine.dicom.files.formats import PACKED_ENDINGS
from cspine.dicom.files.limits import DEFAULT_LIMITS, MAX_ARCHIVE_DEPTH, ArchiveLimits, Budget, LimitExceededError
from cspine.dicom.sources import SourceFile, UnreadableFile

_NIFTI_ENDINGS: Final = (".nii", ".nii.gz")


def list_files(path: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> list[SourceFile]:
    """List the files at `path`, sorted by name.

    Parameters
    ----------
    path : Path
        A file, a folder (searched to any depth; hidden files are skipped, links are followed), or an archive: a zip, a
        tar, or a file compressed by gzip or bzip2. Archives in the folder or in the archive are read, too.
    limits : ArchiveLimits
        Limits for archives.

    Returns
    -------
    list of SourceFile
        At least one. Of a folder, an `UnreadableFile` for each link that points nowhere, and for each archive that is
        unsafe or damaged.

    Raises
    ------
    SourceError
        The path does not exist, is empty, or cannot be listed.
    ArchiveError
        `path` is an archive, and unsafe or damaged.
    """
    if isinstance(path, RemotePath) and is_archive(path):
        return [file for study in find_studies(path) for file in list_instances(study)]
    if path.is_dir():
        files = [unpacked for file in list_folder(path) for unpacked in _unpack_or_name(file, limits)]
        if not files:
            raise SourceError(f"{path}: the folder is empty; give the folder that holds the DICOM files")
        return sorted(files, key=lambda file: file.name)
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder; check the path")
    if not path.is_file():
        raise SourceError(f"{path}: is neither a file nor a folder; give a DICOM file, a folder or an archive")
    if isinstance(path, RemotePath):
        path = path.with_info(path.find_object())
    file = SourceFile(path, None, sanitize_text(path.name), path.stat().st_size)
    files = _unpack(file, Budget(limits, str(path), file.size), prefix="", depth=1)
    if not files:
        raise SourceError(f"{path}: the archive holds no files; pack the folder that holds the DICOM files")
    return sorted(files, key=lambda file: file.name)


def list_folder(folder: Path) -> list[SourceFile]:
    """List the files in a folder of any depth, without looking into archives.

    Links to folders are followed, each folder once; a link that points nowhere is an `UnreadableFile`. Of a store, the
    objects below a name are listed in one sweep.

    Parameters
    ----------
    folder : Path
        The folder.

    Raises
    ------
    SourceError
        The folder cannot be listed.
    """
    if isinstance(folder, RemotePath):
        return [
            SourceFile(path, None, sanitize_text(name), path.stat().st_size)
            for name, path in folder.walk_objects()
            if not any(part.startswith(".") for part in name.split("/")) and not name.endswith("/")
        ]
    walk = _Walk(os.path.join(folder, ""))  # noqa: PTH118 - strings are faster, and a study has a thousand files
    walk.run()
    return sorted(walk.files, key=lambda file: file.name)


class _Walk:
    """Lists a folder: first its own folders, then those that links lead to, so that files have their own names."""

    def __init__(self, root: str) -> None:
        self.files: list[SourceFile] = []
        self._root, self._visited = root, {os.path.realpath(root)}
        self._folders, self._links = [root], list[str]()

    def run(self) -> None:
        """List all folders, each once."""
        while self._folders or self._links:
            if not self._folders:
                self._links.sort(reverse=True)
                self._follow(self._links.pop())
                continue
            folder = self._folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        self._add(entry)
            except OSError as error:
                if folder == self._root:
                    raise SourceError(
                        f"{folder}: cannot be listed ({error.strerror}); check its permissions"
                    ) from error
                self._add_problem(folder, f"cannot be listed ({error.strerror}); check its permissions", is_lost=True)

    def _add(self, entry: "os.DirEntry[str]") -> None:
        if entry.name.startswith("."):
            return
        try:
            self._sort(entry)
        except OSError as error:  # a link that leads to itself, or into a folder without permission
            self._add_problem(entry.path, f"cannot be followed ({error.strerror}); copy the file itself")

    def _sort(self, entry: "os.DirEntry[str]") -> None:
        if entry.is_dir(follow_symlinks=False):
            target = os.path.realpath(entry.path)
            if target not in self._visited:
                self._visited.add(target)
                self._folders.append(entry.path)
        elif entry.is_file():
            self.files.append(SourceFile(Path(entry.path), None, self._name(entry.path), entry.stat().st_size))
        elif entry.is_dir():
            self._links.append(entry.path)
        elif entry.is_symlink():
            self._add_problem(entry.path, "is a link to a file that is not there; copy the file itself")
        else:
            self._add_problem(entry.path, "is neither a file nor a folder; remove it", is_lost=False)

    def _follow(self, link: str) -> None:
        """Enter the folder that a link leads to, unless it was visited, or holds the link itself."""
        target, place = os.path.realpath(link), os.path.realpath(os.path.dirname(link))  # noqa: PTH120
        if target in self._visited:
            return
        if os.path.join(place, "").startswith(os.path.join(target, "")):  # noqa: PTH118
            self._add_problem(
                link, "is a link to a folder that holds it, which is not followed; give that folder", is_lost=False
            )
            return
        self._visited.add(target)
        self._folders.append(link)

    def _name(self, path: str) -> str:
        return sanitize_text(path[len(self._root) :].replace(os.sep, "/"))

    def _add_problem(self, path: str, problem: str, *, is_lost: bool | None = None) -> None:
        self.files.append(UnreadableFile(Path(path), None, self._name(path), 0, problem=problem, is_lost=is_lost))


def _has_packed_ending(name: str) -> bool:
    """Return whether a name's ending is that of an archive; compressed NIfTI is read as it is."""
    return name.lower().endswith(PACKED_ENDINGS) and not name.lower().endswith(_NIFTI_ENDINGS)


def _unpack_or_name(file: SourceFile, limits: ArchiveLimits) -> list[SourceFile]:
    """Return a file of a folder, or the files in it where it is an archive; where that fails, one that says why."""
    if not _has_packed_ending(file.name) or isinstance(file, UnreadableFile):
        return [file]
    try:
        return _unpack(file, Budget(limits, file.name, file.size), prefix=f"{file.name}/", depth=1)
    except (ArchiveError, SourceError) as error:
        return [_unread_archive(file, error)]


def _unread_archive(file: SourceFile, error: ArchiveError | SourceError) -> UnreadableFile:
    problem = str(error).removeprefix(f"{file.name}: ")
    return UnreadableFile(file.container, None, file.name, file.size, problem=problem, is_lost=True)


def _unpack(file: SourceFile, budget: Budget, *, prefix: str, depth: int) -> list[SourceFile]:
    """Return the file, or the files in it where it is an archive; those in it have `prefix` before their names."""
    label = budget.label if depth == 1 else file.name
    try:
        if not file.name.lower().endswith(_NIFTI_ENDINGS):  # compressed NIfTI is read as it is
            file = file.find_packing(budget)
        if file.packing is None and file.name.lower().endswith(".zip"):
            raise ArchiveError(f"{label}: is damaged or not a zip; download or zip it again")
        if file.packing is None or file.packing.archive is None:
            return [file]
        members = file.list_members(budget)
    except DAMAGE_ERRORS as error:
        raise ArchiveError(f"{label}: is damaged ({type(error).__name__}); download or pack it again") from error
    files: list[SourceFile] = []
    for member in members:
        if PurePosixPath(member.name.replace("\\", "/")).name.startswith("."):
            continue
        name = sanitize_text(prefix + member.name.replace("\\", "/"))
        inner = SourceFile(file.container, member.name, name, member.size, file)
        files += _unpack_inner(inner, budget, depth + 1) if _has_packed_ending(name) else [inner]
    return files


def _unpack_inner(file: SourceFile, budget: Budget, depth: int) -> list[SourceFile]:
    """Return a packed member of an archive, or the files in it; what exceeds a limit condemns the whole archive."""
    try:
        if depth <= MAX_ARCHIVE_DEPTH:
            return _unpack(file, budget, prefix=f"{file.name}/", depth=depth)
        file = file.find_packing(budget)
        if file.packing is not None and file.packing.archive is not None:
            raise ArchiveError(f"{file.name}: is an archive in an archive in an archive; unpack it first")
        return [file]
    except LimitExceededError:
        raise
    except (ArchiveError, SourceError) as error:
        return [_unread_archive(file, error)]
