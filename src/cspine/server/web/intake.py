"""Objects that arrive by HTTP: each is written to the spool as it arrives, and then received."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from cspine.core.errors import DiskFullError, OutputError
from cspine.core.files import output_errors
from cspine.server.errors import RejectedObject, RejectReason, SpoolError
from cspine.server.spool.headers import read_elements
from cspine.server.spool.receive import ReceivedObject, Receiver
from cspine.server.web.context import WebContext
from cspine.server.web.errors import HttpError


@dataclass(frozen=True)
class Outcome:
    """What became of one object.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        Its UIDs; empty where it has none that can be read.
    received : ReceivedObject or None
        Where it lies; None where it is not accepted.
    reason : str
        Why it is not accepted; empty where it is.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    received: ReceivedObject | None = None
    reason: RejectReason | str = ""


class ArrivingObject:
    """The file of an object that arrives in pieces; what exceeds the limit is discarded.

    Parameters
    ----------
    context : WebContext
        Spool and limits.

    Raises
    ------
    HttpError
        507 or 503: there can be no file.
    """

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._max_bytes = int(context.settings.intake.max_object_mb * 1e6)
        self._n_bytes = 0
        try:
            self.path: Path = context.spool.incoming()
            with output_errors(context.spool.folder):
                self._file: BinaryIO = self.path.open("wb")
        except OutputError as error:
            raise storage_error(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        """Write a piece.

        Raises
        ------
        HttpError
            507 or 503: it cannot be written.
        """
        self._n_bytes += len(piece)
        if self._n_bytes > self._max_bytes:
            return
        try:
            with output_errors(self._context.spool.folder):
                self._file.write(piece)
        except OutputError as error:
            raise storage_error(error) from error

    def receive(self, *, source: str, study_instance_uid: str | None = None) -> Outcome:
        """Move the object to its place; return what became of it.

        Parameters
        ----------
        source : str
            Who sent it.
        study_instance_uid : str, optional
            Study that it has to belong to.

        Raises
        ------
        HttpError
            507 or 503: the disk or the database failed; the sender should send it again.
        """
        try:
            with output_errors(self._context.spool.folder):
                self._file.close()
        except OutputError as error:
            raise storage_error(error) from error
        if self._n_bytes > self._max_bytes:
            return Outcome(reason="too-large")
        sop_class, sop_instance, study = _uids(self.path)
        if study_instance_uid is not None and study not in {"", study_instance_uid}:
            return Outcome(sop_class, sop_instance, reason="mismatch")
        context = self._context
        try:
            received = Receiver(context.settings, context.database, context.spool).receive(self.path, source=source)
        except RejectedObject as error:
            return Outcome(sop_class, sop_instance, reason=error.reason)
        except SpoolError as error:
            raise storage_error(error) from error
        return Outcome(received.header.sop_class_uid, received.header.sop_instance_uid, received)


def complete_studies(context: WebContext, outcomes: Iterable[Outcome], *, source: str) -> None:
    """Take note that a request has ended, with which its studies may be complete."""
    Receiver(context.settings, context.database, context.spool).complete(keys_of(outcomes), source=source)


def storage_error(error: Exception) -> HttpError:
    """Return the answer where the disk or the database failed: 507 where space is missing, 503 otherwise."""
    is_full = isinstance(error, DiskFullError) or isinstance(error.__cause__, DiskFullError) or "full" in str(error)
    if is_full:
        return HttpError(507, "no space is left on the server; send it again later")
    return HttpError(503, "the server cannot store objects now; send it again later", headers={"Retry-After": "30"})


def keys_of(outcomes: Iterable[Outcome]) -> list[str]:
    """Return the keys of the studies that received objects, sorted."""
    return sorted({outcome.received.key for outcome in outcomes if outcome.received is not None})


def _uids(path: Path) -> tuple[str, str, str]:
    """Return the UIDs of class, object and study; empty where they cannot be read."""
    names = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")
    try:
        dataset = read_elements(path, names)
        return tuple(str(dataset.get(name) or "").strip()[:64] for name in names)  # type: ignore[return-value]
    except Exception:  # noqa: BLE001 - the receiver tells why it is not accepted
        return "", "", ""
