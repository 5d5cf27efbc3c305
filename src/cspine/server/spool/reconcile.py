"""After a start: what the disk holds and what the database says are brought together."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import select

from cspine.core.errors import CspineError
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.studies import reconcile_study
from cspine.server.database.tables import Job, JobState, Study
from cspine.server.spool.folders import OBJECT_SUFFIX, Spool
from cspine.server.spool.headers import read_object_header
from cspine.server.spool.receive import count_objects

_LOGGER: Final = logging.getLogger(__name__)

_STALE_S: Final = 3600.0
"""Age of an unfinished file that nobody writes any more, s."""


def reconcile_studies(database: Database, spool: Spool) -> int:
    """Open again each study whose folder holds other objects than the database says; return their number.

    Objects are recorded after they were moved into their place. A process that was killed in between leaves an object
    that was not acknowledged; a power failure may take the last records of SQLite. Both are found here.
    """
    n_changed = 0
    for folder in spool.study_folders():
        try:
            n_changed += _reconcile_folder(database, folder)
        except (CspineError, OSError) as error:  # one damaged folder delays no other study
            _LOGGER.warning("study %s: its folder cannot be read (%s)", folder.name, type(error).__name__)
    if n_changed:
        _LOGGER.warning("%d studies have other objects than recorded, and are predicted again", n_changed)
    return n_changed


def _reconcile_folder(database: Database, folder: Path) -> bool:
    n_objects, n_bytes = count_objects(folder)
    with database.reading() as session:
        counts = session.execute(select(Study.n_objects, Study.n_bytes).where(Study.key == folder.name)).first()
    first = next(folder.glob(f"*{OBJECT_SUFFIX}"), None)
    if first is None or (counts is not None and tuple(counts) == (n_objects, n_bytes)):
        return False
    header = read_object_header(first)
    with database.session() as session:
        return reconcile_study(session, folder.name, header, n_objects=n_objects, n_bytes=n_bytes, now=utc_now())


def remove_remains(database: Database, spool: Spool) -> int:
    """Remove what killed processes left: unfinished files, folders of attempts, results of nobody; return their number.

    Files that may still be written are left alone: those younger than an hour, and those of running jobs. Folders are
    listed before the records are read, so that a job that ends meanwhile is among these.
    """
    attempts, results = spool.job_folders(), spool.result_folders()
    with database.reading() as session:
        rows = session.execute(select(Job.id, Job.lease_token, Job.state, Job.result_folder)).all()
    running = {f"{row.id}-{row.lease_token}" for row in rows if row.state == JobState.RUNNING}
    recorded = {row.result_folder for row in rows}
    remains = [path for path in spool.incoming_files() if _is_stale(path)]
    remains += [path for path in attempts if path.name not in running and _is_stale(path)]
    remains += [
        path
        for path in results
        if path.name not in running and spool.relative(path) not in recorded and _is_stale(path)
    ]
    for path in remains:
        remove(path)
    return len(remains)


def remove(path: Path) -> None:
    """Remove a file or a folder; what is in use stays until the next time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _STALE_S
    except OSError:
        return False
