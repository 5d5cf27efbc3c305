"""The verdict: what was acknowledged against what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread
from sqlalchemy import func, or_, select

from cspine.server.database.engine import Database
from cspine.server.database.tables import Delivery, DeliveryState, Job, JobState, Study
from cspine.server.spool.folders import Spool, object_name

MAX_FAILED_FRACTION: Final = 0.05


@dataclass
class Verdict:
    """What was found; every list is empty where nothing was lost and nothing was answered twice.

    Attributes
    ----------
    n_studies, n_objects : int
        Studies and objects that were acknowledged.
    states : dict
        Number of studies by the state of their answer.
    n_superseded : int
        Answers that late objects replaced.
    n_deliveries : int
        Deliveries of current answers that arrived.
    n_repeats : int
        Objects that the destination got more than once, and holds once.
    lost_objects, unanswered, unnamed, not_covered, undelivered, not_held : list of str
        Acknowledged objects that are gone; studies without exactly one final answer of their last change; failures
        without a sentence; acknowledged objects that the report does not list as its evidence; answers that a
        destination lacks by our records; objects that it lacks by its own.
    """

    n_studies: int = 0
    n_objects: int = 0
    states: dict[str, int] = field(default_factory=dict)
    n_superseded: int = 0
    n_deliveries: int = 0
    n_repeats: int = 0
    lost_objects: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    not_covered: list[str] = field(default_factory=list)
    undelivered: list[str] = field(default_factory=list)
    not_held: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every acknowledged object has exactly one answer, which every destination holds.

        A failure with a name is an answer; more than one study in twenty that fails is no good server.
        """
        if self.states.get(JobState.FAILED, 0) > MAX_FAILED_FRACTION * max(self.n_studies, 20):
            return False
        missing = (
            self.lost_objects,
            self.unanswered,
            self.unnamed,
            self.not_covered,
            self.undelivered,
            self.not_held,
        )
        return not any(missing)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        return {"is_good": self.is_good, **asdict(self)}


def is_idle(database: Database) -> bool:
    """Return whether nothing is open, waits, runs or is on its way."""
    with database.reading() as session:
        n_open = session.scalar(select(func.count()).select_from(Study).where(Study.is_open)) or 0
        unfinished = Job.state.in_([JobState.COMPLETE, JobState.RUNNING])
        n_jobs = session.scalar(select(func.count()).select_from(Job).where(unfinished)) or 0
        on_the_way = Delivery.state.in_([DeliveryState.WAITING, DeliveryState.SENDING])
        n_deliveries = session.scalar(select(func.count()).select_from(Delivery).where(on_the_way)) or 0
    return not n_open and not n_jobs and not n_deliveries


def verify(database: Database, spool: Spool, acknowledged: Mapping[str, set[str]], received: Counter[str]) -> Verdict:
    """Compare what senders were told with the spool, the database and the destination.

    Parameters
    ----------
    database, spool : Database, Spool
        Of the server, which is idle.
    acknowledged : mapping of str to set of str
        Acknowledged SOP instance UIDs by StudyInstanceUID.
    received : Counter of str
        How often the destination accepted each SOP instance UID.
    """
    verdict = Verdict(n_studies=len(acknowledged), n_objects=sum(map(len, acknowledged.values())))
    states: Counter[str] = Counter()
    with database.reading() as session:
        for uid, instances in acknowledged.items():
            studies = session.scalars(select(Study).where(Study.study_instance_uid == uid)).all()
            if len(studies) != 1:
                verdict.unanswered.append(f"{uid}: {len(studies)} records")
                continue
            _verify_study(studies[0], instances, spool, received, verdict, states)
        verdict.n_superseded = (
            session.scalar(
                select(func.count())
                .select_from(Job)
                .where(~Job.is_current, or_(Job.state == JobState.DONE, Job.state == JobState.NOT_ASSESSABLE))
            )
            or 0
        )
    verdict.states = dict(sorted(states.items()))
    verdict.n_repeats = sum(n - 1 for n in received.values())
    return verdict


def _verify_study(
    study: Study, instances: set[str], spool: Spool, received: Counter[str], verdict: Verdict, states: Counter[str]
) -> None:
    uid = study.study_instance_uid
    names = {path.name for path in spool.study_folder(study.key).glob("*.dcm")}
    verdict.lost_objects += [f"{uid}/{each}" for each in instances if object_name(each) not in names]
    current = [job for job in study.jobs if job.is_current and JobState(job.state).is_final]
    if study.is_open or len(current) != 1 or current[0].generation != study.received_generation:
        verdict.unanswered.append(f"{uid}: {[(job.state, job.generation) for job in study.jobs]}")
        return
    job = current[0]
    states[job.state] += 1
    if job.state == JobState.CANCELED:
        verdict.unanswered.append(f"{uid}: canceled")
    elif job.state == JobState.FAILED:
        if not (job.error and job.remedy):
            verdict.unnamed.append(uid)
    else:
        missing = instances - _evidence(spool.absolute(job.result_folder) / "dicom" / "report.dcm")
        verdict.not_covered += [f"{uid}/{each}" for each in sorted(missing)]
        _verify_delivery(job, uid, spool, received, verdict)


def _evidence(report: Path) -> set[str]:
    """Return the SOP instance UIDs of the objects that a report was made from (PS3.3 C.17.2.3)."""
    studies = dcmread(report).CurrentRequestedProcedureEvidenceSequence
    series = (each for study in studies for each in study.ReferencedSeriesSequence)
    return {str(item.ReferencedSOPInstanceUID) for each in series for item in each.ReferencedSOPSequence}


def _verify_delivery(job: Job, uid: str, spool: Spool, received: Counter[str], verdict: Verdict) -> None:
    sent = [each for each in job.deliveries if each.state == DeliveryState.SENT]
    if len(sent) != 1 or len(job.deliveries) != 1:
        verdict.undelivered.append(f"{uid}: {[each.state for each in job.deliveries]}")
        return
    verdict.n_deliveries += 1
    for path in (spool.absolute(job.result_folder) / "dicom").glob("*.dcm"):
        instance = str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
        if received[instance] < 1:
            verdict.not_held.append(f"{uid}/{path.name}")
