"""Workers: what becomes of a study, by a prediction that is real, fails, or never ends."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support.phantom import write_phantom
from tests.support.server import ServerParts, make_parts, write_objects

from cspine.core.errors import DiskFullError
from cspine.server.database.engine import utc_now
from cspine.server.database.jobs import JobOutcome
from cspine.server.database.tables import Delivery, DeliveryState, Job, JobState, Study
from cspine.server.prediction import keeper as keeper_module
from cspine.server.prediction.keeper import Keeper
from cspine.server.prediction.predict_task import AttemptError, PredictTask
from cspine.server.prediction.predictor import CanceledError, Predictor
from cspine.server.prediction.worker import Worker
from cspine.server.processes import Stop
from cspine.server.settings import PredictionSettings
from cspine.server.spool.reconcile import remove_remains

DESTINATION = {"name": "pacs", "kind": "webhook", "url": "http://pacs"}


def make(folder: Path, **settings: object) -> ServerParts:
    prediction = {"backoff_s": 0.0, "max_attempts": 2, **settings}
    return make_parts(folder, intake={"quiet_s": 0.0}, prediction=prediction, destinations=[DESTINATION])


def receive(parts: ServerParts, paths: list[Path]) -> None:
    for path in paths:
        parts.receive(path)
    Keeper(parts.settings, parts.database, parts.spool).complete()


def worker_of(parts: ServerParts) -> Worker:
    return Worker(parts.settings, parts.database, parts.spool, "worker@test:1")


def job_of(parts: ServerParts) -> Job:
    with parts.database.reading() as session:
        return session.scalars(select(Job).where(Job.is_current)).one()


class FakePredictor(Predictor):
    """A predictor that does what a test says, in this process."""

    def __init__(self, answer: JobOutcome | Exception) -> None:
        super().__init__(PredictionSettings())
        self.answer = answer

    def start(self) -> None:
        pass

    def predict(self, task: PredictTask, is_wanted: object) -> JobOutcome:
        del is_wanted
        assert list(task.objects.glob("*.dcm"))
        if isinstance(self.answer, Exception):
            raise self.answer
        (task.out / "dicom").mkdir(parents=True)
        (task.out / "findings.json").write_text("{}")
        return self.answer


def with_answer(parts: ServerParts, answer: JobOutcome | Exception) -> Worker:
    worker = worker_of(parts)
    worker._predictor = FakePredictor(answer)
    return worker


@pytest.mark.slow
def test_a_study_ends_in_results_a_record_and_a_delivery(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, sorted(write_phantom(tmp_path / "in").glob("**/*.dcm")))
    worker = worker_of(parts)

    try:
        assert worker.predict_next()
        assert not worker.predict_next()
    finally:
        worker._predictor.end()

    job = job_of(parts)
    folder = parts.spool.absolute(job.result_folder)
    assert job.state == JobState.DONE
    assert job.patient_probability is not None
    assert [each["level"] for each in job.levels] == [f"C{number}" for number in range(1, 8)]
    assert {"findings.json", "report.html", "fhir.json", "dicom"} <= {path.name for path in folder.iterdir()}
    assert not parts.spool.job_folders()
    with parts.database.reading() as session:
        assert session.scalars(select(Delivery.destination)).all() == ["pacs"]


@pytest.mark.slow
def test_a_study_that_is_not_assessable_has_an_answer_with_objects(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, write_objects(tmp_path / "in", 3))
    worker = worker_of(parts)

    try:
        worker.predict_next()
    finally:
        worker._predictor.end()

    job = job_of(parts)
    assert job.state == JobState.NOT_ASSESSABLE
    assert job.code
    assert job.remedy
    assert list((parts.spool.absolute(job.result_folder) / "dicom").glob("*.dcm"))


def test_a_failed_attempt_is_repeated_and_ends_as_a_named_failure(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, write_objects(tmp_path / "in", 1))
    worker = with_answer(parts, AttemptError("it broke"))

    assert [worker.predict_next() for _ in range(3)] == [True, True, False]

    job = job_of(parts)
    assert (job.state, job.attempts) == (JobState.FAILED, 2)
    assert "it broke" in job.error
    assert not parts.spool.job_folders()
    assert not parts.spool.result_folders()


def test_a_full_disk_uses_up_no_attempt(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, write_objects(tmp_path / "in", 1))
    worker = with_answer(parts, DiskFullError("no space is left"))

    for _ in range(5):
        worker.predict_next()

    assert (job_of(parts).state, job_of(parts).attempts) == (JobState.COMPLETE, 0)


def test_what_waits_for_a_destination_that_is_gone_is_given_up(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, write_objects(tmp_path / "in", 1))
    with_answer(parts, JobOutcome(JobState.DONE)).predict_next()
    without = parts.settings.model_copy(update={"destinations": ()})

    Keeper(parts.settings, parts.database, parts.spool).tidy()
    with parts.database.reading() as session:
        assert session.scalars(select(Delivery.state)).all() == [DeliveryState.WAITING]
    Keeper(without, parts.database, parts.spool).tidy()

    with parts.database.reading() as session:
        delivery = session.scalars(select(Delivery)).one()
    assert delivery.state == DeliveryState.FAILED
    assert "not configured" in delivery.error


def test_a_result_whose_job_is_anothers_leaves_nothing(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, write_objects(tmp_path / "in", 1))
    worker = with_answer(parts, JobOutcome(JobState.DONE))
    original = worker._record

    def lose_lease(job: Job, outcome: JobOutcome) -> bool:
        with parts.database.session() as session:
            found = session.get(Job, job.id)
            assert found is not None
            found.lease_token = "another"
        return original(job, outcome)

    worker._record = lose_lease  # type: ignore[method-assign]
    worker.predict_next()

    assert job_of(parts).state == JobState.RUNNING
    assert not parts.spool.result_folders()


def test_a_stopped_worker_gives_its_job_back(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, write_objects(tmp_path / "in", 1))
    stop = Stop()
    stop.set()

    with_answer(parts, CanceledError()).predict_next(stop)

    assert (job_of(parts).state, job_of(parts).attempts) == (JobState.COMPLETE, 0)


def test_the_link_of_a_study_leads_to_its_current_answer(tmp_path: Path) -> None:
    parts = make(tmp_path)
    paths = write_objects(tmp_path / "in", 2)
    receive(parts, paths[:1])
    with_answer(parts, JobOutcome(JobState.DONE)).predict_next()
    first = parts.spool.absolute(job_of(parts).result_folder)
    (link,) = parts.spool.current_links()
    assert link.resolve() == first.resolve()

    receive(parts, paths[1:])
    with_answer(parts, JobOutcome(JobState.DONE)).predict_next()
    second = parts.spool.absolute(job_of(parts).result_folder)
    assert link.resolve() == second.resolve() != first.resolve()

    link.unlink()
    stale = link.with_name("ab")
    stale.symlink_to("nowhere")
    Keeper(parts.settings, parts.database, parts.spool).tidy()
    assert parts.spool.current_links() == [link]
    assert link.resolve() == second.resolve()


def test_silent_mode_predicts_and_sends_nothing(tmp_path: Path) -> None:
    parts = make_parts(tmp_path, storage={"silent": True}, intake={"quiet_s": 0.0}, destinations=[DESTINATION])
    receive(parts, write_objects(tmp_path / "in", 1))

    with_answer(parts, JobOutcome(JobState.DONE)).predict_next()

    assert job_of(parts).state == JobState.DONE
    with parts.database.reading() as session:
        assert session.scalars(select(Delivery)).all() == []


def test_a_study_whose_objects_were_removed_fails_by_name(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, write_objects(tmp_path / "in", 1))
    for path in parts.spool.study_folders()[0].iterdir():
        path.unlink()
    with parts.database.session() as session:
        for study in session.scalars(select(Study)):
            study.originals_removed_at = utc_now()

    with_answer(parts, JobOutcome(JobState.DONE)).predict_next()

    assert (job_of(parts).state, job_of(parts).code) == (JobState.FAILED, "removed")


def test_a_study_is_not_predicted_where_the_spool_shows_a_part_of_it(tmp_path: Path) -> None:
    parts = make(tmp_path)
    paths = write_objects(tmp_path / "in", 2)
    receive(parts, paths)
    files = sorted(parts.spool.study_folders()[0].iterdir())
    content = files[0].read_bytes()
    files[0].unlink()
    worker = with_answer(parts, JobOutcome(JobState.DONE))

    worker.predict_next()
    assert (job_of(parts).state, job_of(parts).attempts) == (JobState.COMPLETE, 1)
    assert "1 of the study's 2 objects" in job_of(parts).error

    files[0].write_bytes(content)
    worker.predict_next()
    assert job_of(parts).state == JobState.DONE


def test_a_worker_claims_nothing_where_the_spool_is_not_mounted(tmp_path: Path) -> None:
    parts = make(tmp_path)
    receive(parts, write_objects(tmp_path / "in", 1))
    parts.spool.folder.joinpath("studies").rename(tmp_path / "away")

    assert not with_answer(parts, JobOutcome(JobState.DONE)).predict_next()
    assert (job_of(parts).state, job_of(parts).attempts) == (JobState.COMPLETE, 0)


def test_studies_are_completed_where_the_spool_cannot_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = make(tmp_path)
    parts.receive(write_objects(tmp_path / "in", 1)[0])
    stop = Stop()

    def fail(*_: object) -> None:
        stop.set()
        raise OSError("Stale file handle")

    monkeypatch.setattr(keeper_module, "reconcile_studies", fail)
    Keeper(parts.settings, parts.database, parts.spool).run(stop)

    assert job_of(parts).state == JobState.COMPLETE


@pytest.mark.slow
def test_a_prediction_that_dies_or_never_ends_fails_its_attempt_alone(tmp_path: Path) -> None:
    predictor = Predictor(PredictionSettings(timeout_s=0.01))
    task = PredictTask(tmp_path / "none", tmp_path / "out")

    with pytest.raises(AttemptError, match="took longer"):
        predictor.predict(task, lambda: True)
    predictor.start()
    assert predictor._process is not None
    predictor._process.kill()
    predictor._process.join()
    predictor._settings = PredictionSettings()
    outcome = predictor.predict(task, lambda: True)  # started anew
    predictor.end()

    assert (outcome.state, outcome.code) == (JobState.FAILED, "unreadable")


def test_retention_removes_what_is_old_and_keeps_what_is_needed(tmp_path: Path) -> None:
    parts = make_parts(
        tmp_path,
        intake={"quiet_s": 0.0},
        retention={"originals_days": 1.0, "results_days": 2.0, "audit_days": 1.0},
        destinations=[],
    )
    receive(parts, write_objects(tmp_path / "in", 2))
    keeper = Keeper(parts.settings, parts.database, parts.spool)
    keeper.tidy()
    assert parts.spool.study_folders()
    with_answer(parts, JobOutcome(JobState.DONE)).predict_next()
    with parts.database.session() as session:
        for study in session.scalars(select(Study)):
            study.last_received_at = utc_now() - timedelta(days=1.5)

    keeper.tidy()

    with parts.database.reading() as session:
        study = session.scalars(select(Study)).one()
    assert study.originals_removed_at is not None
    assert not parts.spool.study_folders()
    assert len(parts.spool.result_folders()) == 1

    with parts.database.session() as session:
        for job in session.scalars(select(Job)):
            job.finished_at = utc_now() - timedelta(days=3.0)
    keeper.tidy()
    assert not parts.spool.result_folders()


def test_remains_of_killed_processes_are_removed_when_they_are_old(tmp_path: Path) -> None:
    import os

    parts = make(tmp_path)
    young, old = parts.spool.incoming(), parts.spool.incoming()
    folder = parts.spool.job_folder(1, "ab")
    folder.mkdir()
    for path in (old, folder):
        os.utime(path, (1.0, 1.0))

    assert remove_remains(parts.database, parts.spool) == 2
    assert parts.spool.incoming_files() == [young]
