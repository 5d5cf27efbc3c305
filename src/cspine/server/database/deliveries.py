"""Deliveries: a queue for each destination, in which a result stands once."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from cspine.server.database.studies import CLOCK_TOLERANCE
from cspine.server.database.tables import Delivery, DeliveryState, Job, JobState
from cspine.server.settings import DestinationSettings

MAX_BACKOFF_S: Final = 3600.0

FailureKind = Literal["passing", "permanent", "unreachable"]
"""Whether a delivery that failed may succeed later, can never, or found nobody there."""

_MAX_ERROR: Final = 500
_NOT_CONFIGURED: Final = "the destination is not configured any more; add it under its name, and send again"


def create_deliveries(
    session: Session, job: Job, destinations: Sequence[DestinationSettings], *, now: datetime
) -> list[Delivery]:
    """Put the result of a job into the queues of the destinations that want it, or that were to get an earlier one.

    Where a suspicious result went, the one that supersedes it goes, too, whatever the destination's rule. So it does
    where the suspicious one still waits: that one is taken out of the queue, and a part of it may have arrived.
    """
    query = select(Delivery.destination).join(Job).where(Job.study_id == job.study_id)
    corrected = set(session.scalars(query))
    deliveries = [
        Delivery(job=job, destination=each.name, created_at=now, not_before=now, postponed_at=now)
        for each in destinations
        if wants(each, job) or each.name in corrected
    ]
    session.add_all(deliveries)
    return deliveries


def wants(destination: DestinationSettings, job: Job) -> bool:
    """Return whether a destination gets the result of a job; mails are sent of suspicious ones alone."""
    if destination.send == "suspicious" or destination.kind == "mail":
        return job.is_suspicious
    return destination.send == "all" or job.state == JobState.DONE


def claim_delivery(session: Session, destination: str, *, lease_s: float, now: datetime) -> Delivery | None:
    """Return the next delivery of a destination with a new lease; None where nothing is due.

    A delivery whose sender was killed is taken over after its lease, and sent again: its objects have the same UIDs, so
    that the destination holds them once.
    """
    is_due = or_(Delivery.not_before <= now, Delivery.postponed_at > now + CLOCK_TOLERANCE)
    is_waiting = and_(Delivery.state == DeliveryState.WAITING, is_due)
    horizon = now + timedelta(seconds=lease_s) + CLOCK_TOLERANCE
    is_abandoned = and_(
        Delivery.state == DeliveryState.SENDING, or_(Delivery.lease_until < now, Delivery.lease_until > horizon)
    )
    query = (
        select(Delivery)
        .where(Delivery.destination == destination, or_(is_waiting, is_abandoned))
        .order_by(Delivery.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    delivery = session.scalar(query)
    if delivery is not None:
        delivery.state = DeliveryState.SENDING
        delivery.attempts += 1
        delivery.lease_token = secrets.token_hex(16)
        delivery.lease_until = now + timedelta(seconds=lease_s)
        session.flush()
    return delivery


def renew_delivery(session: Session, delivery_id: int, token: str, *, lease_s: float, now: datetime) -> bool:
    """Prolong the lease of a delivery that is being sent; return False where it is another's."""
    delivery = _leased(session, delivery_id, token)
    if delivery is None:
        return False
    delivery.lease_until = now + timedelta(seconds=lease_s)
    return True


def supersede_delivery(session: Session, delivery: Delivery) -> bool:
    """Take a delivery out of its queue where its study has a later answer; return whether it has.

    Deliveries that failed for a while may otherwise arrive after the later one, and stand as the newest at the
    destination.
    """
    answers = (JobState.DONE, JobState.NOT_ASSESSABLE)
    query = select(Job.id).where(
        Job.study_id == delivery.job.study_id, Job.id > delivery.job_id, Job.state.in_(answers)
    )
    if session.scalar(query.limit(1)) is None:
        return False
    delivery.state = DeliveryState.SUPERSEDED
    delivery.lease_token, delivery.lease_until = "", None
    return True


def superseded_folders(session: Session, delivery: Delivery) -> list[str]:
    """Return the folders of the study's earlier results that did not go to the destination.

    Rejection notes in them are of results before those, which the destination may hold.
    """
    query = (
        select(Job.result_folder)
        .join(Delivery)
        .where(
            Job.study_id == delivery.job.study_id,
            Job.id < delivery.job_id,
            Job.result_folder != "",
            Delivery.destination == delivery.destination,
            Delivery.state == DeliveryState.SUPERSEDED,
        )
    )
    return list(session.scalars(query.order_by(Job.id)))


def finish_delivery(session: Session, delivery_id: int, token: str, *, now: datetime) -> bool:
    """Record that a delivery has arrived; return False where its lease is another's."""
    delivery = _leased(session, delivery_id, token)
    if delivery is None:
        return False
    delivery.state, delivery.sent_at, delivery.error = DeliveryState.SENT, now, ""
    delivery.lease_token, delivery.lease_until = "", None
    return True


def postpone_delivery(
    session: Session,
    delivery_id: int,
    token: str,
    error: str,
    destination: DestinationSettings,
    *,
    now: datetime,
    failure: FailureKind = "passing",
) -> bool:
    """Let a delivery that failed wait for its next attempt; give it up after the last. Return whether it waits.

    Attempts at a destination that cannot be reached do not count: it is waited for, and the order stays.
    """
    delivery = _leased(session, delivery_id, token)
    if delivery is None:
        return False
    delivery.error = error[:_MAX_ERROR]
    delivery.lease_token, delivery.lease_until = "", None
    if failure == "unreachable":
        delivery.attempts -= 1
    if failure == "permanent" or delivery.attempts >= destination.max_attempts:
        delivery.state = DeliveryState.FAILED
        return False
    wait_s = min(destination.backoff_s * 2 ** min(max(delivery.attempts - 1, 0), 30), MAX_BACKOFF_S)
    wait_s *= 0.75 + secrets.randbelow(500) / 1000.0  # deliveries that failed together do not come back together
    delivery.state, delivery.postponed_at = DeliveryState.WAITING, now
    delivery.not_before = now + timedelta(seconds=wait_s)
    return True


def retry_delivery(session: Session, delivery_id: int, *, now: datetime) -> bool:
    """Put a delivery that was given up back into its queue; return False where it was not."""
    delivery = session.get(Delivery, delivery_id, with_for_update=True)
    if delivery is None or delivery.state != DeliveryState.FAILED:
        return False
    delivery.state, delivery.attempts = DeliveryState.WAITING, 0
    delivery.not_before = delivery.postponed_at = now
    return True


def close_deliveries(session: Session, destinations: Collection[str]) -> int:
    """Give up what waits for destinations that are configured no more; return the number.

    Nobody would send it, and it would keep its results from retention. A destination that comes back under its name can
    be sent to again (`retry_delivery`).
    """
    query = (
        select(Delivery)
        .where(Delivery.destination.not_in(sorted(destinations)), Delivery.state == DeliveryState.WAITING)
        .with_for_update(skip_locked=True)
    )
    deliveries = list(session.scalars(query))
    for delivery in deliveries:
        delivery.state, delivery.error = DeliveryState.FAILED, _NOT_CONFIGURED
    return len(deliveries)


def _leased(session: Session, delivery_id: int, token: str) -> Delivery | None:
    query = select(Delivery).where(
        Delivery.id == delivery_id, Delivery.lease_token == token, Delivery.state == DeliveryState.SENDING
    )
    return session.scalar(query.with_for_update())
