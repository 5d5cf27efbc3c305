"""One object into the spool: durable in its place and recorded, or not at all."""

from __future__ import annotations

import filecmp
import logging
import os
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cspine.core.errors import OutputError
from cspine.core.files import output_errors
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.studies import complete_at_once, find_study, record_object, recount, withdraw_object
from cspine.server.database.tables import Job, Study
from cspine.server.errors import RejectedObject, SpoolError
from cspine.server.settings import URGENCIES, ServerSettings
from cspine.server.spool.folders import OBJECT_SUFFIX, Spool, storage_key, sync_folder
from cspine.server.spool.headers import ObjectHeader, is_inflated_larger, read_object_header

_LOGGER: Final = logging.getLogger(__name__)

_LOCKS = tuple(threading.Lock() for _ in range(64))
"""The threads of a process receive one object of a study at a time; which lock, the study's key decides."""


@dataclass(frozen=True)
class ReceivedObject:
    """An object that is in its place.

    Attributes
    ----------
    key : str
        Key of its study.
    header : ObjectHeader
        What was read of it.
    is_new : bool
        Whether it changed the study; False where the same bytes were there.
    """

    key: str
    header: ObjectHeader
    is_new: bool


class Receiver:
    """Takes files that were received into the spool.

    Parameters
    ----------
    settings : ServerSettings
        Limits and urgency.
    database : Database
        Where objects are recorded.
    spool : Spool
        Where they lie.
    """

    def __init__(self, settings: ServerSettings, database: Database, spool: Spool) -> None:
        self._settings, self._database, self._spool = settings, database, spool

    def receive(
        self, path: Path, *, source: str, sop_class_uid: str | None = None, sop_instance_uid: str | None = None
    ) -> ReceivedObject:
        """Move a complete file from `Spool.incoming` to its place; it is durable and recorded when this returns.

        The order is: content synchronized, moved, folder synchronized, recorded. An object is acknowledged after that
        alone. Whatever fails before, the sender sends it again; the same bytes again change nothing.

        Parameters
        ----------
        path : Path
            The file; it is gone afterwards, whether accepted or not.
        source : str
            AE title of the sender, or ``http:`` and the user.
        sop_class_uid, sop_instance_uid : str, optional
            What the protocol announced; the file has to agree.

        Raises
        ------
        RejectedObject
            The object is not accepted; the sender need not try again.
        SpoolError
            The disk or the database failed; the sender should try again.
        """
        try:
            header = read_object_header(path)
            for announced, found in (
                (sop_class_uid, header.sop_class_uid), (sop_instance_uid, header.sop_instance_uid)
            ):  # fmt: skip
                if announced is not None and announced != found:
                    raise RejectedObject("mismatch", "has other UIDs than the message announced")
            key = storage_key(header.study_instance_uid, header.patient_id)
            with _LOCKS[int(key[:2], 16) % len(_LOCKS)], output_errors(self._spool.folder):
                return self._place(path, key, header, source)
        except OutputError as error:
            raise SpoolError(str(error)) from error
        except SQLAlchemyError as error:
            raise SpoolError(f"the database failed ({type(error).__name__})") from error
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def complete(self, keys: Collection[str], *, source: str) -> None:
        """Complete studies at once where the settings say so of their sender, who has sent all of them.

        Where the database fails, the studies are complete after the quiet time.
        """
        if not keys or not {source, "*"} & set(self._settings.intake.at_once):
            return
        try:
            with self._database.session() as session:
                count_anew(self._spool, complete_at_once(session, keys, utc_now()))
        except (SQLAlchemyError, OSError) as error:
            _LOGGER.warning("studies could not be completed at once (%s)", type(error).__name__)

    def _place(self, path: Path, key: str, header: ObjectHeader, source: str) -> ReceivedObject:
        size = self._check_object(path)
        target = self._spool.object_file(key, header.sop_instance_uid)
        old_size = target.stat().st_size if target.exists() else None
        if old_size is not None and filecmp.cmp(path, target, shallow=False):
            is_new = self._record_repeat(key, header, source)
        else:
            self._check_study(key, size)
            if old_size is not None:
                self._withdraw(key, old_size)
            _move_durably(path, target)
            with self._database.session() as session:
                self._record(session, key, header, source, n_bytes=size)
            is_new = True
        if not target.exists():  # retention removed the study's earlier objects at this moment, and this one with them
            raise SpoolError("the study's objects were being removed")
        return ReceivedObject(key, header, is_new)

    def _withdraw(self, key: str, n_bytes: int) -> None:
        """Record that an object will be replaced, on the disk before its file is."""
        with self._database.session(is_durable=True) as session:
            study = find_study(session, key, lock=True)
            if study is not None:
                withdraw_object(study, n_bytes=n_bytes)

    def _record_repeat(self, key: str, header: ObjectHeader, source: str) -> bool:
        """Count the objects of a study anew: an earlier attempt may have ended between moving and recording.

        The time counts for retention, too, which would otherwise remove what was acknowledged while its sender sends
        the rest; an open study does not wait for longer.
        """
        n_objects, n_bytes = count_objects(self._spool.study_folder(key))
        now = utc_now()
        with self._database.session() as session:
            study = find_study(session, key, lock=True) or self._record(session, key, header, source, n_bytes=0)
            if not study.is_open:
                study.last_received_at = now
            return recount(study, n_objects=n_objects, n_bytes=n_bytes, now=now)

    def _record(self, session: Session, key: str, header: ObjectHeader, source: str, *, n_bytes: int) -> Study:
        urgency = URGENCIES.index(self._settings.intake.urgency_of(source, header.study_description))
        return record_object(session, key, header, n_bytes=n_bytes, source=source, urgency=urgency, now=utc_now())

    def _check_object(self, path: Path) -> int:
        """Return the size of an object that is not too large, where there is space."""
        intake = self._settings.intake
        size = path.stat().st_size
        max_bytes = round(intake.max_object_mb * 1e6)
        if size > max_bytes or is_inflated_larger(path, max_bytes):
            raise RejectedObject("too-large", f"is larger than {intake.max_object_mb:g} MB, the limit of an object")
        if self._spool.free_bytes < self._settings.storage.min_free_gb * 1e9:
            raise SpoolError("the disk of the spool is almost full; free some space")
        return size

    def _check_study(self, key: str, size: int) -> None:
        """Reject an object with which its study would be too large."""
        intake = self._settings.intake
        with self._database.reading() as session:
            study = find_study(session, key)
            n_objects, n_bytes = (study.n_objects, study.n_bytes) if study is not None else (0, 0)
        if n_bytes + size > intake.max_study_gb * 1e9 or n_objects >= intake.max_study_objects:
            raise RejectedObject(
                "too-large",
                f"belongs to a study of more than {intake.max_study_gb:g} GB or {intake.max_study_objects} objects",
            )


def count_objects(folder: Path) -> tuple[int, int]:
    """Return the number of objects in a study's folder, and their size in bytes."""
    sizes = [path.stat().st_size for path in folder.glob(f"*{OBJECT_SUFFIX}")]
    return len(sizes), sum(sizes)


def count_anew(spool: Spool, jobs: Sequence[Job]) -> None:
    """Correct the counts of studies that have become complete by their folders.

    A worker thus knows how many objects it has to find: a network's file system may show another machine fewer.
    """
    for job in jobs:
        n_objects, n_bytes = count_objects(spool.study_folder(job.study.key))
        if n_objects:
            job.study.n_objects, job.study.n_bytes = n_objects, n_bytes


def _move_durably(path: Path, target: Path) -> None:
    """Move a file so that it, or what was there before, is in its place after a power failure."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    if not target.parent.exists():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        sync_folder(target.parent.parent)
    path.replace(target)
    sync_folder(target.parent)
