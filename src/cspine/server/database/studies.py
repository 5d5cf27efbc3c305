"""Records of received studies."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cspine.server.database.tables import Job, JobState, Study
from cspine.server.spool.headers import ObjectHeader

CLOCK_TOLERANCE: Final = timedelta(minutes=2)
"""A time further in the future than this was written before the clock was set back, and does not count."""

_BATCH: Final = 100


def find_study(session: Session, key: str, *, lock: bool = False) -> Study | None:
    """Return the study with a key; None where there is none.

    With `lock`, its row cannot be changed by others before the transaction ends.
    """
    query = select(Study).where(Study.key == key)
    return session.scalar(query.with_for_update() if lock else query)


def record_object(
    session: Session, key: str, header: ObjectHeader, *, n_bytes: int, source: str, urgency: int, now: datetime
) -> Study:
    """Record one object more of a study, which is created or opened again.

    Parameters
    ----------
    session : Session
        The transaction; the object is acknowledged after its commit alone.
    key : str
        The study's key.
    header : ObjectHeader
        Of the object.
    n_bytes : int
        Change of the study's size, bytes.
    source : str
        AE title of the sender, or ``http:`` and the user.
    urgency : int
        Position in `cspine.server.settings.URGENCIES`; a study keeps its highest.
    now : datetime
        The time.
    """
    study = find_study(session, key, lock=True) or _insert_study(session, key, header, source=source, now=now)
    study.n_objects += 1
    study.n_bytes += n_bytes
    study.urgency = max(study.urgency, urgency)
    open_study(study, now)
    return study


def withdraw_object(study: Study, *, n_bytes: int) -> None:
    """Record that an object is about to be replaced: it counts no more, and the other one not yet.

    Where the process is killed before it records the other one, the counts differ from the folder's, and `recount`
    opens the study again, also where both objects are of one size.
    """
    study.n_objects -= 1
    study.n_bytes -= n_bytes


def recount(study: Study, *, n_objects: int, n_bytes: int, now: datetime) -> bool:
    """Correct the counts of a study by those of its folder; open it again where they differ, and return whether so."""
    if (study.n_objects, study.n_bytes) == (n_objects, n_bytes):
        return False
    study.n_objects, study.n_bytes = n_objects, n_bytes
    open_study(study, now)
    return True


def open_study(study: Study, now: datetime) -> None:
    """Open a study again: it has changed, and becomes complete after the quiet time."""
    study.received_generation += 1
    study.is_open = True
    study.last_received_at = now
    study.originals_removed_at = None


def reconcile_study(
    session: Session, key: str, header: ObjectHeader, *, n_objects: int, n_bytes: int, now: datetime
) -> bool:
    """Correct a study's record by its folder, and create it where it is missing; return whether it changed."""
    study = find_study(session, key, lock=True)
    if study is None:
        study = _insert_study(session, key, header, source="spool", now=now)
    return recount(study, n_objects=n_objects, n_bytes=n_bytes, now=now)


def complete_studies(session: Session, *, quiet_s: float, now: datetime) -> list[Job]:
    """Make a job for each open study that received nothing for the quiet time; at most 100 at a time.

    A job of the same study that waits is canceled, since the new one covers it; one that runs goes on, and its result
    is discarded.

    Returns
    -------
    list of Job
        The new jobs.
    """
    last = Study.last_received_at
    is_due = or_(last <= now - timedelta(seconds=quiet_s), last > now + CLOCK_TOLERANCE)
    query = select(Study).where(Study.is_open, is_due).order_by(last).limit(_BATCH).with_for_update(skip_locked=True)
    return [add_job(session, study, now) for study in session.scalars(query)]


def complete_at_once(session: Session, keys: Collection[str], now: datetime) -> list[Job]:
    """Make a job for each open study of some keys, without the quiet time; a later object opens its study again."""
    query = select(Study).where(Study.is_open, Study.key.in_(sorted(keys))).order_by(Study.id).with_for_update()
    return [add_job(session, study, now) for study in session.scalars(query)]


def add_job(session: Session, study: Study, now: datetime) -> Job:
    """Return a new job of a study, which takes the place of its earlier ones.

    A study whose last answer was suspicious keeps its place in the worklist until the new job has an answer.
    """
    current = select(Job.is_suspicious).where(Job.study_id == study.id, Job.is_current)
    is_suspicious = bool(session.scalar(current.limit(1)))
    earlier = update(Job).where(Job.study_id == study.id, Job.is_current)
    session.execute(earlier.values(is_current=False))
    waiting = update(Job).where(Job.study_id == study.id, Job.state == JobState.COMPLETE)
    session.execute(waiting.values(state=JobState.CANCELED, finished_at=now))
    study.is_open = False
    study.job_generation = study.received_generation
    job = Job(
        study=study,
        generation=study.received_generation,
        priority=study.urgency,
        is_suspicious=is_suspicious,
        created_at=now,
        not_before=now,
        postponed_at=now,
    )
    session.add(job)
    session.flush()
    return job


def _insert_study(session: Session, key: str, header: ObjectHeader, *, source: str, now: datetime) -> Study:
    """Insert a study; two objects that are the first at once find one row."""
    study = Study(
        key=key,
        study_instance_uid=header.study_instance_uid,
        patient_id=header.patient_id,
        patient_name=header.patient_name,
        patient_sex=header.patient_sex,
        patient_birth_date=header.patient_birth_date,
        accession_number=header.accession_number,
        study_date=header.study_date,
        study_time=header.study_time,
        study_description=header.study_description,
        source=source,
        received_at=now,
        last_received_at=now,
        n_objects=0,
        n_bytes=0,
        urgency=0,
        received_generation=0,
    )
    try:
        with session.begin_nested():
            session.add(study)
    except IntegrityError:
        found = find_study(session, key, lock=True)
        if found is None:
            raise
        return found
    return study
