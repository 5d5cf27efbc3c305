"""Where DICOM files lie: a file, a folder of any depth, or a zip that is read in place.

Nothing is ever unpacked to disk. Opening is kept behind `SourceFile`, so that nothing else needs to know.
"""

import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import Field

from cspine.core.errors import ArchiveError, SourceError
from cspine.core.settings import Settings
from cspine.core.text import sanitize_text


class ArchiveLimits(Settings):
    """What an archive may hold before it is taken for an attack."""

    max_bytes: int = Field(16 * 2**30, description="All members together, expanded, in bytes.")
    max_file_bytes: int = Field(2 * 2**30, description="One member, expanded, in bytes.")
    max_files: int = Field(200_000, description="Members, folders included.")
    max_depth: int = Field(32, description="Folders within folders of a member's name.")
    max_ratio: int = Field(400, description="Expanded over stored bytes of all members; CT compresses 2-20 times.")
    ratio_from_bytes: int = Field(64 * 2**20, description="Expanded bytes below which the ratio is let be.")


DEFAULT_LIMITS: Final = ArchiveLimits()

_DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, NotImplementedError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file, in a folder or in a zip.

    Attributes
    ----------
    container : Path
        The file itself, or the zip that holds it.
    member : str or None
        The name inside the zip; None for a plain file.
    name : str
        What messages call it: the path below the source, with forward slashes.
    size : int
        Bytes, expanded.
    """

    container: Path
    member: str | None
    name: str
    size: int

    def read(self, limit: int | None = None) -> bytes:
        """Return the content, or its first `limit` bytes.

        Raises
        ------
        SourceError
            The file cannot be read.
        ArchiveError
            The zip is damaged, or the member is longer than the zip declares.
        """
        if self.member is None:
            with self._opened() as stream:
                return stream.readall() if limit is None else stream.read(limit)
        try:
            with _open_zip(self.container, _state(self.container)).open(self.member) as stream:
                data = stream.read(self.size + 1 if limit is None else min(limit, self.size + 1))
        except _DAMAGE as error:
            kind = type(error).__name__  # its own text quotes bytes of the file, which may be personal
            raise ArchiveError(f"{self.name}: damaged inside {self.container.name} ({kind}); zip it again") from error
        if len(data) > self.size:
            raise ArchiveError(f"{self.name}: longer than {self.container.name} declares; do not trust this archive")
        return data

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a writable buffer of bytes with the content from `offset` on, without a copy between.

        Returns
        -------
        int
            The bytes that were there; fewer than the buffer takes where the file ends before.

        Raises
        ------
        SourceError, ArchiveError
            As for `read`.
        """
        if self.member is not None:
            data = self.read(offset + len(buffer))[offset:]
            buffer[: len(data)] = data
            return len(data)
        with self._opened() as stream:
            stream.seek(offset)
            filled = 0
            while filled < len(buffer):
                count = stream.readinto(buffer[filled:])
                if not count:
                    break
                filled += count
            return filled

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        """Open a plain file; the one place where that is done, for a day when files lie elsewhere than on a disk."""
        try:
            with FileIO(self.container) as stream:
                yield stream
        except FileNotFoundError as error:
            raise SourceError(f"{self.name}: is not there; copy it again") from error
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be read ({error.strerror}); check its permissions") from error


def list_files(path: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> list[SourceFile]:
    """List the files at `path`, sorted by name.

    Parameters
    ----------
    path : Path
        A file, a folder (searched to any depth; hidden files and linked folders are passed over), or a zip.
    limits : ArchiveLimits
        What a zip may hold.

    Returns
    -------
    list of SourceFile
        At least one.

    Raises
    ------
    SourceError
        Nothing is there.
    ArchiveError
        The zip is unsafe or damaged.
    """
    if path.is_dir():
        files = _list_folder(path)
        if not files:
            raise SourceError(f"{path}: the folder is empty; give the folder that holds the DICOM files")
        return files
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder; check the path")
    if not path.is_file():
        raise SourceError(f"{path}: is neither a file nor a folder; give a DICOM file, a folder or a zip")
    file = SourceFile(path, None, sanitize_text(path.name), path.stat().st_size)
    if zipfile.is_zipfile(path) and file.read(132)[128:] != b"DICM":
        return _list_zip(path, limits)
    if path.suffix.lower() == ".zip":
        raise ArchiveError(f"{path}: is damaged or not a zip; download or zip it again")
    return [file]


def _list_folder(folder: Path) -> list[SourceFile]:
    files: list[SourceFile] = []
    root = os.path.join(folder, "")  # noqa: PTH118 - strings throughout: a study has a thousand files
    waiting = [root]
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file():
                        shown = sanitize_text(entry.path[len(root) :].replace(os.sep, "/"))
                        files.append(SourceFile(Path(entry.path), None, shown, entry.stat().st_size))
    except OSError as error:
        raise SourceError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    return sorted(files, key=lambda file: file.name)


def _list_zip(path: Path, limits: ArchiveLimits) -> list[SourceFile]:
    try:
        members = _open_zip(path, _state(path)).infolist()
    except _DAMAGE as error:
        raise ArchiveError(f"{path}: is damaged ({type(error).__name__}); download or zip it again") from error
    _check_archive(path, members, limits)
    files = [
        SourceFile(path, member.filename, sanitize_text(member.filename), member.file_size)
        for member in members
        if not member.is_dir() and not PurePosixPath(member.filename).name.startswith(".")
    ]
    if not files:
        raise SourceError(f"{path}: the zip holds no files; zip the folder that holds the DICOM files")
    return sorted(files, key=lambda file: file.name)


def _check_archive(path: Path, members: list[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    """Refuse what no honest archive of CT looks like."""
    if len(members) > limits.max_files:
        raise ArchiveError(f"{path}: holds {len(members):,} files, at most {limits.max_files:,} are read; split it")
    for member in members:
        _check_member(path, member, limits)
    expanded = sum(member.file_size for member in members)
    if expanded > limits.max_bytes:
        raise ArchiveError(
            f"{path}: would expand to {expanded / 2**30:,.1f} GiB, at most {limits.max_bytes / 2**30:,.0f} GiB are "
            "read; unpack it yourself if you trust it"
        )
    stored = max(sum(member.compress_size for member in members), 1)
    if expanded > limits.ratio_from_bytes and expanded > limits.max_ratio * stored:
        raise ArchiveError(
            f"{path}: expands {expanded / stored:,.0f} times, which CT never does; do not trust this archive"
        )


def _check_member(path: Path, member: zipfile.ZipInfo, limits: ArchiveLimits) -> None:
    name = member.filename.replace("\\", "/")
    if not name:
        raise ArchiveError(f"{path}: a member has no name; zip the files again")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or (len(name) > 1 and name[1] == ":"):
        raise ArchiveError(f"{path}: a member's name leads out of the archive ({name[:80]!r}); do not trust it")
    if name.count("/") > limits.max_depth:
        raise ArchiveError(
            f"{path}: {name[:80]!r} lies more than {limits.max_depth} folders deep; do not trust this archive"
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ArchiveError(f"{path}: {name[:80]!r} is a symbolic link; zip the files themselves")
    if member.flag_bits & 0x1:
        raise ArchiveError(f"{path}: {name[:80]!r} is encrypted; unpack the archive first")
    if member.file_size > limits.max_file_bytes:
        raise ArchiveError(
            f"{path}: {name[:80]!r} would expand to {member.file_size / 2**30:,.1f} GiB, at most "
            f"{limits.max_file_bytes / 2**30:,.0f} GiB are read; unpack it yourself if you trust it"
        )


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes where a file is replaced or written over."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=4)
def _open_zip(path: Path, _: tuple[int, ...]) -> zipfile.ZipFile:
    """Keep the last few archives open as long as they stay the same: listing one costs a pass over its directory."""
    return zipfile.ZipFile(path)
