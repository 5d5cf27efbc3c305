"""The database orders the worklist as `cspine.reports.priority.prioritize` does, and quickly."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.server import ServerParts, make_parts

from cspine.reports.priority import WorklistRow, prioritize
from cspine.server.database.tables import Job, JobState, Study
from cspine.server.web.pages.worklist_query import PAGE_SIZE, StudyEntry, WorklistFilter, read_worklist

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
MAX_WAIT_MIN = 60.0
EVERYTHING = WorklistFilter("all", days=0)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[ServerParts]:
    made = make_parts(tmp_path)
    yield made
    made.database.close()


def add_studies(parts: ServerParts, count: int) -> None:
    rng = random.Random(count)
    with parts.database.session() as session:
        studies = [
            Study(
                key=f"{number:032x}",
                study_instance_uid=f"1.2.{number}",
                patient_name=f"Name{number}",
                received_at=NOW - timedelta(minutes=rng.uniform(0.0, 120.0)),
                last_received_at=NOW,
                urgency=rng.choice([0, 0, 0, 1, 2]),
            )
            for number in range(count)
        ]
        session.add_all(studies)
        session.flush()
        for study in studies:
            state = rng.choice([*JobState, JobState.DONE, JobState.DONE, None])
            if state is None:
                continue
            is_done = state == JobState.DONE
            session.add(
                Job(
                    study_id=study.id,
                    generation=1,
                    state=state,
                    created_at=NOW,
                    not_before=NOW,
                    patient_probability=round(rng.random(), 2) if is_done else None,
                    is_suspicious=is_done and rng.random() < 0.2,
                )
            )


def entries_of(parts: ServerParts) -> list[StudyEntry]:
    with parts.database.reading() as session:
        return [
            StudyEntry(
                study.id,
                study.study_instance_uid,
                study.received_at.timestamp(),
                study.urgency,
                study.jobs[-1].state if study.jobs else "",
                next((job.patient_probability for job in study.jobs if job.patient_probability is not None), -1.0),
                bool(study.jobs) and study.jobs[-1].is_suspicious,
            )
            for study in session.query(Study)
        ]


def test_pages_are_slices_of_the_prioritized_list(parts: ServerParts) -> None:
    add_studies(parts, 230)
    expected = prioritize(entries_of(parts), max_wait_min=MAX_WAIT_MIN, now=NOW.timestamp())

    rows: list[WorklistRow[StudyEntry]] = []
    with parts.database.reading() as session:
        for page in range(1, 6):
            wanted = WorklistFilter("all", days=0, page=page)
            shown = read_worklist(session, wanted, max_wait_min=MAX_WAIT_MIN, now=NOW)
            assert len(shown.rows) == min(PAGE_SIZE, 230 - (page - 1) * PAGE_SIZE)
            rows += shown.rows

    assert shown.count == 230
    assert shown.n_pages == 5
    assert shown.n_suspicious == sum(row.result.is_suspicious for row in expected)
    assert [(row.rank, row.priority_reason, row.result.study_id) for row in rows] == [
        (row.rank, row.priority_reason, row.result.study_id) for row in expected
    ]


@pytest.mark.slow
def test_ten_thousand_studies_take_less_than_200_ms(parts: ServerParts) -> None:
    add_studies(parts, 10_000)

    seconds = []
    with parts.database.reading() as session:
        for _ in range(5):
            start = time.process_time()  # of this process alone: other tests run on the same processors
            read_worklist(session, EVERYTHING, max_wait_min=MAX_WAIT_MIN, now=NOW)
            seconds.append(time.process_time() - start)

    assert min(seconds) < 0.2
