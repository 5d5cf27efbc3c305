"""The page of one study: the answer, the report, the viewer at the marked slice, and the reader's review."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import OutputError
from cspine.server.database.engine import utc_now
from cspine.server.database.tables import Job, JobState, Review, Study
from cspine.server.settings import URGENCIES, Urgency
from cspine.server.web.api import actions
from cspine.server.web.api.studies import Id, Key, result_file
from cspine.server.web.context import WebContext
from cspine.server.web.errors import HttpError
from cspine.server.web.pages.rendering import render_page
from cspine.server.web.records import answer_of, current_job, get_study
from cspine.server.web.security.access import Context, FormSender, OperatorForm, Reader
from cspine.server.web.security.headers import REPORT_POLICY
from cspine.server.web.security.identity import Identity

router = APIRouter(include_in_schema=False)

_LEVELS: Final = (*VERTEBRAE, "patient_overall")


@dataclass(frozen=True)
class Mark:
    """The slice that shows the strongest evidence of a level."""

    series_instance_uid: str
    sop_instance_uid: str
    instance_number: int | None


@router.get("/studies/{key}")
def show_study(key: Key, request: Request, context: Context, identity: Reader) -> Response:
    """Return the page of a study."""
    with context.database.reading() as session:
        study = get_study(session, key)
        job, answer = current_job(session, study), answer_of(session, study)
        reviews = _reviews(session, answer)
        deliveries = list(answer.deliveries) if answer is not None else []
    context.audit.record_access(identity.name, "study.view", key)
    marks = _marks(context, answer)
    return render_page(
        request,
        "study.html",
        identity=identity,
        study=study,
        job=job,
        answer=answer,
        reviews=reviews,
        last_reviews=_last_by_level(reviews, identity.name),
        deliveries=deliveries,
        marks=marks,
        viewer_address=_viewer_address(study, marks),
        urgency=URGENCIES[study.urgency],
        urgencies=URGENCIES,
        waiting_min=max((utc_now() - study.received_at).total_seconds(), 0.0) / 60.0,
        is_operator=identity.has("operator"),
    )


@router.get("/jobs/{job_id}/report")
def show_report(job_id: Id, context: Context, identity: Reader) -> Response:
    """Return the report of a job, without anything that could run."""
    response = result_file(context, identity.name, job_id, "report.html", "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response


@router.post("/jobs/{job_id}/reviews")
async def store_reviews(job_id: Id, request: Request, context: Context, identity: FormSender) -> Response:
    """Store what the reader chose on the page of a study."""
    form = await request.form()
    address = await run_in_threadpool(_store_reviews, context, identity, job_id, _reviews_of(form))
    return RedirectResponse(f"{address}#review", 303)


def _store_reviews(context: WebContext, identity: Identity, job_id: int, sent: list[tuple[str, str, str]]) -> str:
    """Store what differs from the reader's last reviews; return the address of the study's page."""
    with context.database.reading() as session:
        job = actions.get_job(session, job_id)
        last = _last_by_level(_reviews(session, job), identity.name)
        address = f"/studies/{job.study.key}"
    known = {(review.level, review.verdict, review.comment) for review in last.values()}
    changed = [each for each in sent if each not in known]
    if not sent:
        raise HttpError(422, "nothing was chosen; accept or reject a level first")
    if changed:
        actions.review(context, identity, job_id, changed)
    return address


@router.post("/studies/{key}/rerun")
def rerun(key: Key, context: Context, identity: OperatorForm) -> Response:
    """Predict a study again."""
    actions.rerun(context, identity, key)
    return RedirectResponse(f"/studies/{key}", 303)


@router.post("/jobs/{job_id}/cancel")
def cancel(job_id: Id, context: Context, identity: OperatorForm) -> Response:
    """Cancel a job."""
    _, key = actions.cancel(context, identity, job_id)
    return RedirectResponse(f"/studies/{key}", 303)


@router.post("/studies/{key}/urgency")
def set_urgency(key: Key, urgency: Annotated[Urgency, Form()], context: Context, identity: OperatorForm) -> Response:
    """Set how urgent a study is."""
    actions.set_urgency(context, identity, key, urgency)
    return RedirectResponse(f"/studies/{key}", 303)


def _reviews(session: Session, answer: Job | None) -> list[Review]:
    if answer is None:
        return []
    return list(session.scalars(select(Review).where(Review.job_id == answer.id).order_by(Review.id)))


def _last_by_level(reviews: list[Review], user: str) -> dict[str, Review]:
    """Return a user's last review of each level."""
    return {review.level: review for review in reviews if review.user == user}


def _reviews_of(form: FormData) -> list[tuple[str, str, str]]:
    """Return level, verdict and comment of each level that has either."""
    reviews = []
    for level in _LEVELS:
        verdict, comment = str(form.get(f"verdict-{level}") or ""), str(form.get(f"comment-{level}") or "").strip()
        if verdict or comment:
            reviews.append((level, verdict or "unsure", comment[:2000]))
    return reviews


def _marks(context: WebContext, answer: Job | None) -> dict[str, Mark]:
    """Return the slice with the strongest evidence of each level, from the findings."""
    if answer is None or answer.state != JobState.DONE:
        return {}
    try:
        path = context.spool.absolute(answer.result_folder) / "findings.json"
        findings: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, OutputError, ValueError):
        return {}
    marks = {}
    for vertebra in findings.get("vertebrae", []):
        position = next((each["slice"] for each in vertebra.get("evidence", []) if each.get("slice")), None)
        if position is not None and position.get("sop_instance_uid"):
            series = str(findings.get("series_instance_uid") or "")
            marks[vertebra["level"]] = Mark(series, position["sop_instance_uid"], position.get("instance_number"))
    return marks


def _viewer_address(study: Study, marks: dict[str, Mark]) -> Any:  # noqa: ANN401 - for templates
    """Return a function that returns the address of OHIF, at the marked slice of a level where it has one."""

    def address(level: str = "") -> str:
        values = {"StudyInstanceUIDs": study.study_instance_uid}
        if (mark := marks.get(level)) is not None:
            values |= {
                "initialSeriesInstanceUID": mark.series_instance_uid,
                "initialSOPInstanceUID": mark.sop_instance_uid,
            }
        return "/viewer/viewer?" + urlencode(values)

    return address
