"""Paths in a store of objects, with the methods of `pathlib.Path` that this package uses."""

import fnmatch
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, cast
from urllib.parse import unquote

from cspine.core.errors import OutputError, SourceError
from cspine.core.storage.store import ObjectInfo, Store, open_store, storage_errors
from cspine.core.storage.stream import RemoteStream


class RemotePath(Path, PurePosixPath):
    """The path of an object, or of a folder of objects, in a store.

    Folders exist where objects lie below them, and appear with the first one. An object is written by one request, so
    that it is complete or not there. What works on the disk only, such as a memory map, raises a `SourceError`.

    Parameters
    ----------
    *parts : str
        A URL that `cspine.core.storage.locations.as_path` checked, such as ``s3://bucket/folder``, and names below it.
    """

    _object_info: ObjectInfo | None = None
    _is_known_folder = False

    def __str__(self) -> str:
        """Return the URL."""
        protocol, *names = self.parts
        return f"{protocol}//{'/'.join(names)}"

    def __fspath__(self) -> str:
        """Raise, since the file has no name on the disk."""
        raise SourceError(f"{self}: is in a store, and has to be a file on this machine here; copy it first")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with what a listing said of the object, which saves a request for it."""
        return _restore, (str(self), self._object_info, self._is_known_folder)

    def as_posix(self) -> str:
        """Return the URL."""
        return str(self)

    def as_uri(self) -> str:
        """Return the URL."""
        return str(self)

    def is_absolute(self) -> bool:
        """Return True."""
        return True

    def absolute(self) -> "RemotePath":
        """Return the path itself."""
        return self

    def resolve(self, strict: bool = False) -> "RemotePath":  # noqa: ARG002 - as of Path
        """Return the path itself: a store has no links."""
        return self

    def relative_to(self, *other: Any, **_: Any) -> PurePosixPath:  # type: ignore[override]  # noqa: ANN401 - as of Path
        """Return the names below another path of the store."""
        return PurePosixPath(*PurePosixPath(*self.parts).relative_to(PurePosixPath(*RemotePath(*other).parts)).parts)

    def expanduser(self) -> "RemotePath":
        """Return the path itself."""
        return self

    @property
    def store(self) -> Store:
        """The bucket, host or archive that it lies in."""
        return open_store(self.parts[0].removesuffix(":"), self.parts[1])

    @property
    def _key(self) -> str:
        """Name of the object in its bucket; of a web server's URL without its escapes, which the client adds again."""
        name = "/".join(self.parts[2:])
        return unquote(name) if self.parts[0] in {"https:", "http:"} else name

    @property
    def known_info(self) -> ObjectInfo | None:
        """Size and time, as far as a listing said them; the store is not asked."""
        return self._object_info

    def with_info(self, info: ObjectInfo | None) -> "RemotePath":
        """Return the path with what a listing said of it.

        Parameters
        ----------
        info : ObjectInfo or None
            Size and time; None to ask the store again.
        """
        return _restore(str(self), info)

    def find_object(self) -> ObjectInfo | None:
        """Return size and time of the object; None where there is no object of this name.

        Raises
        ------
        SourceError
            The store cannot be reached, or refuses.
        """
        if self._object_info is not None or self._is_known_folder:
            return self._object_info
        with storage_errors(str(self)):
            return self.store.info(self._key)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - as of Path
        """Return size and modification time; the inode is a hash of the object's entity tag."""
        info = self.find_object()
        if info is None:
            if not self.is_dir():
                raise FileNotFoundError(2, "No such object", str(self))
            return os.stat_result((stat.S_IFDIR | 0o755, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        inode = int.from_bytes(hashlib.sha256(info.tag.encode()).digest()[:6], "big")
        seconds = info.modified_s
        return os.stat_result(
            (stat.S_IFREG | 0o644, inode, 0, 1, 0, 0, info.size, int(seconds), int(seconds), int(seconds)),
            {"st_mtime": seconds, "st_mtime_ns": int(seconds * 1e9)},
        )

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as of Path
        """Return whether there is an object of this name, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as of Path
        """Return whether there is an object of this name."""
        return self.find_object() is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as of Path
        """Return whether there are objects below this name."""
        if self._object_info is not None or self._is_known_folder:
            return self._is_known_folder
        with storage_errors(str(self)):
            return self.store.has_objects_below(self._key)

    def is_symlink(self) -> bool:
        """Return False."""
        return False

    def iterdir(self) -> Iterator["RemotePath"]:  # type: ignore[override]
        """Yield the objects and folders of a folder, in any order."""
        with storage_errors(str(self)):
            names = self.store.list_folder(self._key)
        for name, info in names:
            yield _restore(str(self / name), info, is_folder=info is None)

    def walk_objects(self) -> list[tuple[str, "RemotePath"]]:
        """List all objects below a folder in one sweep, with sizes and times.

        Returns
        -------
        list of (str, RemotePath)
            The name below the folder, and the path; sorted by name.
        """
        with storage_errors(str(self)):
            found = self.store.list_below(self._key)
        return [(name, (self / name).with_info(info)) for name, info in found]

    def glob(self, pattern: str, **_: Any) -> Iterator["RemotePath"]:  # type: ignore[override]  # noqa: ANN401
        """Yield what matches a pattern of one name, such as ``*.json``."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def rglob(self, pattern: str, **_: Any) -> Iterator["RemotePath"]:  # type: ignore[override]  # noqa: ANN401
        """Yield the objects at any depth whose name matches a pattern."""
        return (path for _, path in self.walk_objects() if fnmatch.fnmatchcase(path.name, pattern))

    def open(self, mode: str = "r", buffering: int = -1, encoding: str | None = None, *_: Any, **__: Any) -> IO[Any]:  # type: ignore[override]  # noqa: ANN401, ARG002
        """Open the object; for writing, it is stored when the stream is closed.

        Parameters
        ----------
        mode : str
            ``"r"``, ``"rb"``, ``"w"`` or ``"wb"``.
        buffering : int
            Ignored.
        encoding : str, optional
            Of text; UTF-8 where omitted.
        """
        if mode not in {"r", "rt", "rb", "w", "wt", "wb"}:
            raise OutputError(f"{self}: objects of a store are written as a whole; use a folder on this machine")
        if "w" in mode:
            upload = _Upload(self)
            return upload if "b" in mode else _TextUpload(upload, encoding or "utf-8", newline="")
        stream = io.BufferedReader(RemoteStream(self), RemoteStream.BLOCK_BYTES)
        return cast("IO[Any]", stream if "b" in mode else io.TextIOWrapper(stream, encoding or "utf-8", newline=""))

    def read_range(self, start: int, stop: int | None) -> bytes:
        """Return the bytes of the object from `start` to before `stop`, or to its end.

        Raises
        ------
        FileNotFoundError
            There is no such object.
        SourceError
            The store cannot be reached, or refuses.
        """
        with storage_errors(str(self)):
            return self.store.read(self._key, start, stop, self._object_info)

    def read_bytes(self) -> bytes:
        """Return the content of the object."""
        return self.read_range(0, None)

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:  # noqa: ARG002
        """Return the content of the object as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def write_bytes(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        """Store an object by one request."""
        content = bytes(data)
        with storage_errors(str(self), writing=True):
            self.store.write(self._key, content)
        return len(content)

    def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,  # noqa: ARG002
    ) -> int:
        """Store text as an object."""
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    def write_new(self, data: bytes) -> bool:
        """Store an object unless it is there; of many writers, one stores it.

        Parameters
        ----------
        data : bytes
            Its content.

        Returns
        -------
        bool
            Whether this call stored it.
        """
        with storage_errors(str(self), writing=True):
            return self.store.write(self._key, data, is_new=True)

    def upload(self, file: Path) -> None:
        """Store a file of the disk as an object, which appears when it is complete.

        Parameters
        ----------
        file : Path
            A file on the disk.
        """
        with storage_errors(str(self), writing=True):
            self.store.write(self._key, file)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: folders exist with their objects."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        with storage_errors(str(self), writing=True):
            try:
                self.store.remove(self._key)
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def replace(self, target: Any) -> "RemotePath":  # noqa: ANN401 - as of Path
        """Refuse: a store does not rename."""
        raise OutputError(f"{self}: cannot be renamed to {target} in a store; use a folder on this machine")

    rename = replace


class _Upload(io.BytesIO):
    """Content that is stored when the stream is closed, unless its block raised.

    Parameters
    ----------
    path : RemotePath
        Where it is stored.
    """

    def __init__(self, path: RemotePath) -> None:
        super().__init__()
        self._path = path
        self.is_abandoned = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Store the content, unless the block raised."""
        self.is_abandoned = kind is not None
        super().__exit__(kind, error, traceback)

    def close(self) -> None:
        """Store the content."""
        if not self.closed and not self.is_abandoned:
            self._path.write_bytes(self.getvalue())
        super().close()

    def __del__(self) -> None:
        """Store nothing of a stream that nobody closed."""
        self.is_abandoned = True


class _TextUpload(io.TextIOWrapper):
    """Text that is stored as `_Upload` does."""

    def __del__(self) -> None:
        """Store nothing of a stream that nobody closed."""
        with suppress(ValueError):  # detached, or never made
            cast("_Upload", self.buffer).is_abandoned = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Store the text, unless the block raised."""
        cast("_Upload", self.buffer).is_abandoned = kind is not None
        super().__exit__(kind, error, traceback)


def _restore(url: str, info: ObjectInfo | None, is_folder: bool = False) -> RemotePath:
    path = RemotePath(url)
    path._object_info, path._is_known_folder = info, is_folder  # noqa: SLF001 - its own
    return path
