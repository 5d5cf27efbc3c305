"""Tables of the server's database."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

MAX_TEXT: Final = 256
"""Longest text of a header that is stored; longer ones are cut off."""


class JobState(StrEnum):
    """What became of a job."""

    COMPLETE = "complete"
    """The study is complete and waits for a worker."""

    RUNNING = "running"
    DONE = "done"
    NOT_ASSESSABLE = "not_assessable"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self not in {JobState.COMPLETE, JobState.RUNNING}

    @property
    def is_answer(self) -> bool:
        """Whether the job has a result."""
        return self in {JobState.DONE, JobState.NOT_ASSESSABLE}


class DeliveryState(StrEnum):
    """What became of a delivery."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """Not sent, since a later answer of the study was there before it could be."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes, also in SQLite, which drops the time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time as it is stored."""
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ANN401, ARG002
        """Return a stored time with its time zone."""
        if value is None:
            return None
        time: datetime = value
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map: ClassVar = {datetime: UtcDateTime(), dict[str, Any]: JSON(), list[Any]: JSON()}


class Study(Base):
    """A study of which objects were received.

    `received_generation` counts changes to its objects; `job_generation` is the last one that has a job. While the
    first is the higher one, the study is open, and becomes complete after the quiet time.
    """

    __tablename__ = "study"
    __table_args__ = (
        Index("ix_study_last_received_at", "last_received_at"),
        Index("ix_study_received_at", "received_at"),
        Index("ix_study_uid", "study_instance_uid"),
        Index("ix_study_patient_id", "patient_id"),
        Index("ix_study_open", "is_open", "last_received_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(32), unique=True)
    study_instance_uid: Mapped[str] = mapped_column(String(MAX_TEXT))
    patient_id: Mapped[str] = mapped_column(String(MAX_TEXT), default="")
    patient_name: Mapped[str] = mapped_column(String(MAX_TEXT), default="")
    patient_sex: Mapped[str] = mapped_column(String(16), default="")
    patient_birth_date: Mapped[str] = mapped_column(String(8), default="")
    accession_number: Mapped[str] = mapped_column(String(MAX_TEXT), default="")
    study_date: Mapped[str] = mapped_column(String(8), default="")
    study_time: Mapped[str] = mapped_column(String(16), default="")
    study_description: Mapped[str] = mapped_column(String(MAX_TEXT), default="")
    source: Mapped[str] = mapped_column(String(MAX_TEXT), default="")
    urgency: Mapped[int] = mapped_column(Integer, default=0)
    received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]
    n_objects: Mapped[int] = mapped_column(Integer, default=0)
    n_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    received_generation: Mapped[int] = mapped_column(Integer, default=0)
    job_generation: Mapped[int] = mapped_column(Integer, default=0)
    is_open: Mapped[bool] = mapped_column(default=True)
    originals_removed_at: Mapped[datetime | None] = mapped_column(default=None)

    jobs: Mapped[list[Job]] = relationship(back_populates="study", cascade="all, delete-orphan", order_by="Job.id")


class Job(Base):
    """One prediction of a study: the last one that is not canceled is its answer."""

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_claim", "state", "not_before", "priority", "id"),
        Index("ix_job_study", "study_id", "id"),
        Index("ix_job_current", "is_current", "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"))
    generation: Mapped[int] = mapped_column(Integer)
    is_current: Mapped[bool] = mapped_column(default=True)
    """Whether no later job of the study exists."""

    state: Mapped[str] = mapped_column(String(16), default=JobState.COMPLETE)
    priority: Mapped[int] = mapped_column(Integer, default=0)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime]
    postponed_at: Mapped[datetime | None] = mapped_column(default=None)
    """When `not_before` was written; a time in the future shows that the clock was set back since."""

    lease_owner: Mapped[str] = mapped_column(String(MAX_TEXT), default="")
    lease_token: Mapped[str] = mapped_column(String(32), default="")
    lease_until: Mapped[datetime | None] = mapped_column(default=None)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    code: Mapped[str] = mapped_column(String(64), default="")
    error: Mapped[str] = mapped_column(Text, default="")
    remedy: Mapped[str] = mapped_column(Text, default="")
    patient_probability: Mapped[float | None] = mapped_column(Float, default=None)
    is_suspicious: Mapped[bool] = mapped_column(default=False)
    """Of this answer; where the job has none, of the study's answer before."""

    levels: Mapped[list[Any]] = mapped_column(default=list)
    """One ``{"level", "label", "probability", "is_suspicious", "coverage"}`` for each of C1 to C7."""

    result_folder: Mapped[str] = mapped_column(String(MAX_TEXT), default="")
    """Relative to the spool; empty where there is no result, or where it was removed."""

    results_removed_at: Mapped[datetime | None] = mapped_column(default=None)

    study: Mapped[Study] = relationship(back_populates="jobs")
    deliveries: Mapped[list[Delivery]] = relationship(
        back_populates="job", cascade="all, delete-orphan", order_by="Delivery.id"
    )
    reviews: Mapped[list[Review]] = relationship(
        back_populates="job", cascade="all, delete-orphan", order_by="Review.id"
    )


class Delivery(Base):
    """A result on its way to one destination."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("job_id", "destination", name="uq_delivery_job_destination"),
        Index("ix_delivery_claim", "state", "not_before", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    destination: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default=DeliveryState.WAITING)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime]
    postponed_at: Mapped[datetime | None] = mapped_column(default=None)
    lease_token: Mapped[str] = mapped_column(String(32), default="")
    lease_until: Mapped[datetime | None] = mapped_column(default=None)
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None] = mapped_column(default=None)
    error: Mapped[str] = mapped_column(Text, default="")

    job: Mapped[Job] = relationship(back_populates="deliveries")


class Review(Base):
    """What a reader says of one level, or of the patient (level ``patient_overall``)."""

    __tablename__ = "review"
    __table_args__ = (Index("ix_review_job", "job_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    level: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[str] = mapped_column(String(16))
    """``accept`` or ``reject`` of what the server says, or ``unsure``."""

    comment: Mapped[str] = mapped_column(Text, default="")
    user: Mapped[str] = mapped_column(String(MAX_TEXT))
    created_at: Mapped[datetime]

    job: Mapped[Job] = relationship(back_populates="reviews")


class AuditEntry(Base):
    """Who did what, and when; identifiers of records, never names of patients."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_at", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(MAX_TEXT))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(MAX_TEXT), default="")
    detail: Mapped[str] = mapped_column(Text, default="")


class Process(Base):
    """A process of the server that gives signs of life."""

    __tablename__ = "process"

    name: Mapped[str] = mapped_column(String(MAX_TEXT), primary_key=True)
    """Role, host and number, such as ``worker@ct-server:1``."""

    role: Mapped[str] = mapped_column(String(32))
    host: Mapped[str] = mapped_column(String(MAX_TEXT))
    pid: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    information: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Commitment(Base):
    """A request for storage commitment whose result has not been sent yet."""

    __tablename__ = "commitment"

    id: Mapped[int] = mapped_column(primary_key=True)
    transaction_uid: Mapped[str] = mapped_column(String(MAX_TEXT), unique=True)
    ae_title: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(MAX_TEXT))
    references: Mapped[list[Any]] = mapped_column(default=list)
    """Pairs of SOP class and SOP instance UID."""

    created_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    not_before: Mapped[datetime]
    is_sent: Mapped[bool] = mapped_column(default=False)
