"""A worker: claims a job, predicts its study, and records the answer once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from cspine.core.errors import CspineError, DiskFullError
from cspine.core.files import output_errors
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.jobs import (
    JobOutcome,
    claim_job,
    finish_job,
    postpone_job,
    previous_answer,
    release_job,
    renew_lease,
)
from cspine.server.database.tables import Job, JobState
from cspine.server.prediction.predict_task import AttemptError, PredictTask
from cspine.server.prediction.predictor import CanceledError, Predictor
from cspine.server.processes import Stop
from cspine.server.settings import DestinationSettings, ServerSettings
from cspine.server.spool.current import link_current
from cspine.server.spool.folders import Spool, sync_tree
from cspine.server.spool.reconcile import remove
from cspine.server.spool.snapshot import link_objects

_LOGGER: Final = logging.getLogger(__name__)

_IDLE_S: Final = 0.5
_DATABASE_PAUSE_S: Final = 2.0
_MAX_RECORD_ATTEMPTS: Final = 30

_OBJECTS, _RESULT, _DICOM = "objects", "result", "dicom"


class Worker:
    """Predicts studies until it is stopped.

    Parameters
    ----------
    settings : ServerSettings
        All settings.
    database : Database
        Jobs.
    spool : Spool
        Objects and results.
    name : str
        Name of the process, which stands in its leases.
    """

    def __init__(self, settings: ServerSettings, database: Database, spool: Spool, name: str) -> None:
        self._settings, self._database, self._spool, self._name = settings, database, spool, name
        self._predictor = Predictor(settings.prediction)

    def run(self, stop: Stop) -> None:
        """Predict one study after the other; one that is not done when it is stopped waits for another worker."""
        self._predictor.start()
        try:
            while not stop.is_set():
                try:
                    is_idle = not self.predict_next(stop)
                except SQLAlchemyError as error:
                    _LOGGER.warning("the database failed (%s); trying again", type(error).__name__)
                    is_idle = not stop.wait(_DATABASE_PAUSE_S)
                if is_idle:
                    stop.wait(_IDLE_S)
        finally:
            self._predictor.end()

    def predict_next(self, stop: Stop | None = None) -> bool:
        """Predict the next study that waits; return False where none does."""
        if not self._spool.is_there:
            _LOGGER.warning("the spool is not there; mount its file system")
            return False
        with self._database.session() as session:
            job = claim_job(
                session,
                self._name,
                self._settings.prediction,
                now=utc_now(),
                max_wait_min=self._settings.web.max_wait_min,
            )
            if job is None:
                return False
            key, n_objects = job.study.key, job.study.n_objects
            if job.study.originals_removed_at is not None:
                n_objects = 0
            earlier = previous_answer(session, job)
            earlier_folder = self._spool.absolute(earlier.result_folder) / _DICOM if earlier is not None else None
        folder = self._spool.job_folder(job.id, job.lease_token)
        begin = time.monotonic()
        try:
            outcome = self._predict(job, key, n_objects, folder, earlier_folder, stop)
            self._finish(job, key, folder, outcome)
            _LOGGER.info("job %d: %s after %.1f s", job.id, outcome.state, time.monotonic() - begin)
        except CanceledError:
            _LOGGER.info("job %d: given up, since it was canceled, or the worker stops", job.id)
            self._give_back(job, stop)
        except DiskFullError:
            self._wait_for_space(job)
        except CspineError as error:
            self._postpone(job, str(error))
        finally:
            remove(folder)
        return True

    def _predict(
        self, job: Job, key: str, n_objects: int, folder: Path, earlier: Path | None, stop: Stop | None
    ) -> JobOutcome:
        task = PredictTask(
            folder / _OBJECTS, folder / _RESULT, earlier if earlier is not None and earlier.is_dir() else None
        )
        with output_errors(folder):
            folder.mkdir(parents=True, mode=0o700)
        n_linked = link_objects(self._spool.study_folder(key), task.objects)
        if n_linked < n_objects:  # a network's file system that is not mounted, or shows what was there before
            raise AttemptError(f"{n_linked} of the study's {n_objects} objects are in the spool; check its file system")
        if n_linked == 0:
            return JobOutcome(
                JobState.FAILED, code="removed", error="the study's objects were removed", remedy="send the study again"
            )
        lease = _Lease(self._database, job, self._settings.prediction.lease_s)
        return self._predictor.predict(task, lambda: lease.keep() and not (stop is not None and stop.is_set()))

    def _finish(self, job: Job, key: str, folder: Path, outcome: JobOutcome) -> None:
        target = self._spool.result_folder(key, job.id, job.lease_token)
        if outcome.state.is_answer:
            with output_errors(target):
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (folder / _RESULT).rename(target)
                sync_tree(target)
            outcome = replace(outcome, result_folder=self._spool.relative(target))
        is_recorded = _until_reachable(lambda: self._record(job, outcome))
        if not is_recorded:
            _LOGGER.info("job %d: its result is discarded, since the job is another's", job.id)
            remove(target)
        elif outcome.result_folder:
            link_current(self._spool, key, outcome.result_folder)

    def _record(self, job: Job, outcome: JobOutcome) -> bool:
        with self._database.session() as session:
            return finish_job(session, job.id, job.lease_token, outcome, destinations=self._destinations, now=utc_now())

    @property
    def _destinations(self) -> tuple[DestinationSettings, ...]:
        return () if self._settings.storage.silent else self._settings.destinations

    def _postpone(self, job: Job, error: str) -> None:
        _LOGGER.warning("job %d: attempt %d failed", job.id, job.attempts)
        with self._database.session() as session:
            postpone_job(session, job.id, job.lease_token, error, self._settings.prediction, now=utc_now())

    def _wait_for_space(self, job: Job) -> None:
        """Let a job wait; a full disk is no fault of the study, and uses up none of its attempts."""
        _LOGGER.warning("job %d: waits, since the disk is full", job.id)
        with self._database.session() as session:
            release_job(session, job.id, job.lease_token, now=utc_now(), wait_s=self._settings.prediction.backoff_s)

    def _give_back(self, job: Job, stop: Stop | None) -> None:
        """Let the job wait at once, without an attempt less, where this worker stops."""
        if stop is not None and stop.is_set():
            with self._database.session() as session:
                release_job(session, job.id, job.lease_token, now=utc_now())


class _Lease:
    """Keeps a job's lease while it is predicted, and notices where it is lost."""

    def __init__(self, database: Database, job: Job, lease_s: float) -> None:
        self._database, self._job, self._lease_s = database, job, lease_s
        self._renewed = time.monotonic()

    def keep(self) -> bool:
        """Renew the lease when a third of it is over; return False where the job is another's."""
        now = time.monotonic()
        if now - self._renewed < self._lease_s / 3:
            return True
        try:
            with self._database.session() as session:
                is_ours = renew_lease(
                    session, self._job.id, self._job.lease_token, lease_s=self._lease_s, now=utc_now()
                )
        except SQLAlchemyError:  # the database is away for a moment; whether the job is ours shows at its end
            return True
        self._renewed = now
        return is_ours


def _until_reachable(record: Callable[[], bool]) -> bool:
    """Return what `record` returns, as soon as the database can be reached: a result was worth minutes."""
    for _ in range(_MAX_RECORD_ATTEMPTS):
        try:
            return record()
        except SQLAlchemyError as error:
            _LOGGER.warning("the database failed (%s); trying again", type(error).__name__)
            time.sleep(_DATABASE_PAUSE_S)
    return record()
