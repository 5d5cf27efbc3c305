"""How long the spool keeps objects, results and the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from cspine.server.database.engine import Database
from cspine.server.database.tables import AuditEntry, Delivery, DeliveryState, Job, JobState, Study
from cspine.server.settings import RetentionSettings
from cspine.server.spool.folders import Spool
from cspine.server.spool.reconcile import remove

_Record = TypeVar("_Record")

_BATCH: Final = 20
"""Studies and results that one transaction removes."""

_UNFINISHED: Final = (JobState.COMPLETE, JobState.RUNNING)


@dataclass(frozen=True)
class Removed:
    """What `apply_retention` removed: studies' objects, jobs' results, entries of the audit log."""

    n_originals: int = 0
    n_results: int = 0
    n_audit_entries: int = 0


def apply_retention(database: Database, spool: Spool, settings: RetentionSettings, *, now: datetime) -> Removed:
    """Remove what is older or larger in sum than the settings say.

    Objects of a study that is open, waits or is being predicted stay, and so do results that are still to be delivered.
    The records of the database stay: the study is listed, without its objects. Each transaction removes a few, since
    nobody else can write to SQLite meanwhile.
    """
    total = Removed()
    while True:
        removed = _remove_some(database, spool, settings, now)
        total = Removed(*(map(sum, zip(astuple(total), astuple(removed), strict=True))))
        if removed.n_originals < _BATCH and removed.n_results < _BATCH:
            return total


def _remove_some(database: Database, spool: Spool, settings: RetentionSettings, now: datetime) -> Removed:
    with database.session() as session:
        originals = _originals_to_remove(session, settings, now)
        for study in originals:
            study.originals_removed_at, study.n_objects, study.n_bytes = now, 0, 0
        results = _results_to_remove(session, spool, settings, now)
        folders = [spool.absolute(job.result_folder) for job in results]
        for job in results:
            job.results_removed_at, job.result_folder = now, ""
        n_audit = 0
        if settings.audit_days is not None:
            oldest = now - timedelta(days=settings.audit_days)
            n_audit = len(
                session.execute(delete(AuditEntry).where(AuditEntry.at < oldest).returning(AuditEntry.id)).all()
            )
        for path in (*(spool.study_folder(study.key) for study in originals), *folders):
            remove(path)  # before the commit: what arrives meanwhile waits for the row, and then finds that it is gone
    return Removed(len(originals), len(results), n_audit)


def _originals_to_remove(session: Session, settings: RetentionSettings, now: datetime) -> list[Study]:
    is_busy = select(Job.id).where(Job.study_id == Study.id, Job.state.in_(_UNFINISHED)).exists()
    query = (
        select(Study)
        .where(~Study.is_open, Study.originals_removed_at.is_(None), ~is_busy)
        .order_by(Study.last_received_at)
        .with_for_update(skip_locked=True)
    )
    pairs = [(study, study.last_received_at, study.n_bytes) for study in session.scalars(query)]
    return list(islice(_excess(pairs, settings.originals_days, settings.originals_gb, now), _BATCH))


def _results_to_remove(session: Session, spool: Spool, settings: RetentionSettings, now: datetime) -> list[Job]:
    is_waiting = (
        select(Delivery.id)
        .where(Delivery.job_id == Job.id, Delivery.state.in_([DeliveryState.WAITING, DeliveryState.SENDING]))
        .exists()
    )
    query = (
        select(Job)
        .where(Job.result_folder != "", or_(~is_waiting), Job.state.not_in(_UNFINISHED))
        .order_by(Job.id)
        .with_for_update(skip_locked=True)
    )
    jobs = list(session.scalars(query))
    sizes = [_size(spool.absolute(job.result_folder)) if settings.results_gb is not None else 0 for job in jobs]
    triples = [(job, job.finished_at or job.created_at, size) for job, size in zip(jobs, sizes, strict=True)]
    return list(islice(_excess(triples, settings.results_days, settings.results_gb, now), _BATCH))


def _excess(
    records: Iterable[tuple[_Record, datetime, int]], days: float | None, gigabytes: float | None, now: datetime
) -> Iterator[_Record]:
    """Yield records that are too old, and the oldest ones that are too much; `records` is in order of age."""
    kept = list(records)
    n_bytes = sum(size for _, _, size in kept)
    for record, time, size in kept:
        is_old = days is not None and time < now - timedelta(days=days)
        if is_old or (gigabytes is not None and n_bytes > gigabytes * 1e9):
            n_bytes -= size
            yield record


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
