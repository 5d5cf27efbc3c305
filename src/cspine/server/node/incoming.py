"""An object on its way in: written to a file as its fragments arrive, never held in memory."""

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom.dsutils import create_file_meta


class ObjectTooLargeError(Exception):
    """An object exceeds the largest size that is accepted."""


class IncomingObject:
    """The file of one object that is being received.

    What goes wrong is kept in `failure` and the rest of the object is discarded, so that the sender gets a status
    instead of an aborted association.

    Parameters
    ----------
    path : Path, optional
        A new file of ours, whose name holds nothing of what was received; None where there can be none.
    max_bytes : int
        Largest size, in bytes.

    Attributes
    ----------
    failure : Exception or None
        The first error of writing, or `ObjectTooLargeError`.
    n_received : int
        Bytes of the data set that have arrived, whether written or discarded.
    """

    def __init__(self, path: Path | None, max_bytes: int) -> None:
        self.path = path
        self.failure: Exception | None = None
        self.n_received = 0
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None

    def begin(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> None:
        """Write the preamble and the file meta information, which the sender's command and context give."""
        try:
            if self.path is not None:
                self._file = self.path.open("wb")
                self._file.write(b"\0" * 128 + b"DICM")
                meta = create_file_meta(
                    sop_class_uid=UID(sop_class_uid),
                    sop_instance_uid=UID(sop_instance_uid),
                    transfer_syntax=UID(transfer_syntax_uid),
                )
                write_file_meta_info(self._file, meta)  # type: ignore[arg-type] # it takes any binary file
        except Exception as error:  # noqa: BLE001 - the disk's, or pydicom's for UIDs that are none
            self._fail(error)

    def write(self, fragment: memoryview) -> None:
        """Append a fragment of the data set; after a failure it is only counted."""
        self.n_received += len(fragment)
        if self.failure is None and self.n_received > self._max_bytes:
            self._fail(ObjectTooLargeError(f"the object is larger than {self._max_bytes:,} bytes"))
        if self.failure is None and self._file is not None:
            try:
                self._file.write(fragment)
            except OSError as error:
                self._fail(error)

    def end(self) -> None:
        """Close the file: the object is there as a whole."""
        try:
            self._close()
        except OSError as error:  # the last bytes are written here
            self._fail(error)

    def discard(self) -> None:
        """Remove the file; without effect on one that was moved to its place."""
        with suppress(OSError):
            self._close()
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.discard()
