"""A stream over an object of a store, which fetches what is read and no more."""

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from cspine.core.storage.remote_path import RemotePath


class RemoteStream(io.RawIOBase):
    """A raw stream with random access; each read is one request for a range of bytes.

    Parameters
    ----------
    path : RemotePath
        The object.
    """

    BLOCK_BYTES: Final = 4 * 2**20
    """Bytes that a buffered reader fetches at a time: archives are read in pieces, each of which would be a request."""

    def __init__(self, path: "RemotePath") -> None:
        info = path.find_object()
        if info is None:
            raise FileNotFoundError(2, "No such object", str(path))
        self._path, self._size, self._position = path, info.size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, origin: int = io.SEEK_SET, /) -> int:
        """Move the position, relative to the start (0), the position (1) or the end (2)."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[origin]
        if base + offset < 0:
            raise OSError(22, "Invalid argument")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "Buffer", /) -> int:
        """Read the next bytes into a buffer; return their number, 0 at the end."""
        target = memoryview(buffer).cast("B")
        stop = min(self._position + len(target), self._size)
        if stop <= self._position:
            return 0
        data = self._path.read_range(self._position, stop)[: len(target)]
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Return all bytes from the position to the end, by one request."""
        if self._position >= self._size:
            return b""
        data = self._path.read_range(self._position, self._size)
        self._position += len(data)
        return data
