"""What the API tells of studies, jobs, deliveries and reviews."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cspine.server.database.tables import Delivery, Job, Review, Study
from cspine.server.settings import URGENCIES, Urgency


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class JobAnswer(_Model):
    """One prediction of a study."""

    id: int
    study: str = Field(description="Key of the study.")
    state: str = Field(description="complete, running, done, not_assessable, failed or canceled.")
    is_current: bool = Field(description="Whether it is the last job of its study.")
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    code: str = Field(description="Why there is no answer; see the reference of error codes.")
    error: str
    remedy: str
    patient_probability: float | None
    is_suspicious: bool
    levels: list[Any] = Field(description="Level, probability, is_suspicious and coverage of C1 to C7.")
    has_results: bool

    @classmethod
    def of(cls, job: Job, key: str) -> "JobAnswer":
        """Return what is told of a job."""
        return cls(
            id=job.id,
            study=key,
            state=str(job.state),
            is_current=job.is_current,
            attempts=job.attempts,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            code=job.code,
            error=job.error,
            remedy=job.remedy,
            patient_probability=job.patient_probability,
            is_suspicious=job.is_suspicious,
            levels=job.levels,
            has_results=bool(job.result_folder),
        )


class StudyAnswer(_Model):
    """A study that was received."""

    key: str
    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_description: str
    source: str
    urgency: Urgency
    received_at: datetime
    last_received_at: datetime
    n_objects: int
    n_bytes: int
    is_open: bool = Field(description="Whether further objects are expected.")
    has_originals: bool = Field(description="Whether its objects are still there.")
    jobs: list[JobAnswer]

    @classmethod
    def of(cls, study: Study, jobs: list[Job]) -> "StudyAnswer":
        """Return what is told of a study with its jobs, the last first."""
        return cls(
            key=study.key,
            study_instance_uid=study.study_instance_uid,
            patient_id=study.patient_id,
            patient_name=study.patient_name,
            accession_number=study.accession_number,
            study_date=study.study_date,
            study_description=study.study_description,
            source=study.source,
            urgency=URGENCIES[study.urgency],
            received_at=study.received_at,
            last_received_at=study.last_received_at,
            n_objects=study.n_objects,
            n_bytes=study.n_bytes,
            is_open=study.is_open,
            has_originals=study.originals_removed_at is None,
            jobs=[JobAnswer.of(job, study.key) for job in jobs],
        )


class DeliveryAnswer(_Model):
    """A result on its way to a destination."""

    id: int
    job: int
    destination: str
    state: str = Field(description="waiting, sending, sent, failed or superseded.")
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    error: str

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryAnswer":
        """Return what is told of a delivery."""
        return cls(
            id=delivery.id,
            job=delivery.job_id,
            destination=delivery.destination,
            state=str(delivery.state),
            attempts=delivery.attempts,
            created_at=delivery.created_at,
            sent_at=delivery.sent_at,
            error=delivery.error,
        )


class ReviewAnswer(_Model):
    """What a reader said of one level."""

    id: int
    job: int
    level: str = Field(description="C1 to C7, or patient_overall.")
    verdict: str = Field(description="accept or reject of what the server says, or unsure.")
    comment: str
    user: str
    created_at: datetime

    @classmethod
    def of(cls, review: Review) -> "ReviewAnswer":
        """Return what is told of a review."""
        return cls(
            id=review.id,
            job=review.job_id,
            level=review.level,
            verdict=review.verdict,
            comment=review.comment,
            user=review.user,
            created_at=review.created_at,
        )


class ReviewRequest(BaseModel):
    """What a reader says of one level."""

    model_config = ConfigDict(extra="forbid")

    level: str = Field(max_length=16)
    verdict: str = Field(max_length=16)
    comment: str = Field("", max_length=2000)


class UrgencyRequest(BaseModel):
    """How urgent a study is."""

    model_config = ConfigDict(extra="forbid")

    urgency: Urgency


class CheckAnswer(_Model):
    """One fact of the configuration."""

    name: str
    is_good: bool
    message: str
