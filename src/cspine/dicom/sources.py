"""Sources of DICOM files: a file, a folder of any depth, an archive that is read in place, or objects of a store.

Archives are never unpacked to the disk. `SourceFile` is the only class that opens files, so that no other module
depends on whether a file lies in a folder, in a zip, in a compressed tar, or in a bucket.
"""

import io
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO, RawIOBase
from pathlib import Path
from threading import RLock
from typing import IO, Final, cast

from cspine.core.errors import ArchiveError, SourceError
from cspine.core.storage.read_ahead import READ_AHEAD
from cspine.core.storage.remote_path import RemotePath
from cspine.core.storage.stream import RemoteStream
from cspine.dicom.files.archive import (
    DAMAGE_ERRORS,
    Archive,
    Member,
    Packing,
    expanded_stream,
    find_packing,
    measure,
    open_archive,
    spool,
)
from cspine.dicom.files.limits import DEFAULT_LIMITS, Budget, LimitExceededError

_MAX_OPEN_ARCHIVES: Final = 8
"""Archives that stay open, because opening one reads its directory, or expands it."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file, in a folder or in an archive.

    Attributes
    ----------
    container : Path
        The file itself, or the archive on disk that holds it; either may be an object of a store.
    member : str or None
        Name inside the archive; None for a file on disk.
    name : str
        Name in messages: the path below the source, with forward slashes.
    size : int
        Expanded size in bytes.
    archive : SourceFile or None
        The archive that holds it; None for a file on disk.
    packing : Packing or None
        How the file itself is packed: as an archive, or compressed; None where it is not.
    """

    container: Path
    member: str | None
    name: str
    size: int
    archive: "SourceFile | None" = field(default=None, compare=False, repr=False)
    packing: Packing | None = field(default=None, compare=False, repr=False)

    @property
    def is_packed(self) -> bool:
        """Whether it has no random access, because it lies in an archive or is compressed."""
        return self.member is not None or self.packing is not None

    @property
    def is_read_once(self) -> bool:
        """Whether its parts are better read at once: it has no random access, or each part is a request."""
        return self.is_packed or isinstance(self.container, RemotePath)

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
            The archive is damaged, or the member is longer than the archive declares.
        """
        if not self.is_packed:
            if (ahead := self._read_ahead(limit)) is not None:
                return ahead
            with self._open_file() as stream:
                return (stream.readall() if limit is None else stream.read(limit)) or b""
        try:
            with self._open_packed() as packed:
                data = packed.read(self.size + 1 if limit is None else min(limit, self.size + 1))
        except DAMAGE_ERRORS as error:
            name = type(error).__name__  # the error's text may quote personal bytes of the file
            place = self.container.name if self.member is not None else "its compression"
            raise ArchiveError(f"{self.name}: damaged inside {place} ({name}); pack it again") from error
        if len(data) > self.size:
            raise LimitExceededError(
                f"{self.name}: longer than {self.container.name} declares; do not trust this archive"
            )
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
        if self.is_packed:
            data = self.read(offset + len(buffer))[offset:]
            buffer[: len(data)] = data
            return len(data)
        if (ahead := self._read_ahead(None)) is not None:
            data = ahead[offset : offset + len(buffer)]
            buffer[: len(data)] = data
            return len(data)
        with self._open_file() as stream:
            stream.seek(offset)
            filled = 0
            while filled < len(buffer):
                count: int = stream.readinto(buffer[filled:])
                if not count:
                    break
                filled += count
            return filled

    def _read_ahead(self, limit: int | None) -> bytes | None:
        """Return what was fetched of an object before it is read; None for a file on disk."""
        if not isinstance(self.container, RemotePath):
            return None
        try:
            return READ_AHEAD.take(self.container, limit)
        except FileNotFoundError as error:
            raise SourceError(f"{self.name}: is not there; copy it again") from error

    def _open_on_disk(self) -> RawIOBase:
        """Open a file on disk, or an object; the only place that does."""
        try:
            if isinstance(self.container, RemotePath):
                return RemoteStream(self.container)
            return FileIO(self.container)
        except FileNotFoundError as error:
            raise SourceError(f"{self.name}: is not there; copy it again") from error
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(f"{self.name}: cannot be read ({error.strerror}); check its permissions")

    @contextmanager
    def _open_file(self) -> Iterator[RawIOBase]:
        with self._open_on_disk() as stream:
            try:
                yield stream
            except FileNotFoundError as error:
                raise SourceError(f"{self.name}: is not there; copy it again") from error
            except OSError as error:
                raise self._unreadable(error) from error

    @contextmanager
    def _open_packed(self) -> Iterator[IO[bytes]]:
        """Open the content of a file that is packed, expanded where the file itself is compressed."""
        archive = _ARCHIVES.opened(self.archive) if self.archive else None  # kept open while its member is read
        stored = archive.open(self.member or "") if archive else cast("IO[bytes]", self._open_on_disk())
        with stored:
            if self.packing is None or self.packing.compression is None:
                yield stored
                return
            with expanded_stream(stored, self.packing.compression) as expanded:
                yield expanded

    def _open_seekable(self, budget: Budget) -> IO[bytes]:
        """Open the stored content with random access; of a member, a copy that is bounded by the budget."""
        if self.archive is None:
            block = RemoteStream.BLOCK_BYTES if isinstance(self.container, RemotePath) else io.DEFAULT_BUFFER_SIZE
            return cast("IO[bytes]", io.BufferedReader(self._open_on_disk(), block))
        archive = _ARCHIVES.opened(self.archive)
        with archive.open(self.member or "") as stream:
            return spool(stream, budget)

    def find_packing(self, budget: Budget) -> "SourceFile":
        """Return the file with its `packing` and, where it is compressed, with its expanded size.

        Parameters
        ----------
        budget : Budget
            Counts the expanded size.

        Raises
        ------
        LimitExceededError
            It expands beyond the limits.
        SourceError
            It cannot be read.
        """
        size = self.size
        with self._open_seekable(budget) as stream:
            packing = find_packing(stream)
            if packing is not None and packing.archive is None and packing.compression is not None:
                try:
                    with expanded_stream(stream, packing.compression) as expanded:
                        size = measure(expanded, budget)
                except LimitExceededError:
                    raise
                except DAMAGE_ERRORS:
                    pass  # reading the file reports it
        return SourceFile(self.container, self.member, self.name, size, self.archive, packing)

    def list_members(self, budget: Budget) -> tuple[Member, ...]:
        """Open the archive that this file is, and return its members.

        Parameters
        ----------
        budget : Budget
            Counts what it expands to.

        Raises
        ------
        ArchiveError
            It is unsafe. Errors of `cspine.dicom.files.archive.DAMAGE_ERRORS` mean that it is damaged.
        """
        return _ARCHIVES.open(self, budget).members

    def open_archive(self, budget: Budget) -> Archive:
        """Open the archive that this file is, without keeping it; errors are those of `list_members`."""
        label = budget.label if self.member is None else self.name
        return open_archive(self._open_seekable(budget), cast("Packing", self.packing), label, budget)


@dataclass(frozen=True, slots=True)
class UnreadableFile(SourceFile):
    """A file that is known to be unreadable when it is listed; reading it raises the reason.

    Attributes
    ----------
    problem : str
        Why it cannot be read, and the remedy; follows the name in the error.
    is_lost : bool or None
        Whether it held images of a study; None where its name decides.
    """

    problem: str = ""
    is_lost: bool | None = None

    def _open_on_disk(self) -> RawIOBase:
        raise SourceError(f"{self.name}: {self.problem}")


class _ArchiveCache:
    """The archives that were read last; they stay open while the files on disk are unchanged."""

    def __init__(self) -> None:
        self._lock = RLock()  # held while one is opened, so that threads do not expand it at the same time
        self._archives: OrderedDict[tuple[SourceFile, tuple[int, ...]], Archive] = OrderedDict()

    def open(self, file: SourceFile, budget: Budget) -> Archive:
        """Open an archive anew, so that its members are checked."""
        with self._lock:
            archive = file.open_archive(budget)
            self._archives[file, _file_state(file.container)] = archive
            while len(self._archives) > _MAX_OPEN_ARCHIVES:
                self._archives.popitem(last=False)
            return archive

    def opened(self, file: SourceFile) -> Archive:
        """Return an archive that `open` opened, in this process or in another one."""
        key = file, _file_state(file.container)
        with self._lock:
            if key not in self._archives:
                return self.open(file, Budget(DEFAULT_LIMITS, file.name, file.container.stat().st_size))
            self._archives.move_to_end(key)
            return self._archives[key]


_ARCHIVES: Final = _ArchiveCache()


def _file_state(path: Path) -> tuple[int, ...]:
    """Return the inode, size and modification time of a file, which change if it is replaced or rewritten."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
