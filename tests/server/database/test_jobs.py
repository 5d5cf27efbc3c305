"""Jobs and deliveries: claimed once, kept by leases, ended once, whatever happens to processes and clocks."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support.postgresql import Cluster, needs_postgresql, running_postgresql

from cspine.server.database.deliveries import (
    claim_delivery,
    finish_delivery,
    postpone_delivery,
    retry_delivery,
)
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.jobs import (
    JobOutcome,
    cancel_job,
    claim_job,
    finish_job,
    postpone_job,
    previous_answer,
    release_job,
    renew_lease,
    rerun_study,
)
from cspine.server.database.migrate import DatabaseError
from cspine.server.database.studies import complete_studies, record_object
from cspine.server.database.tables import Delivery, DeliveryState, Job, JobState, Study
from cspine.server.settings import DestinationSettings, PredictionSettings
from cspine.server.spool.headers import ObjectHeader

NOW = utc_now()
SETTINGS = PredictionSettings(lease_s=60.0, max_attempts=2, backoff_s=30.0)
PACS = DestinationSettings(name="pacs", kind="webhook", url="http://pacs", max_attempts=2, backoff_s=10.0)
SUSPICIOUS = DestinationSettings(name="phone", kind="webhook", url="http://phone", send="suspicious")
DONE = JobOutcome(JobState.DONE, patient_probability=0.2, result_folder="results/a/1-b")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    else:
        made = Database(request.getfixturevalue("cluster").url)
        with made.engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    made.upgrade()
    yield made
    made.close()


def receive(database: Database, key: str = "a", *, urgency: int = 0, at: float = 0.0) -> None:
    header = ObjectHeader("1.2.840.10008.5.1.4.1.1.2", "1.2.3", f"1.{len(key)}", "1.2")
    with database.session() as session:
        record_object(session, key, header, n_bytes=10, source="CT", urgency=urgency, now=NOW + timedelta(seconds=at))


def complete(database: Database, *, at: float = 20.0) -> int:
    with database.session() as session:
        return len(complete_studies(session, quiet_s=10.0, now=NOW + timedelta(seconds=at)))


def claim(database: Database, *, at: float = 20.0) -> Job | None:
    with database.session() as session:
        job = claim_job(session, "worker", SETTINGS, now=NOW + timedelta(seconds=at), max_wait_min=60.0)
        if job is not None:
            assert job.study is not None
        return job


def claimed(database: Database, *, at: float = 20.0) -> Job:
    job = claim(database, at=at)
    assert job is not None
    return job


def finish(database: Database, job: Job, outcome: JobOutcome = DONE, *, at: float = 30.0) -> bool:
    with database.session() as session:
        return finish_job(
            session,
            job.id,
            job.lease_token,
            outcome,
            destinations=(PACS, SUSPICIOUS),
            now=NOW + timedelta(seconds=at),
        )


def jobs(database: Database) -> list[tuple[str, bool]]:
    with database.reading() as session:
        return [(job.state, job.is_current) for job in session.scalars(select(Job).order_by(Job.id))]


def test_a_study_is_complete_after_the_quiet_time_alone(database: Database) -> None:
    receive(database)
    receive(database, at=5.0)

    assert complete(database, at=14.9) == 0
    assert complete(database, at=15.0) == 1
    assert complete(database, at=99.0) == 0


def test_a_late_object_opens_the_study_again_and_its_job_takes_the_place_of_the_one_that_waits(
    database: Database,
) -> None:
    receive(database)
    complete(database)
    receive(database, at=30.0)

    assert complete(database, at=50.0) == 1
    assert jobs(database) == [(JobState.CANCELED, False), (JobState.COMPLETE, True)]


def test_the_result_of_a_job_that_a_later_one_covers_is_discarded(database: Database) -> None:
    receive(database)
    complete(database)
    first = claimed(database)
    receive(database, at=30.0)
    complete(database, at=50.0)

    assert not finish(database, first)
    assert jobs(database) == [(JobState.CANCELED, False), (JobState.COMPLETE, True)]
    assert finish(database, claimed(database, at=60.0))


def test_the_answer_counts_where_the_study_is_open_again_but_has_no_later_job(database: Database) -> None:
    receive(database)
    complete(database)
    first = claimed(database)
    receive(database, at=25.0)

    assert finish(database, first)
    complete(database, at=50.0)
    with database.reading() as session:
        second = session.scalars(select(Job).where(Job.is_current)).one()
        earlier = previous_answer(session, second)
        assert earlier is not None
        assert earlier.id == first.id


def test_a_clock_that_was_set_back_delays_no_study(database: Database) -> None:
    receive(database, at=86_400.0)

    assert complete(database, at=0.0) == 1


def test_urgent_studies_come_first_and_those_that_waited_too_long_before_them(database: Database) -> None:
    for key, urgency, at in (("a", 0, 0.0), ("bb", 0, 7200.0), ("ccc", 2, 7200.0)):
        receive(database, key, urgency=urgency, at=at)
        complete(database, at=at + 10.0)

    order = [claimed(database, at=7220.0).study.key for _ in range(3)]

    assert order == ["a", "ccc", "bb"]
    assert claim(database, at=7220.0) is None


def test_two_workers_never_have_one_job(database: Database) -> None:
    receive(database)
    complete(database)

    assert claim(database) is not None
    assert claim(database) is None


def test_a_lease_that_ends_gives_the_job_to_another_worker_and_the_first_result_is_discarded(
    database: Database,
) -> None:
    receive(database)
    complete(database)
    first = claimed(database, at=20.0)
    assert claim(database, at=79.0) is None
    second = claimed(database, at=81.0)

    assert second.id == first.id
    assert not finish(database, first, at=82.0)
    assert finish(database, second, at=90.0)
    assert finish(database, second, at=91.0)  # its own result, whose commit a killed database may not have confirmed
    with database.reading() as session:
        assert len(session.scalars(select(Delivery)).all()) == 1


def test_a_lease_is_renewed_by_its_owner_alone(database: Database) -> None:
    receive(database)
    complete(database)
    job = claimed(database)

    with database.session() as session:
        assert renew_lease(session, job.id, job.lease_token, lease_s=60.0, now=NOW + timedelta(seconds=70))
        assert not renew_lease(session, job.id, "another", lease_s=60.0, now=NOW)
    assert claim(database, at=100.0) is None


def test_a_lease_from_the_future_of_a_clock_that_was_set_back_ends(database: Database) -> None:
    receive(database)
    complete(database)
    claimed(database, at=86_400.0)

    assert claim(database, at=60.0) is not None


def test_a_wait_that_began_in_the_future_of_a_clock_that_was_set_back_is_over(database: Database) -> None:
    receive(database)
    complete(database)
    job = claimed(database)
    with database.session() as session:
        later = NOW + timedelta(hours=1)
        assert postpone_job(session, job.id, job.lease_token, "it broke", SETTINGS, now=later)

    assert claim(database, at=60.0) is not None


def test_a_study_that_kills_its_worker_fails_after_the_last_attempt_and_stops_no_other(database: Database) -> None:
    receive(database, "a")
    complete(database)
    for at in (20.0, 100.0):
        claimed(database, at=at)
    receive(database, "bb", at=101.0)
    complete(database, at=120.0)

    assert claimed(database, at=200.0).study.key == "bb"
    assert jobs(database)[0] == (JobState.FAILED, True)


def test_a_failed_attempt_waits_and_the_last_one_is_a_failure_with_a_remedy(database: Database) -> None:
    receive(database)
    complete(database)
    first = claimed(database)
    with database.session() as session:
        assert postpone_job(session, first.id, first.lease_token, "it broke", SETTINGS, now=NOW)
    assert claim(database, at=29.0) is None
    second = claimed(database, at=31.0)
    with database.session() as session:
        assert not postpone_job(session, second.id, second.lease_token, "it broke", SETTINGS, now=NOW)

    with database.reading() as session:
        job = session.scalars(select(Job)).one()
        assert (job.state, job.code) == (JobState.FAILED, "failed")
        assert "it broke (2 attempts)" in job.error
        assert job.remedy


def test_a_worker_that_stops_gives_its_job_back_without_an_attempt(database: Database) -> None:
    receive(database)
    complete(database)
    job = claimed(database)

    with database.session() as session:
        release_job(session, job.id, job.lease_token, now=NOW)

    assert claimed(database, at=21.0).attempts == 1


def test_cancel_and_rerun(database: Database) -> None:
    receive(database)
    complete(database)
    job = claimed(database)
    with database.session() as session:
        found = session.get(Job, job.id)
        assert found is not None
        assert cancel_job(found, now=NOW)
        assert not cancel_job(found, now=NOW)
    assert not finish(database, job)

    with database.session() as session:
        study = session.scalars(select(Study)).one()
        assert rerun_study(session, study, now=NOW) is not None
        study.originals_removed_at = NOW
        assert rerun_study(session, study, now=NOW) is None


def test_a_result_whose_commit_was_not_confirmed_is_recorded_once(database: Database) -> None:
    receive(database)
    complete(database)
    job = claimed(database)

    assert finish(database, job)
    assert finish(database, job)  # the database was killed after the commit, and the worker asks again
    assert not finish(database, job, replace(DONE, result_folder="results/a/1-c"))
    with database.reading() as session:
        assert len(session.scalars(select(Delivery)).all()) == 1


def test_a_suspicious_study_stays_so_until_there_is_another_answer(database: Database) -> None:
    def is_suspicious() -> bool:
        with database.reading() as session:
            return session.scalars(select(Job).where(Job.is_current)).one().is_suspicious

    receive(database)
    complete(database)
    finish(database, claimed(database), replace(DONE, is_suspicious=True))
    receive(database, at=40.0)
    complete(database, at=60.0)
    assert is_suspicious()
    finish(database, claimed(database, at=60.0), JobOutcome(JobState.FAILED, code="failed"))
    assert is_suspicious()

    receive(database, at=80.0)
    complete(database, at=100.0)
    finish(database, claimed(database, at=100.0))
    assert not is_suspicious()


def test_each_destination_that_wants_a_result_has_it_once(database: Database) -> None:
    receive(database)
    complete(database)
    finish(database, claimed(database))

    with database.reading() as session:
        deliveries = list(session.scalars(select(Delivery)))
    assert [(each.destination, each.state) for each in deliveries] == [("pacs", DeliveryState.WAITING)]


def delivery(database: Database, *, at: float) -> Delivery | None:
    with database.session() as session:
        return claim_delivery(session, "pacs", lease_s=60.0, now=NOW + timedelta(seconds=at))


def test_a_delivery_is_sent_again_until_it_arrives_or_is_given_up(database: Database) -> None:
    receive(database)
    complete(database)
    finish(database, claimed(database))
    first = delivery(database, at=31.0)
    assert first is not None
    assert delivery(database, at=32.0) is None
    with database.session() as session:
        assert postpone_delivery(
            session, first.id, first.lease_token, "no answer", PACS, now=NOW + timedelta(seconds=31)
        )
    assert delivery(database, at=32.0) is None
    second = delivery(database, at=60.0)
    assert second is not None

    with database.session() as session:
        assert not postpone_delivery(session, second.id, second.lease_token, "no answer", PACS, now=NOW)
        assert retry_delivery(session, second.id, now=NOW)
    third = delivery(database, at=61.0)
    assert third is not None
    with database.session() as session:
        assert not finish_delivery(session, third.id, second.lease_token, now=NOW)
        assert finish_delivery(session, third.id, third.lease_token, now=NOW)
    assert delivery(database, at=1e6) is None


def test_a_delivery_whose_sender_was_killed_is_taken_over(database: Database) -> None:
    receive(database)
    complete(database)
    finish(database, claimed(database))

    first = delivery(database, at=31.0)
    second = delivery(database, at=100.0)

    assert first is not None
    assert second is not None
    assert (first.id, first.lease_token) != (second.id, second.lease_token)
    assert first.id == second.id


def test_times_keep_their_time_zone_and_the_schema_its_version(database: Database) -> None:
    receive(database)

    with database.reading() as session:
        assert session.scalars(select(Study.received_at)).one() == NOW
    assert database.is_current()
    database.upgrade()


def test_a_database_of_a_later_version_is_left_alone(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(DatabaseError, match="later version"):
        database.upgrade()


def test_a_password_stays_out_of_messages() -> None:
    with pytest.raises(DatabaseError) as caught:
        Database("postgresql+pg8000://somebody@127.0.0.1:1/none", password="secret-of-mine").upgrade()

    assert "secret-of-mine" not in str(caught.value)
