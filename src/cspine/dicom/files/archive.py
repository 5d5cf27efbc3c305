"""Opened archives: their members are read in place, and nothing is written but to temporary files without a name.

A zip, or a tar that is not compressed, is read where it lies. What has no random access, a compressed tar or an archive
inside another archive, is expanded once: into memory up to `_MAX_MEMORY_BYTES`, beyond that into a temporary file that
the system deletes with the process.
"""

import bz2
import copy
import gzip
import io
import lzma
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Protocol, cast

from cspine.core.errors import ArchiveError
from cspine.dicom.files.formats import HEAD_BYTES, packed_format
from cspine.dicom.files.limits import Budget, check_member

if TYPE_CHECKING:
    from typing_extensions import Buffer

DAMAGE_ERRORS: Final = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError,
    NotImplementedError, ValueError,
)  # fmt: skip
"""What the standard library raises on damaged archives."""

_MAX_MEMORY_BYTES: Final = 32 * 2**20
"""Bytes of an expanded archive that are kept in memory; more go to a temporary file."""

_ZIP_METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
"""Methods that are read; `zipfile` expands all that it reads of bzip2 and LZMA at once, so these are read otherwise."""

_LZMA_PIECE_BYTES: Final = 4096
"""LZMA is read in pieces of so many compressed bytes, which expand to 30 MB at most."""

_PIECE_BYTES: Final = 2**20
_MAX_TAR_HEADER_BYTES: Final = 2**16
"""Most bytes of a tar's extended header; those of long names have a few hundred."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes
    ----------
    name : str
        Its name, with forward slashes.
    size : int
        Its expanded size in bytes, as the archive declares it.
    """

    name: str
    size: int


class Archive(Protocol):
    """An opened archive; its members may be read by several threads at the same time."""

    members: tuple[Member, ...]

    def open(self, name: str) -> IO[bytes]:
        """Return the expanded content of a member as a stream."""


class ZipArchive:
    """A zip.

    Parameters
    ----------
    stream : binary stream
        The zip, seekable; it is closed with the archive.
    label : str
        Its name in messages.
    budget : Budget
        Counts what the archive on disk expands to.
    """

    def __init__(self, stream: IO[bytes], label: str, budget: Budget) -> None:
        self._stream = stream
        self._zip = zipfile.ZipFile(stream)
        infos = self._zip.infolist()
        budget.add(len(infos), 0)
        for info in infos:
            check_member(label, info.filename, info.file_size, info.external_attr >> 16, budget.limits)
            if info.flag_bits & 0x1:
                raise ArchiveError(f"{label}: {info.filename[:80]!r} is encrypted; unpack the archive first")
            if info.compress_type not in _ZIP_METHODS:
                raise ArchiveError(
                    f"{label}: {info.filename[:80]!r} is compressed by method {info.compress_type}, which is not read; "
                    "unpack the archive first"
                )
        budget.add(0, sum(info.file_size for info in infos))
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for number, info in enumerate(infos):
            name = info.filename
            while name in self._infos:  # a zip may hold several files of one name
                name = f"{name}~{number}"
            if not info.is_dir():
                self._infos[name] = info
        self.members = tuple(Member(name, info.file_size) for name, info in self._infos.items())

    def open(self, name: str) -> IO[bytes]:
        """Return the expanded content of a member as a stream."""
        info = self._infos[name]
        if info.compress_type == zipfile.ZIP_LZMA:
            return io.BufferedReader(_Pieces(self._zip.open(info)))
        if info.compress_type != zipfile.ZIP_BZIP2:
            return self._zip.open(info)
        stored = copy.copy(info)  # zipfile expands bzip2 at once: a kilobyte may be gigabytes
        stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
        del stored.CRC  # that of the expanded content; bzip2 has its own
        return expanded_stream(self._zip.open(stored), "bzip2")

    def __del__(self) -> None:
        """Close the stream, which the zip leaves open."""
        self._stream.close()


class _Pieces(io.RawIOBase):
    """A compressed member of a zip, of which little is expanded at a time.

    Parameters
    ----------
    member : binary stream
        Of `zipfile.ZipFile.open`.
    """

    def __init__(self, member: IO[bytes]) -> None:
        self._member = member

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Read the next bytes into a buffer; return their number, 0 at the end."""
        target = memoryview(buffer).cast("B")
        data = self._member.read1(min(len(target), _LZMA_PIECE_BYTES))  # type: ignore[attr-defined]  # ZipExtFile
        target[: len(data)] = data
        return len(data)


class _BoundedTarInfo(tarfile.TarInfo):
    """A tar's member whose extended headers have a bounded length, since tarfile reads them into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_BoundedTarInfo":
        """Parse a header block."""
        info = super().frombuf(buf, encoding, errors)
        is_extended = info.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE} or info.type in {
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        }
        if info.size < 0 or (is_extended and info.size > _MAX_TAR_HEADER_BYTES):
            raise ValueError("an extended header that no file has")
        return info


class TarArchive:
    """A tar that is not compressed.

    Parameters
    ----------
    stream, label, budget
        As of `ZipArchive`.
    """

    def __init__(self, stream: IO[bytes], label: str, budget: Budget) -> None:
        self._stream, self._lock = stream, threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}
        end = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        with tarfile.TarFile(fileobj=stream, mode="r", tarinfo=_BoundedTarInfo) as tar:
            for info in tar:
                budget.add(1, info.size)
                check_member(label, info.name, info.size, _file_type(info), budget.limits)
                if info.issparse() or info.offset_data + info.size > end:
                    raise tarfile.ReadError("a member that is sparse or cut off")
                if info.isfile():
                    self._places[info.name.removeprefix("./")] = info.offset_data, info.size
                tar.members = []  # type: ignore[attr-defined]  # the list would hold every header
            stream.seek(tar.offset)  # tarfile ends silently at a damaged header
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("cut off or damaged, since the mark of the end is missing")
        self.members = tuple(Member(name, size) for name, (_, size) in self._places.items())

    def open(self, name: str) -> IO[bytes]:
        """Return the content of a member as a stream."""
        return io.BufferedReader(_Window(self._stream, self._lock, *self._places[name]))

    def __del__(self) -> None:
        """Close the stream."""
        self._stream.close()


def _file_type(info: tarfile.TarInfo) -> int:
    """Return a member's type as `stat.S_IFMT` has it; hard links count as links."""
    if info.issym() or info.islnk():
        return 0o120000
    if info.isdir():
        return 0o040000
    return 0o100000 if info.isfile() else 0o020000


class _Window(io.RawIOBase):
    """A part of a stream that others read, too."""

    def __init__(self, stream: IO[bytes], lock: threading.Lock, start: int, size: int) -> None:
        self._stream, self._lock, self._position, self._end = stream, lock, start, start + size

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: "Buffer") -> int:
        """Read the next bytes."""
        view = memoryview(buffer).cast("B")
        with self._lock:
            self._stream.seek(self._position)
            data = self._stream.read(min(len(view), self._end - self._position))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


@dataclass(frozen=True, slots=True)
class Packing:
    """How a file is packed.

    Attributes
    ----------
    compression : str or None
        ``gzip`` or ``bzip2``, around the file or around an archive.
    archive : str or None
        ``zip`` or ``tar``; None of a single compressed file.
    """

    compression: str | None
    archive: str | None


def find_packing(stream: IO[bytes]) -> Packing | None:
    """Return how a file is packed; None where it is not.

    Parameters
    ----------
    stream : binary stream
        The file, seekable; it is left at its beginning.
    """
    head = stream.read(HEAD_BYTES)
    packing = packed_format(head)
    if packing is None and head[128:132] != b"DICM" and zipfile.is_zipfile(stream):
        packing = "zip"  # after a program that unpacks it
    stream.seek(0)
    if packing not in {"gzip", "bzip2"}:
        return Packing(None, packing) if packing else None
    try:
        with expanded_stream(stream, packing) as expanded:
            is_tar = packed_format(expanded.read(HEAD_BYTES)) == "tar"
    except DAMAGE_ERRORS:
        is_tar = False
    stream.seek(0)
    return Packing(packing, "tar" if is_tar else None)


def open_archive(stream: IO[bytes], packing: Packing, label: str, budget: Budget) -> Archive:
    """Open an archive.

    Parameters
    ----------
    stream : binary stream
        Its content, seekable; the archive closes it.
    packing : Packing
        How it is packed; it is an archive.
    label : str
        Its name in messages.
    budget : Budget
        Counts what the archive on disk expands to.

    Raises
    ------
    ArchiveError
        It is unsafe. Errors of `DAMAGE_ERRORS` mean that it is damaged.
    """
    if packing.compression is not None:
        with stream, expanded_stream(stream, packing.compression) as expanded:
            stream = spool(expanded, budget)
    return ZipArchive(stream, label, budget) if packing.archive == "zip" else TarArchive(stream, label, budget)


def expanded_stream(stream: IO[bytes], packing: str) -> IO[bytes]:
    """Return the expanded content of a gzip or bzip2 stream; closing it leaves the stream open."""
    return cast("IO[bytes]", gzip.GzipFile(fileobj=stream, mode="rb") if packing == "gzip" else bz2.BZ2File(stream))


def spool(stream: IO[bytes], budget: Budget) -> IO[bytes]:
    """Copy a stream to memory or, beyond `_MAX_MEMORY_BYTES`, to a temporary file without a name.

    Parameters
    ----------
    stream : binary stream
        What is copied.
    budget : Budget
        Its limits bound the copy.

    Raises
    ------
    LimitExceededError
        The stream is longer than the limits allow.
    ArchiveError
        The temporary folder has no space.
    """
    copy = cast("IO[bytes]", tempfile.SpooledTemporaryFile(_MAX_MEMORY_BYTES))  # noqa: SIM115 - the archive's
    n_bytes = 0
    try:
        for piece in _pieces(stream):
            n_bytes += len(piece)
            budget.check_expansion(n_bytes)
            try:
                copy.write(piece)
            except OSError as error:
                raise ArchiveError(
                    f"{budget.label}: cannot be expanded to the temporary folder ({error.strerror}); unpack it "
                    "yourself, or point TMPDIR to a disk with more space"
                ) from error
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def _pieces(stream: IO[bytes]) -> Iterable[bytes]:
    return iter(lambda: stream.read(_PIECE_BYTES), b"")


def measure(stream: IO[bytes], budget: Budget) -> int:
    """Return the length of a compressed file's expanded content, which it does not declare reliably.

    Parameters
    ----------
    stream : binary stream
        The expanded content.
    budget : Budget
        Its limits end the reading.

    Raises
    ------
    LimitExceededError
        It is longer than the limits allow.
    """
    n_bytes = 0
    for piece in _pieces(stream):
        n_bytes += len(piece)
        check_member(budget.label, "it", n_bytes, 0, budget.limits)
        budget.check_expansion(n_bytes)
    budget.add(1, n_bytes)
    return n_bytes
