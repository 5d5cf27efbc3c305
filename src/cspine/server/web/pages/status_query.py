"""What the status page shows: queues, destinations, processes, space, the last errors, and drift."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cspine.server.database.processes import BEAT_S
from cspine.server.database.tables import Delivery, DeliveryState, Job, JobState, Process, Study
from cspine.server.settings import ServerSettings

_MAX_ERRORS: Final = 20
_DAYS_NOW, _DAYS_BEFORE = 7, 28
_DAYS_SHOWN: Final = 14
_MIN_STUDIES: Final = 20
"""With fewer studies no drift is told."""


@dataclass(frozen=True)
class DestinationState:
    """The queue of a destination."""

    name: str
    kind: str
    counts: dict[str, int]
    last_sent_at: datetime | None
    last_error: str


@dataclass(frozen=True)
class DayCount:
    """What became of the studies of one day."""

    day: str
    n_jobs: int
    n_suspicious: int
    n_not_assessable: int
    n_failed: int
    median_min: float | None


@dataclass(frozen=True)
class Fraction:
    """A fraction of the last days beside that of the weeks before, each with Wilson's interval, in percent."""

    name: str
    now: tuple[float, float, float] | None
    before: tuple[float, float, float] | None

    @property
    def is_changed(self) -> bool:
        """Whether the intervals do not overlap."""
        if self.now is None or self.before is None:
            return False
        return self.now[1] > self.before[2] or self.now[2] < self.before[1]


@dataclass(frozen=True)
class ServerStatus:
    """The state of the server."""

    states: dict[str, int]
    n_open: int
    n_studies: int
    oldest_waiting_min: float | None
    processes: Sequence[tuple[Process, bool]]
    destinations: Sequence[DestinationState]
    failed_jobs: Sequence[Any]
    failed_deliveries: Sequence[Delivery]
    original_bytes: int
    days: Sequence[DayCount]
    drift: Sequence[Fraction]


def read_status(session: Session, settings: ServerSettings, *, now: datetime) -> ServerStatus:
    """Return the state of the server."""
    states = session.execute(select(Job.state, func.count()).where(Job.is_current).group_by(Job.state))
    oldest = session.scalar(select(func.min(Job.created_at)).where(Job.state == JobState.COMPLETE))
    n_studies, n_open = session.execute(
        select(func.count(), func.count().filter(Study.is_open)).select_from(Study)
    ).one()
    alive_since = now - timedelta(seconds=4 * BEAT_S)
    failed = (
        select(Job.id, Study.key, Job.finished_at, Job.code, Job.error, Job.remedy)
        .join(Study)
        .where(Job.state == JobState.FAILED, Job.is_current)
        .order_by(Job.id.desc())
        .limit(_MAX_ERRORS)
    )
    given_up = select(Delivery).where(Delivery.state == DeliveryState.FAILED).order_by(Delivery.id.desc())
    jobs = _ended_jobs(session, now)
    return ServerStatus(
        states={str(state): count for state, count in states},
        n_open=n_open,
        n_studies=n_studies,
        oldest_waiting_min=(now - oldest).total_seconds() / 60.0 if oldest is not None else None,
        processes=[
            (each, each.beat_at >= alive_since) for each in session.scalars(select(Process).order_by(Process.name))
        ],
        destinations=[_destination(session, each.name, each.kind) for each in settings.destinations],
        failed_jobs=session.execute(failed).all(),
        failed_deliveries=list(session.scalars(given_up.limit(_MAX_ERRORS))),
        original_bytes=session.scalar(
            select(func.coalesce(func.sum(Study.n_bytes), 0)).where(Study.originals_removed_at.is_(None))
        )
        or 0,
        days=_days(jobs, now),
        drift=_drift(jobs, now),
    )


def _destination(session: Session, name: str, kind: str) -> DestinationState:
    mine = Delivery.destination == name
    counts = session.execute(select(Delivery.state, func.count()).where(mine).group_by(Delivery.state))
    error = select(Delivery.error).where(mine, Delivery.error != "").order_by(Delivery.id.desc()).limit(1)
    return DestinationState(
        name,
        kind,
        {str(state): count for state, count in counts},
        session.scalar(select(func.max(Delivery.sent_at)).where(mine)),
        session.scalar(error) or "",
    )


def _ended_jobs(session: Session, now: datetime) -> Sequence[Any]:
    since = now - timedelta(days=_DAYS_NOW + _DAYS_BEFORE)
    states = [JobState.DONE, JobState.NOT_ASSESSABLE, JobState.FAILED]
    statement = select(Job.created_at, Job.finished_at, Job.state, Job.is_suspicious)
    return session.execute(statement.where(Job.is_current, Job.state.in_(states), Job.created_at > since)).all()


def _days(jobs: Sequence[Any], now: datetime) -> list[DayCount]:
    days: dict[str, list[Any]] = {}
    for job in jobs:
        if job.created_at > now - timedelta(days=_DAYS_SHOWN):
            days.setdefault(job.created_at.strftime("%Y-%m-%d"), []).append(job)
    return [_day(day, of_day) for day, of_day in sorted(days.items(), reverse=True)]


def _day(day: str, jobs: Sequence[Any]) -> DayCount:
    minutes = sorted((job.finished_at - job.created_at).total_seconds() / 60.0 for job in jobs if job.finished_at)
    return DayCount(
        day,
        len(jobs),
        sum(job.is_suspicious and JobState(job.state).is_answer for job in jobs),
        sum(job.state == JobState.NOT_ASSESSABLE for job in jobs),
        sum(job.state == JobState.FAILED for job in jobs),
        minutes[len(minutes) // 2] if minutes else None,
    )


def _drift(jobs: Sequence[Any], now: datetime) -> list[Fraction]:
    border = now - timedelta(days=_DAYS_NOW)
    groups = [job for job in jobs if job.created_at > border], [job for job in jobs if job.created_at <= border]
    names = ("suspicious", "not assessable", "failed")
    return [Fraction(name, *(_interval([_is(job, name) for job in group]) for group in groups)) for name in names]


def _is(job: Any, name: str) -> bool:  # noqa: ANN401 - a row
    return (
        bool(job.is_suspicious and JobState(job.state).is_answer)
        if name == "suspicious"
        else job.state == name.replace(" ", "_")
    )


def _interval(values: Sequence[bool]) -> tuple[float, float, float] | None:
    """Return a fraction with Wilson's interval, in percent; None of few values."""
    if len(values) < _MIN_STUDIES:
        return None
    from cspine.metrics.bootstrap import wilson_interval  # noqa: PLC0415 - loads SciPy, for this page alone

    interval = wilson_interval(sum(values), len(values))
    return 100.0 * interval.value, 100.0 * interval.low, 100.0 * interval.high
