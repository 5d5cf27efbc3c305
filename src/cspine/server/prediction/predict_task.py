"""One prediction in a process of its own, which may crash, hang or run out of memory."""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cspine.core.errors import CspineError, DiskFullError, InputError
from cspine.core.garbage import collect_less_often
from cspine.core.logging import configure_logging, logging_options
from cspine.core.not_assessable import FAILED, remedy_of
from cspine.server.database.jobs import JobOutcome
from cspine.server.database.tables import JobState
from cspine.server.settings import PredictionSettings

if TYPE_CHECKING:
    from cspine.core.findings import Findings
    from cspine.reports.worklist import StudyResult

_LOGGER: Final = logging.getLogger(__name__)


class AttemptError(CspineError):
    """An attempt failed for a reason that another attempt may not meet."""


@dataclass(frozen=True)
class PredictTask:
    """What is predicted.

    Attributes
    ----------
    objects : Path
        Folder of the study's objects.
    out : Path
        Folder of the results.
    supersedes : Path or None
        DICOM objects of the study's earlier answer.
    """

    objects: Path
    out: Path
    supersedes: Path | None = None


def predict_task(task: PredictTask, settings: PredictionSettings) -> JobOutcome:
    """Predict one study, write its results, and return what the database holds of them.

    Raises
    ------
    AttemptError
        The prediction crashed, or an output could not be written.
    CspineError
        As by `cspine.pipelines.predict_batch.predict_batch`.
    """
    from cspine.pipelines.case_folder import PredictSettings  # noqa: PLC0415 - heavy, and of this process alone
    from cspine.pipelines.predict_batch import predict_batch  # noqa: PLC0415

    try:
        results = predict_batch(
            task.objects,
            task.out,
            PredictSettings(
                weights=settings.weights,
                tta=settings.tta,
                operating_points=settings.operating_points,
                provider=settings.provider,
                dicom=True,
                fhir=settings.fhir,
                fhir_release=settings.fhir_release,
                supersedes=str(task.supersedes) if task.supersedes is not None else None,
            ),
        )
    except InputError as error:
        return _failure("unreadable", str(error), "check how the study was made, and send it again")
    if len(results) != 1:
        return _failure(
            "several-studies",
            f"the study holds objects of {len(results)} patients or studies under one UID",
            "correct the objects' headers, and send each study with a UID of its own",
        )
    return _outcome(results[0])


def serve_tasks(connection: Connection, settings: PredictionSettings, log: dict[str, bool] | None) -> None:
    """Predict what comes through a connection until it is closed: the main function of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the worker ends this process
    collect_less_often()
    if log is not None:
        configure_logging(verbose=log["verbose"], json_lines=log["json_lines"])
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: JobOutcome | CspineError = predict_task(task, settings)
        except DiskFullError as error:  # no fault of the study
            answer = DiskFullError(str(error))
        except CspineError as error:
            answer = AttemptError(str(error))
        except Exception as error:  # a worker survives whatever a study does
            _LOGGER.exception("a prediction failed")
            answer = AttemptError(f"the prediction failed ({type(error).__name__})")
        try:
            connection.send(answer)
        except OSError:  # the worker is gone, and its job will be another's
            return


def log_options() -> dict[str, bool] | None:
    """Return how this process logs, for `serve_tasks`."""
    return logging_options()


def _outcome(result: StudyResult) -> JobOutcome:
    findings = result.findings
    rejected = findings.not_assessable
    if rejected is not None and rejected.code == FAILED:
        raise AttemptError(rejected.reason)
    if result.failed_outputs:
        raise AttemptError("; ".join(result.failed_outputs))
    if rejected is not None:
        return JobOutcome(
            JobState.NOT_ASSESSABLE, code=rejected.code, error=rejected.reason, remedy=remedy_of(rejected.code)
        )
    overall = findings.patient_overall
    return JobOutcome(
        JobState.DONE,
        patient_probability=overall.probability if overall is not None else None,
        is_suspicious=result.is_suspicious,
        levels=_levels(findings),
    )


def _levels(findings: Findings) -> list[dict[str, Any]]:
    return [
        {
            "level": each.level,
            "label": each.level_label,
            "probability": each.probability,
            "is_suspicious": each.is_suspicious,
            "coverage": each.coverage,
        }
        for each in findings.vertebrae
    ]


def _failure(code: str, error: str, remedy: str) -> JobOutcome:
    return JobOutcome(JobState.FAILED, code=code, error=error, remedy=remedy)
