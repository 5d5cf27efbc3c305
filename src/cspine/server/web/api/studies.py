"""Studies, jobs, findings, reviews and deliveries, for programs."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import select
from starlette.responses import FileResponse, Response

from cspine.core.errors import OutputError
from cspine.server.check import check_server
from cspine.server.database.reviewed_labels import reviewed_labels_csv
from cspine.server.database.tables import Delivery, Job, Review, Study
from cspine.server.web.api import actions
from cspine.server.web.api.models import (
    CheckAnswer,
    DeliveryAnswer,
    JobAnswer,
    ReviewAnswer,
    ReviewRequest,
    StudyAnswer,
    UrgencyRequest,
)
from cspine.server.web.context import WebContext
from cspine.server.web.errors import HttpError
from cspine.server.web.records import get_study
from cspine.server.web.security.access import Change, Context, Operator, OperatorChange, Reader

router = APIRouter(prefix="/api", tags=["studies"])

_MAX_ID = 2**31 - 1

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Key of the study.")]
Id = Annotated[int, Path(ge=1, le=_MAX_ID)]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[int, Query(ge=0, le=_MAX_ID, description="Number of the last record of the page before.")]


@router.get("/studies")
def list_studies(
    context: Context, _: Reader, limit: Limit = 100, received_after: datetime | None = None
) -> list[StudyAnswer]:
    """Return studies with their last job, the newest first."""
    statement = select(Study).order_by(Study.received_at.desc(), Study.id.desc()).limit(limit)
    if received_after is not None:
        statement = statement.where(Study.received_at > received_after)
    with context.database.reading() as session:
        studies = list(session.scalars(statement))
        current = select(Job).where(Job.study_id.in_([study.id for study in studies]), Job.is_current)
        jobs = {job.study_id: job for job in session.scalars(current)}
        return [StudyAnswer.of(study, [jobs[study.id]] if study.id in jobs else []) for study in studies]


@router.get("/studies/{key}")
def show_study(key: Key, context: Context, identity: Reader) -> StudyAnswer:
    """Return a study with all its jobs, the last first."""
    with context.database.reading() as session:
        study = get_study(session, key)
        answer = StudyAnswer.of(study, list(reversed(study.jobs)))
    context.audit.record_access(identity.name, "study.view", key)
    return answer


@router.post("/studies/{key}/rerun", status_code=201)
def rerun_study(key: Key, context: Context, identity: OperatorChange) -> JobAnswer:
    """Predict a study again."""
    return JobAnswer.of(*actions.rerun(context, identity, key))


@router.put("/studies/{key}/urgency", status_code=204)
def set_urgency(key: Key, wanted: UrgencyRequest, context: Context, identity: OperatorChange) -> Response:
    """Set how urgent a study is."""
    actions.set_urgency(context, identity, key, wanted.urgency)
    return Response(status_code=204)


@router.get("/jobs")
def list_jobs(
    context: Context, _: Reader, state: str | None = None, after: After = 0, limit: Limit = 100
) -> list[JobAnswer]:
    """Return jobs in the order in which they were made."""
    statement = select(Job, Study.key).join(Study).where(Job.id > after).order_by(Job.id).limit(limit)
    if state is not None:
        statement = statement.where(Job.state == state)
    with context.database.reading() as session:
        return [JobAnswer.of(job, key) for job, key in session.execute(statement)]


@router.get("/jobs/{job_id}")
def show_job(job_id: Id, context: Context, _: Reader) -> JobAnswer:
    """Return a job."""
    with context.database.reading() as session:
        job = actions.get_job(session, job_id)
        return JobAnswer.of(job, job.study.key)


@router.post("/jobs/{job_id}/cancel")
def cancel_job(job_id: Id, context: Context, identity: OperatorChange) -> JobAnswer:
    """Cancel a job that waits or runs."""
    return JobAnswer.of(*actions.cancel(context, identity, job_id))


@router.get("/jobs/{job_id}/findings", response_class=FileResponse)
def show_findings(job_id: Id, context: Context, identity: Reader) -> FileResponse:
    """Return the findings of a job: `findings.json`, of the published schema."""
    return result_file(context, identity.name, job_id, "findings.json", "application/json")


@router.get("/jobs/{job_id}/fhir", response_class=FileResponse)
def show_fhir(job_id: Id, context: Context, identity: Reader) -> FileResponse:
    """Return the FHIR bundle of a job."""
    return result_file(context, identity.name, job_id, "fhir.json", "application/fhir+json")


def result_file(context: WebContext, user: str, job_id: int, name: str, media_type: str) -> FileResponse:
    """Return a file of a job's results.

    Raises
    ------
    HttpError
        404: there is no such job, or it has no such file. 410: its results were removed.
    """
    with context.database.reading() as session:
        job = actions.get_job(session, job_id)
        key, relative, is_removed = job.study.key, job.result_folder, job.results_removed_at is not None
    if is_removed:
        raise HttpError(410, "the results were removed after the time that they are kept; rerun the study")
    try:
        path = context.spool.absolute(relative) / name if relative else None
    except OutputError:
        path = None
    if path is None or not path.is_file():
        raise HttpError(404, "the job has no such result; look at its state")
    context.audit.record_access(user, "study.view", key)
    return FileResponse(path, media_type=media_type)


@router.get("/jobs/{job_id}/reviews")
def list_reviews_of_job(job_id: Id, context: Context, _: Reader) -> list[ReviewAnswer]:
    """Return what readers said of a job's answer, in order."""
    with context.database.reading() as session:
        return [ReviewAnswer.of(review) for review in actions.get_job(session, job_id).reviews]


@router.post("/jobs/{job_id}/reviews", status_code=201)
def add_review(job_id: Id, wanted: ReviewRequest, context: Context, identity: Change) -> ReviewAnswer:
    """Accept or reject what the server says of a level; the last review of a user and level counts."""
    stored = actions.review(context, identity, job_id, [(wanted.level, wanted.verdict, wanted.comment)])
    return ReviewAnswer.of(stored[0])


@router.get("/reviews")
def list_reviews(context: Context, _: Reader, after: After = 0, limit: Limit = 1000) -> list[ReviewAnswer]:
    """Return reviews of all jobs, for evaluation."""
    statement = select(Review).where(Review.id > after).order_by(Review.id).limit(limit)
    with context.database.reading() as session:
        return [ReviewAnswer.of(review) for review in session.scalars(statement)]


@router.get("/reviews.csv", response_class=Response)
def list_labels(context: Context, identity: Reader) -> Response:
    """Return labels of the studies that were reviewed as a whole, as `cspine evaluate --truth` reads them."""
    with context.database.reading() as session:
        text = reviewed_labels_csv(session)
    context.audit.record_access(identity.name, "reviews.export", "")
    return Response(text, media_type="text/csv")


@router.get("/deliveries")
def list_deliveries(
    context: Context,
    _: Reader,
    destination: str | None = None,
    state: str | None = None,
    after: After = 0,
    limit: Limit = 100,
) -> list[DeliveryAnswer]:
    """Return deliveries in the order in which they were made."""
    statement = select(Delivery).where(Delivery.id > after).order_by(Delivery.id).limit(limit)
    if destination is not None:
        statement = statement.where(Delivery.destination == destination)
    if state is not None:
        statement = statement.where(Delivery.state == state)
    with context.database.reading() as session:
        return [DeliveryAnswer.of(delivery) for delivery in session.scalars(statement)]


@router.post("/deliveries/{delivery_id}/retry", status_code=204)
def retry_delivery(delivery_id: Id, context: Context, identity: OperatorChange) -> Response:
    """Put a delivery that was given up back into its queue."""
    actions.retry(context, identity, delivery_id)
    return Response(status_code=204)


@router.get("/check")
def check(context: Context, _: Operator) -> list[CheckAnswer]:
    """Return whether everything that the settings name can be used, as `cspine serve --check` does."""
    return [
        CheckAnswer(name=each.name, is_good=each.is_good, message=each.message)
        for each in check_server(context.settings, with_ports=False)
    ]


@router.get("/openapi.json", include_in_schema=False)
def show_schema(request: Request, _: Reader) -> dict[str, Any]:
    """Return the description of the HTTP interface (OpenAPI)."""
    schema: dict[str, Any] = request.app.openapi()
    return schema
