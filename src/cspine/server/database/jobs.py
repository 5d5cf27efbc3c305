"""Jobs: claimed by workers with a lease, and ended once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, or_, select
from sqlalchemy.orm import Session

from cspine.server.database.deliveries import MAX_BACKOFF_S, create_deliveries
from cspine.server.database.studies import CLOCK_TOLERANCE, add_job
from cspine.server.database.tables import Job, JobState, Study
from cspine.server.settings import DestinationSettings, PredictionSettings

_OVERDUE_PRIORITY = 99


@dataclass(frozen=True)
class JobOutcome:
    """What a worker found.

    Attributes
    ----------
    state : JobState
        ``DONE``, ``NOT_ASSESSABLE`` or ``FAILED``.
    code, error, remedy : str
        Why there is no answer; empty where there is one.
    patient_probability : float, optional
        Probability of any fracture.
    is_suspicious : bool
        Whether the patient or a level reaches the triage point.
    levels : list of dict
        As of `cspine.server.database.tables.Job`.
    result_folder : str
        Relative to the spool; empty where there is no result.
    """

    state: JobState
    code: str = ""
    error: str = ""
    remedy: str = ""
    patient_probability: float | None = None
    is_suspicious: bool = False
    levels: list[dict[str, Any]] = field(default_factory=list)
    result_folder: str = ""


def claim_job(
    session: Session, owner: str, settings: PredictionSettings, *, now: datetime, max_wait_min: float
) -> Job | None:
    """Return the next job with a new lease; None where nothing waits.

    Jobs that waited for longer than `max_wait_min` come first, then the urgent ones, then the oldest. A running job
    whose worker gave no sign of life is taken over, unless it has used up its attempts: then it fails.

    Parameters
    ----------
    session : Session
        The transaction; the job is the caller's after its commit.
    owner : str
        Name of the worker's process.
    settings : PredictionSettings
        Length of the lease and number of attempts.
    now : datetime
        The time.
    max_wait_min : float
        Time after which the order of urgency ends, minutes.
    """
    rank = case((Job.created_at < now - timedelta(minutes=max_wait_min), _OVERDUE_PRIORITY), else_=Job.priority)
    query = (
        select(Job)
        .where(or_(_is_waiting(now), _is_abandoned(now, settings.lease_s)))
        .order_by(rank.desc(), Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    while (job := session.scalar(query)) is not None:
        if job.state == JobState.RUNNING and job.attempts >= settings.max_attempts:
            _end(job, _poisoned(job), now)
            session.flush()
            continue
        job.state = JobState.RUNNING
        job.attempts += 1
        job.started_at = now
        job.lease_owner = owner
        job.lease_token = secrets.token_hex(16)
        job.lease_until = now + timedelta(seconds=settings.lease_s)
        session.flush()
        return job
    return None


def renew_lease(session: Session, job_id: int, token: str, *, lease_s: float, now: datetime) -> bool:
    """Extend a lease; return False where the job is no longer the caller's, who should then stop."""
    job = _leased(session, job_id, token)
    if job is None:
        return False
    job.lease_until = now + timedelta(seconds=lease_s)
    return True


def finish_job(
    session: Session,
    job_id: int,
    token: str,
    outcome: JobOutcome,
    *,
    destinations: tuple[DestinationSettings, ...],
    now: datetime,
) -> bool:
    """End a job with its answer, and make its deliveries, in one transaction.

    Returns
    -------
    bool
        False where the lease is another's, or where the study has a later job: the result is then discarded. True also
        where an earlier call has ended the job so, and the connection broke before the commit was confirmed.
    """
    job = _leased(session, job_id, token)
    if job is None:
        ended = session.get(Job, job_id)
        return ended is not None and bool(ended.result_folder) and ended.result_folder == outcome.result_folder
    if not job.is_current:
        _end(job, JobOutcome(JobState.CANCELED), now)
        return False
    _end(job, outcome, now)
    if outcome.state.is_answer:
        create_deliveries(session, job, destinations, now=now)
    return True


def postpone_job(
    session: Session, job_id: int, token: str, error: str, settings: PredictionSettings, *, now: datetime
) -> bool:
    """Let a job whose attempt failed wait for the next one; end it where it was the last. Return whether it waits."""
    job = _leased(session, job_id, token)
    if job is None:
        return False
    if not job.is_current:
        _end(job, JobOutcome(JobState.CANCELED), now)
        return False
    if job.attempts >= settings.max_attempts:
        _end(job, _failed(error, job.attempts), now)
        return False
    job.state = JobState.COMPLETE
    job.error = error
    job.lease_token, job.lease_until = "", None
    wait_s = min(settings.backoff_s * 2 ** min(job.attempts - 1, 30), MAX_BACKOFF_S)
    job.not_before, job.postponed_at = now + timedelta(seconds=wait_s), now
    return True


def release_job(session: Session, job_id: int, token: str, *, now: datetime, wait_s: float = 0.0) -> None:
    """Let a job wait for another worker, at once or after some seconds; the attempt does not count."""
    job = _leased(session, job_id, token)
    if job is not None and not job.is_current:
        _end(job, JobOutcome(JobState.CANCELED), now)
    elif job is not None:
        job.state = JobState.COMPLETE
        job.attempts -= 1
        job.lease_token, job.lease_until = "", None
        job.not_before, job.postponed_at = now + timedelta(seconds=wait_s), now


def cancel_job(job: Job, *, now: datetime) -> bool:
    """Cancel a job that waits or runs; return False where it has ended.

    A worker that has it notices when it renews its lease.
    """
    if JobState(job.state).is_final:
        return False
    _end(job, JobOutcome(JobState.CANCELED), now)
    return True


def rerun_study(session: Session, study: Study, *, now: datetime) -> Job | None:
    """Return a new job of a study; None where its objects are no longer there."""
    return None if study.originals_removed_at is not None else add_job(session, study, now)


def previous_answer(session: Session, job: Job) -> Job | None:
    """Return the last job of the same study, before this one, that has a result; None where there is none."""
    query = (
        select(Job)
        .where(
            Job.study_id == job.study_id,
            Job.id < job.id,
            Job.state.in_([JobState.DONE, JobState.NOT_ASSESSABLE]),
            Job.result_folder != "",
        )
        .order_by(Job.id.desc())
        .limit(1)
    )
    return session.scalar(query)


def _is_waiting(now: datetime) -> Any:  # noqa: ANN401 - an SQL expression
    is_due = or_(Job.not_before <= now, Job.postponed_at > now + CLOCK_TOLERANCE)
    return and_(Job.state == JobState.COMPLETE, is_due)


def _is_abandoned(now: datetime, lease_s: float) -> Any:  # noqa: ANN401 - an SQL expression
    horizon = now + timedelta(seconds=lease_s) + CLOCK_TOLERANCE
    return and_(Job.state == JobState.RUNNING, or_(Job.lease_until < now, Job.lease_until > horizon))


def _leased(session: Session, job_id: int, token: str) -> Job | None:
    query = select(Job).where(Job.id == job_id, Job.lease_token == token, Job.state == JobState.RUNNING)
    return session.scalar(query.with_for_update())


def _end(job: Job, outcome: JobOutcome, now: datetime) -> None:
    job.state = outcome.state
    job.lease_token, job.lease_until = "", None
    job.finished_at = now
    job.code, job.error, job.remedy = outcome.code, outcome.error, outcome.remedy
    job.patient_probability = outcome.patient_probability
    if outcome.state.is_answer:  # otherwise the answer before is the last one
        job.is_suspicious = outcome.is_suspicious
    job.levels = outcome.levels
    job.result_folder = outcome.result_folder


def _poisoned(job: Job) -> JobOutcome:
    return _failed("the worker ended without a word", job.attempts)


def _failed(error: str, attempts: int) -> JobOutcome:
    return JobOutcome(
        JobState.FAILED,
        code="failed",
        error=f"{error} ({attempts} attempts)",
        remedy="look into the worker's log, and rerun the study; report it if it persists",
    )
