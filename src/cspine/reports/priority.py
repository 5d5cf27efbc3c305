"""The order in which studies should be read, with a limit on the time that any of them waits."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

MAX_WAIT_MIN: Final = 60.0
"""A study that has waited longer precedes all studies that have not."""

PRIORITY_REASONS: Final = (
    "suspicious",
    "no operating points: ranked by probability",
    "not assessable",
    "not suspicious",
)
"""Priority reason of each priority group of results of a batch."""


class Prioritizable(Protocol):
    """What `prioritize` orders: results of a batch, or studies of a server."""

    @property
    def arrival_time_s(self) -> float:
        """When the study arrived, seconds since 1970."""

    @property
    def priority_group(self) -> int:
        """The position among the groups of `prioritize`; the lowest comes first."""

    @property
    def priority_reason(self) -> str:
        """Why the study has its position."""

    @property
    def probability(self) -> float:
        """The probability of any fracture; -1 if there is none."""

    @property
    def study_instance_uid(self) -> str:
        """The UID, which orders what is equal otherwise."""


Entry = TypeVar("Entry", bound=Prioritizable)


@dataclass(frozen=True)
class WorklistRow(Generic[Entry]):
    """A study with its position in the worklist.

    Attributes
    ----------
    rank : int
        Position in the worklist, counted from 1.
    priority_reason : str
        Why the study has this position.
    waiting_min : float
        Minutes since the study arrived.
    result : StudyResult
        The result of the study, or whatever else was ordered.
    """

    rank: int
    priority_reason: str
    waiting_min: float
    result: Entry


_OVERDUE: Final = "waiting time exceeded; "


def prioritize(
    results: Sequence[Entry], *, max_wait_min: float | None = MAX_WAIT_MIN, now: float | None = None
) -> tuple[WorklistRow[Entry], ...]:
    """Return studies in the order in which they should be read.

    Studies that have waited longer than `max_wait_min` come first. Ordered by suspicion alone, a study that the
    network misses would wait for as long as other studies arrive. Within the overdue studies and within the others,
    the order is: suspicious studies, studies of weights without operating points, studies that are not assessable and
    have therefore been evaluated by nobody, and studies that are not suspicious; within each group by descending
    probability. A folder of old studies, all of them overdue, is thus ordered by urgency as well.

    Parameters
    ----------
    results : sequence of StudyResult
        Results in any order.
    max_wait_min : float, optional
        Waiting time in minutes above which a study precedes all others; None for no limit.
    now : float, optional
        Time up to which waiting is counted, in seconds since 1970; the current time if omitted.
    """
    until = time.time() if now is None else now

    def waiting_min(result: Entry) -> float:
        return max(until - result.arrival_time_s, 0.0) / 60.0

    def key(result: Entry) -> tuple[bool, int, float, str]:
        overdue = is_overdue(waiting_min(result), max_wait_min)
        return (not overdue, result.priority_group, -result.probability, result.study_instance_uid)

    rows = []
    for rank, result in enumerate(sorted(results, key=key), start=1):
        waiting = waiting_min(result)
        overdue = _OVERDUE if is_overdue(waiting, max_wait_min) else ""
        rows.append(WorklistRow(rank, f"{overdue}{result.priority_reason}", waiting, result))
    return tuple(rows)


def is_overdue(waiting_min: float, max_wait_min: float | None) -> bool:
    """Return whether a study has waited longer than any should."""
    return max_wait_min is not None and waiting_min > max_wait_min


def format_minutes(minutes: float) -> str:
    """Return a duration in minutes, hours or days.

    >>> format_minutes(12.3), format_minutes(150.0), format_minutes(5000.0)
    ('12 min', '2.5 h', '3 days')
    """
    if minutes < 120.0:
        return f"{minutes:.0f} min"
    return f"{minutes / 60.0:.1f} h" if minutes < 2880.0 else f"{minutes / 1440.0:.0f} days"
