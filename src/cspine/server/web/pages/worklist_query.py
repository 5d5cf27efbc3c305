"""Which studies the worklist shows, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from cspine.reports.priority import WorklistRow, prioritize
from cspine.server.database.tables import Job, JobState, Review, Study
from cspine.server.settings import URGENCIES

View = Literal["unread", "suspicious", "open", "problems", "reviewed", "all"]

VIEWS: Final[dict[View, str]] = {
    "unread": "Unread",
    "suspicious": "Suspicious",
    "open": "In progress",
    "problems": "Without an answer",
    "reviewed": "Reviewed",
    "all": "All",
}
"""Filters of the worklist, with their names on the page."""

PERIODS: Final[dict[str, int]] = {"1 day": 1, "7 days": 7, "30 days": 30, "all": 0}
"""Periods of arrival, in days; 0 for all."""

PAGE_SIZE: Final = 50
_PROBLEMS: Final = (JobState.NOT_ASSESSABLE, JobState.FAILED, JobState.CANCELED)
"""States of studies that have no prediction, and will have none."""

_REASONS: Final = (
    "suspicious",
    "stat by request",
    "urgent by request",
    "no answer",
    "not predicted yet",
    "not suspicious",
)
"""Priority reason of each group, the first group first."""


@dataclass(frozen=True)
class WorklistFilter:
    """What a reader wants to see.

    Attributes
    ----------
    view : str
        One of `VIEWS`.
    days : int
        Studies that arrived in so many days; 0 for all.
    search : str
        Part of a patient's name, or beginning of a PatientID or accession number.
    page : int
        Page, from 1.
    """

    view: View = "unread"
    days: int = 7
    search: str = ""
    page: int = 1

    @classmethod
    def of(cls, view: str, days: int, search: str, page: int) -> "WorklistFilter":
        """Return a filter of what an address holds; what is none becomes the default."""
        chosen: View = next((each for each in get_args(View) if each == view), "unread")
        return cls(chosen, days if days in PERIODS.values() else 7, search.strip()[:64], max(page, 1))


@dataclass(frozen=True, slots=True)
class StudyEntry:
    """A study as `prioritize` orders it."""

    study_id: int
    study_instance_uid: str
    arrival_time_s: float
    urgency: int
    state: str
    probability: float
    is_suspicious: bool

    @property
    def priority_group(self) -> int:
        """The position among the groups: suspicious, requested as urgent, without an answer, not suspicious."""
        if self.is_suspicious:
            return 0
        if self.urgency:
            return len(URGENCIES) - self.urgency
        if self.state in _PROBLEMS:
            return 3
        return 5 if self.state == JobState.DONE else 4

    @property
    def priority_reason(self) -> str:
        """Why the study has its position."""
        return _REASONS[self.priority_group]


@dataclass(frozen=True)
class WorklistPage:
    """One page of the worklist.

    Attributes
    ----------
    rows : sequence of WorklistRow
        Its studies, in order.
    studies : dict of int to Study
        Their records, by number.
    jobs : dict of int to Job
        Their last jobs, by number of the study.
    reviewed : set of int
        Numbers of the studies whose answer somebody reviewed.
    count : int
        Number of studies on all pages.
    n_suspicious : int
        How many of them are suspicious.
    """

    rows: Sequence[WorklistRow[StudyEntry]]
    studies: dict[int, Study]
    jobs: dict[int, Job]
    reviewed: set[int]
    count: int
    n_suspicious: int

    @property
    def n_pages(self) -> int:
        """Number of pages, at least 1."""
        return max((self.count + PAGE_SIZE - 1) // PAGE_SIZE, 1)


_COUNTS: Final[list[Any]] = [func.count(), func.count().filter(Job.is_suspicious)]


def read_worklist(session: Session, wanted: WorklistFilter, *, max_wait_min: float, now: datetime) -> WorklistPage:
    """Return one page of the worklist: the most urgent first, with a limit on the time that any study waits.

    The database orders all studies as `cspine.reports.priority.prioritize` does, so that those of one page alone are
    read; `prioritize` itself then gives their ranks and reasons.
    """
    counts: Select[Any] = select(*_COUNTS)
    count, n_suspicious = session.execute(_filtered(counts, wanted, now)).one()
    first = (wanted.page - 1) * PAGE_SIZE
    order = _order(now - timedelta(minutes=max_wait_min))
    narrow = _filtered(select(Study.id), wanted, now).order_by(*order).offset(first).limit(PAGE_SIZE)
    wide = select(Study, Job).outerjoin(Job, and_(Job.study_id == Study.id, Job.is_current))
    numbers = list(session.scalars(narrow))  # without the texts, which would be sorted with them
    shown: list[tuple[Study, Job | None]] = [
        (study, job) for study, job in session.execute(wide.where(Study.id.in_(numbers)))
    ]
    entries = [_entry(study, job) for study, job in shown]
    reviewed = select(Job.study_id).join(Review).where(Job.study_id.in_(numbers), Job.is_current)
    rows = prioritize(entries, max_wait_min=max_wait_min, now=now.timestamp())
    return WorklistPage(
        rows=[replace(row, rank=first + row.rank) for row in rows],
        studies={study.id: study for study, _ in shown},
        jobs={study.id: job for study, job in shown if job is not None},
        reviewed=set(session.scalars(reviewed)),
        count=count,
        n_suspicious=n_suspicious,
    )


def _entry(study: Study, job: Job | None) -> StudyEntry:
    probability = job.patient_probability if job is not None else None
    return StudyEntry(
        study.id,
        study.study_instance_uid,
        study.received_at.timestamp(),
        study.urgency,
        str(job.state) if job is not None else "",
        -1.0 if probability is None else probability,
        job is not None and job.is_suspicious,
    )


def _filtered(columns: Select[Any], wanted: WorklistFilter, now: datetime) -> Select[Any]:
    statement = columns.select_from(Study).outerjoin(Job, and_(Job.study_id == Study.id, Job.is_current))
    if wanted.days:
        statement = statement.where(Study.received_at > now - timedelta(days=wanted.days))
    if (condition := _view_condition(wanted.view)) is not None:
        statement = statement.where(condition)
    return statement.where(_search_condition(wanted.search)) if wanted.search else statement


def _order(overdue_before: datetime) -> list[Any]:
    """Return the order of `prioritize` for the database: overdue, `StudyEntry.priority_group`, probability."""
    group = case(
        (Job.is_suspicious, 0),
        (Study.urgency > 0, len(URGENCIES) - Study.urgency),
        (Job.state.in_(_PROBLEMS), 3),
        (Job.state == JobState.DONE, 5),
        else_=4,
    )
    is_overdue = case((Study.received_at < overdue_before, 0), else_=1)
    return [is_overdue, group, func.coalesce(Job.patient_probability, -1.0).desc(), Study.study_instance_uid, Study.id]


def _view_condition(view: View) -> ColumnElement[bool] | None:
    is_reviewed = exists().where(Review.job_id == Job.id)
    conditions: dict[View, ColumnElement[bool]] = {
        "unread": ~is_reviewed,
        "suspicious": Job.is_suspicious.is_(True),
        "open": or_(Job.id.is_(None), Job.state.in_([JobState.COMPLETE, JobState.RUNNING])),
        "problems": Job.state.in_(_PROBLEMS),
        "reviewed": is_reviewed,
    }
    return conditions.get(view)


def _search_condition(search: str) -> ColumnElement[bool]:
    text = search.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return or_(
        func.lower(Study.patient_name).like(f"%{text}%", escape="!"),
        func.lower(Study.patient_id).like(f"{text}%", escape="!"),
        func.lower(Study.accession_number).like(f"{text}%", escape="!"),
    )
