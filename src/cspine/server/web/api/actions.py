"""What users do to studies, jobs and deliveries, from the API and from the pages; each is audited."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from cspine.core.errors import InputError
from cspine.server.database.audit import record_audit
from cspine.server.database.deliveries import retry_delivery
from cspine.server.database.engine import utc_now
from cspine.server.database.jobs import cancel_job, rerun_study
from cspine.server.database.reviews import add_review
from cspine.server.database.tables import Job, JobState, Review
from cspine.server.settings import URGENCIES, Urgency
from cspine.server.web.context import WebContext
from cspine.server.web.errors import HttpError
from cspine.server.web.records import get_study
from cspine.server.web.security.identity import Identity


def rerun(context: WebContext, identity: Identity, key: str) -> tuple[Job, str]:
    """Let a study be predicted again; return the new job and the study's key.

    Raises
    ------
    HttpError
        404: there is no such study. 409: its objects are gone.
    """
    with context.database.session() as session:
        study = get_study(session, key, lock=True)
        job = rerun_study(session, study, now=utc_now())
        if job is None:
            raise HttpError(409, "the study's objects were removed; send it again")
        record_audit(session, identity.name, "study.rerun", study.key, now=utc_now())
        return job, study.key


def cancel(context: WebContext, identity: Identity, job_id: int) -> tuple[Job, str]:
    """Cancel a job that has not ended; return it and its study's key.

    Raises
    ------
    HttpError
        404: there is no such job. 409: it has ended.
    """
    with context.database.session() as session:
        job = get_job(session, job_id, lock=True)
        if not cancel_job(job, now=utc_now()):
            raise HttpError(409, "the job has ended; there is nothing to cancel")
        record_audit(session, identity.name, "job.cancel", str(job.id), now=utc_now())
        return job, job.study.key


def set_urgency(context: WebContext, identity: Identity, key: str, urgency: Urgency) -> None:
    """Set how urgent a study is, and its jobs that wait.

    Raises
    ------
    HttpError
        404: there is no such study.
    """
    with context.database.session() as session:
        study = get_study(session, key, lock=True)
        study.urgency = URGENCIES.index(urgency)
        for job in session.scalars(select(Job).where(Job.study_id == study.id, Job.state == JobState.COMPLETE)):
            job.priority = study.urgency
        record_audit(session, identity.name, "study.urgency", study.key, urgency, now=utc_now())


def review(context: WebContext, identity: Identity, job_id: int, reviews: list[tuple[str, str, str]]) -> list[Review]:
    """Store what a reader says of levels: level, verdict and comment of each.

    Raises
    ------
    HttpError
        404: there is no such job. 409: it has no answer. 422: a level or verdict is none.
    """
    with context.database.session() as session:
        job = get_job(session, job_id)
        if not JobState(job.state).is_answer:
            raise HttpError(409, "the job has no answer that could be reviewed")
        try:
            stored = [
                add_review(session, job, level, verdict, comment=comment, user=identity.name, now=utc_now())
                for level, verdict, comment in reviews
            ]
        except InputError as error:
            raise HttpError(422, str(error)) from error
        levels = " ".join(level for level, _, _ in reviews)
        record_audit(session, identity.name, "job.review", str(job.id), levels, now=utc_now())
        session.flush()
        return stored


def retry(context: WebContext, identity: Identity, delivery_id: int) -> None:
    """Put a delivery that was given up back into its queue.

    Raises
    ------
    HttpError
        409: it was not given up, or does not exist.
    """
    with context.database.session() as session:
        if not retry_delivery(session, delivery_id, now=utc_now()):
            raise HttpError(409, "the delivery was not given up; there is nothing to retry")
        record_audit(session, identity.name, "delivery.retry", str(delivery_id), now=utc_now())


def get_job(session: Session, job_id: int, *, lock: bool = False) -> Job:
    """Return a job.

    Raises
    ------
    HttpError
        404: there is none.
    """
    job = session.get(Job, job_id, with_for_update=lock or None)
    if job is None:
        raise HttpError(404, "there is no such job; it may have been removed")
    return job
