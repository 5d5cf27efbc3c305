"""Sources of DICOM files: a file, a folder of any depth, or a zip that is read in place.

Archives are never unpacked to disk. `SourceFile` is the only class that opens files, so that no other module depends
on whether a file lies in a folder or in a zip.
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
    """Limits beyond which an archive is rejected as an attack, such as a zip bomb."""

    max_bytes: int = Field(16 * 2**30, description="Expanded size of all members together, in bytes.")
    max_file_bytes: int = Field(2 * 2**30, description="Expanded size of one member, in bytes.")
    max_files: int = Field(200_000, description="Number of members, folders included.")
    max_depth: int = Field(32, description="Depth of folders in a member's name.")
    max_ratio: int = Field(400, description="Expanded over stored size of all members; CT has a ratio of 2 to 20.")
    ratio_from_bytes: int = Field(
        64 * 2**20, description="Expanded size in bytes below which the ratio is not checked."
    )


DEFAULT_LIMITS: Final = ArchiveLimits()
"""Limits for archives of CT."""

_DAMAGE_ERRORS: Final = (
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
        Name inside the zip; None for a plain file.
    name : str
        Name in messages: the path below the source, with forward slashes.
    size : int
        Expanded size in bytes.
    """

    container: Path
    member: str | None
    name: str
    size: int

    def read(self, limit: int | None = None) -> bytes:
        """Return the content, or its first `limit` bytes.

        Parameters
        ----------
        limit : int, optional
            Maximum number of bytes; all where omitted.

        Returns
        -------
        bytes

        Raises
        ------
        SourceError
            The file cannot be read.
        ArchiveError
            The zip is damaged, or the member is longer than the zip declares.
        """
        if self.member is None:
            with self._open_file() as stream:
                return stream.readall() if limit is None else stream.read(limit)
        try:
            with _open_zip(self.container, _file_state(self.container)).open(self.member) as stream:
                data = stream.read(self.size + 1 if limit is None else min(limit, self.size + 1))
        except _DAMAGE_ERRORS as error:
            name = type(error).__name__  # the error's text may quote personal bytes of the file
            raise ArchiveError(f"{self.name}: damaged inside {self.container.name} ({name}); zip it again") from error
        if len(data) > self.size:
            raise ArchiveError(f"{self.name}: longer than {self.container.name} declares; do not trust this archive")
        return data

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Read the content from `offset` on into a buffer, without an intermediate copy for a plain file.

        Parameters
        ----------
        buffer : memoryview
            Writable buffer of bytes to fill.
        offset : int
            Offset of the first byte to read.

        Returns
        -------
        int
            Number of bytes read; fewer than the buffer takes if the file ends before.

        Raises
        ------
        SourceError, ArchiveError
            As in `read`.
        """
        if self.member is not None:
            data = self.read(offset + len(buffer))[offset:]
            buffer[: len(data)] = data
            return len(data)
        with self._open_file() as stream:
            stream.seek(offset)
            filled = 0
            while filled < len(buffer):
                count = stream.readinto(buffer[filled:])
                if not count:
                    break
                filled += count
            return filled

    @contextmanager
    def _open_file(self) -> Iterator[FileIO]:
        """Open a plain file; the only place that does, so that other storage can be added here."""
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
        A file, a folder (searched to any depth; hidden files and linked folders are skipped), or a zip.
    limits : ArchiveLimits
        Limits for a zip.

    Returns
    -------
    list of SourceFile
        At least one.

    Raises
    ------
    SourceError
        The path does not exist, is empty, or cannot be listed.
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
    root = os.path.join(folder, "")  # noqa: PTH118 - strings are faster, and a study has a thousand files
    pending = [root]
    try:
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file():
                        name = sanitize_text(entry.path[len(root) :].replace(os.sep, "/"))
                        files.append(SourceFile(Path(entry.path), None, name, entry.stat().st_size))
    except OSError as error:
        raise SourceError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    return sorted(files, key=lambda file: file.name)


def _list_zip(path: Path, limits: ArchiveLimits) -> list[SourceFile]:
    try:
        members = _open_zip(path, _file_state(path)).infolist()
    except _DAMAGE_ERRORS as error:
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
    """Reject an archive that exceeds the limits for archives of CT."""
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


def _file_state(path: Path) -> tuple[int, ...]:
    """Return the inode, size and modification time of a file, which change if it is replaced or rewritten."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=4)
def _open_zip(path: Path, _: tuple[int, ...]) -> zipfile.ZipFile:
    """Open an archive; the last few stay open while unchanged, because opening one reads its whole directory."""
    return zipfile.ZipFile(path)
