"""Which studies the worklist shows, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
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
_MAX_STUDIES: Final = 20_000
"""Of more studies the newest are ordered; the page says so."""

_REASONS: Final = (
    "suspicious",
    "stat by request",
    "urgent by request",
    "no answer",
    "not judged yet",
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
        if self.state in {JobState.NOT_ASSESSABLE, JobState.FAILED, JobState.CANCELED}:
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
    is_cut : bool
        Whether there are more studies than are ordered.
    """

    rows: Sequence[WorklistRow[StudyEntry]]
    studies: dict[int, Study]
    jobs: dict[int, Job]
    reviewed: set[int]
    count: int
    n_suspicious: int
    is_cut: bool

    @property
    def n_pages(self) -> int:
        """Number of pages, at least 1."""
        return max((self.count + PAGE_SIZE - 1) // PAGE_SIZE, 1)


def read_worklist(session: Session, wanted: WorklistFilter, *, max_wait_min: float, now: datetime) -> WorklistPage:
    """Return one page of the worklist: the most urgent first, with a limit on the time that any study waits."""
    entries = [_entry(values) for values in session.execute(_statement(wanted, now))]
    rows = prioritize(entries, max_wait_min=max_wait_min, now=now.timestamp())
    shown = rows[(wanted.page - 1) * PAGE_SIZE : wanted.page * PAGE_SIZE]
    numbers = [row.result.study_id for row in shown]
    studies = {study.id: study for study in session.scalars(select(Study).where(Study.id.in_(numbers)))}
    current = select(Job).where(Job.study_id.in_(numbers), Job.is_current)
    reviewed = select(Job.study_id).join(Review).where(Job.study_id.in_(numbers), Job.is_current)
    return WorklistPage(
        rows=[row for row in shown if row.result.study_id in studies],
        studies=studies,
        jobs={job.study_id: job for job in session.scalars(current)},
        reviewed=set(session.scalars(reviewed)),
        count=len(entries),
        n_suspicious=sum(entry.is_suspicious for entry in entries),
        is_cut=len(entries) >= _MAX_STUDIES,
    )


def _entry(values: Any) -> StudyEntry:  # noqa: ANN401 - a row of `_statement`
    number, uid, received_at, urgency, state, probability, is_suspicious = values
    return StudyEntry(
        number, uid, received_at.timestamp(), urgency, state or "", -1.0 if probability is None else probability,
        bool(is_suspicious),
    )  # fmt: skip


def _statement(wanted: WorklistFilter, now: datetime) -> Select[Any]:
    columns: list[Any] = [
        Study.id, Study.study_instance_uid, Study.received_at, Study.urgency, Job.state, Job.patient_probability,
        Job.is_suspicious,
    ]  # fmt: skip
    statement: Select[Any] = select(*columns).outerjoin(Job, and_(Job.study_id == Study.id, Job.is_current))
    if wanted.days:
        statement = statement.where(Study.received_at > now - timedelta(days=wanted.days))
    if (condition := _view_condition(wanted.view)) is not None:
        statement = statement.where(condition)
    if wanted.search:
        statement = statement.where(_search_condition(wanted.search))
    return statement.order_by(Study.received_at.desc()).limit(_MAX_STUDIES)


def _view_condition(view: View) -> ColumnElement[bool] | None:
    is_reviewed = exists().where(Review.job_id == Job.id)
    problems = [JobState.NOT_ASSESSABLE, JobState.FAILED, JobState.CANCELED]
    conditions: dict[View, ColumnElement[bool]] = {
        "unread": ~is_reviewed,
        "suspicious": Job.is_suspicious.is_(True),
        "open": or_(Job.id.is_(None), Job.state.in_([JobState.COMPLETE, JobState.RUNNING])),
        "problems": Job.state.in_(problems),
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
