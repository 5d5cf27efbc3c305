"""Read ahead: the next objects of a store are fetched by threads while the present ones are decoded and computed.

A store answers after tens of milliseconds, a disk after a tenth of one. Requests that overlap hide that latency.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from cspine.core.storage.remote_path import RemotePath

N_REQUESTS: Final = 32
"""Requests that are under way at the same time."""

_MAX_AHEAD: Final = 64
"""Objects that are fetched, or being fetched, before they are read; 32 MB of CT slices."""

_MAX_AHEAD_BYTES: Final = 96 * 2**20
"""Bytes of them, so that large objects do not fill the memory."""

_Key = tuple[str, int | None]


class ReadAhead:
    """Objects that are fetched before they are read, each of them once.

    Only as many are under way as the limits allow; reading one starts the next. An object that is read out of turn is
    fetched by its reader.

    Parameters
    ----------
    max_objects : int
        Objects that are fetched, or being fetched, before they are read; 0 for none.
    """

    def __init__(self, max_objects: int = _MAX_AHEAD) -> None:
        self.max_objects = max_objects
        self._lock = threading.Lock()
        self._waiting: OrderedDict[_Key, RemotePath] = OrderedDict()
        self._fetched: dict[_Key, tuple[int, Future[bytes]]] = {}
        self._n_bytes = 0
        self._threads: ThreadPoolExecutor | None = None

    @contextmanager
    def reading(self, paths: Iterable[Path], stop: int | None = None) -> Iterator[None]:
        """Fetch objects in the block, in the order in which they will be read.

        Parameters
        ----------
        paths : iterable of Path
            The objects; paths of the disk are left out, since the system reads ahead there.
        stop : int, optional
            Number of first bytes of each that are wanted; all where omitted.
        """
        wanted = {(str(path), stop): path for path in paths if isinstance(path, RemotePath)}
        if not wanted:
            yield
            return
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(N_REQUESTS, thread_name_prefix="read-ahead")
            self._waiting.update(wanted)
            self._start()
        try:
            yield
        finally:
            self._drop(wanted)

    def take(self, path: RemotePath, stop: int | None) -> bytes | None:
        """Return an object that was fetched, or None; waits for one that is being fetched.

        Parameters
        ----------
        path : RemotePath
            The object.
        stop : int or None
            As it was announced.

        Raises
        ------
        SourceError, FileNotFoundError
            It could not be fetched.
        """
        key = str(path), stop
        with self._lock:
            if key not in self._fetched:
                self._waiting.pop(key, None)  # its reader fetches it
                self._start()
                return None
            size, future = self._fetched.pop(key)
        try:
            return future.result()
        finally:
            with self._lock:
                self._n_bytes -= size
                self._start()

    def read_bytes(self, path: Path) -> bytes:
        """Return the content of a file, or of an object, which may have been fetched ahead.

        Parameters
        ----------
        path : Path
            A file of the disk, or an object.

        Raises
        ------
        OSError, SourceError
            It cannot be read.
        """
        data = self.take(path, None) if isinstance(path, RemotePath) else None
        return path.read_bytes() if data is None else data

    def _start(self) -> None:
        """Start requests until a limit is reached; the lock is held."""
        while self._waiting and len(self._fetched) < self.max_objects and self._threads is not None:
            key, path = next(iter(self._waiting.items()))
            stop = key[1]
            size = (info.size if (info := path.known_info) else 0) if stop is None else stop
            if self._fetched and self._n_bytes + size > _MAX_AHEAD_BYTES:
                return
            self._waiting.popitem(last=False)
            if key not in self._fetched:
                self._n_bytes += size
                self._fetched[key] = size, self._threads.submit(_fetch, path, stop)

    def _drop(self, keys: Iterable[_Key]) -> None:
        with self._lock:
            for key in keys:
                self._waiting.pop(key, None)
                size, future = self._fetched.pop(key, (0, None))
                if future is not None:
                    future.cancel()
                    self._n_bytes -= size
            self._start()  # what other readers wait for


def _fetch(path: RemotePath, stop: int | None) -> bytes:
    info = path.known_info
    if stop is not None and info is not None:
        stop = min(stop, info.size)
        return path.read_range(0, stop) if stop else b""
    return path.read_range(0, stop)


READ_AHEAD: Final = ReadAhead()
"""That of this process."""


def read_many(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield the contents of files in their order; objects of a store are fetched ahead.

    Parameters
    ----------
    paths : sequence of Path
        Files of the disk, or objects.
    """
    with READ_AHEAD.reading(paths):
        for path in paths:
            yield READ_AHEAD.read_bytes(path)


def replace_folder(folder: RemotePath, files: dict[str, bytes]) -> None:
    """Store objects as the whole content of a folder, by requests that overlap.

    Parameters
    ----------
    folder : RemotePath
        The folder.
    files : dict of str to bytes
        Name to content.

    Raises
    ------
    OutputError
        The store refuses.
    """
    stale = [path for path in folder.iterdir() if path.name not in files]
    with ThreadPoolExecutor(N_REQUESTS) as threads:
        list(threads.map(partial(RemotePath.unlink, missing_ok=True), stale))
        list(threads.map(lambda name: (folder / name).write_bytes(files[name]), files))
