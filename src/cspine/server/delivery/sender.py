"""The sender: one queue and one thread for each destination, so that none waits for another."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from cspine.core.errors import CspineError
from cspine.core.logging import quiet_logger
from cspine.server.database.deliveries import (
    FailureKind,
    claim_delivery,
    finish_delivery,
    postpone_delivery,
    renew_delivery,
    supersede_delivery,
    superseded_folders,
)
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.tables import Delivery, DeliveryState, Job
from cspine.server.delivery.outgoing import DeliveryError, LostLeaseError, OutgoingResult, summarize
from cspine.server.settings import DestinationSettings, ServerSettings
from cspine.server.spool.folders import Spool

Send = Callable[[DestinationSettings, OutgoingResult], None]

_POLL_S: Final = 1.0
_GRACE_S: Final = 20.0
"""How long a delivery that is under way may go on after the server is asked to end."""

_MIN_PAUSE_S, _MAX_PAUSE_S = 5.0, 300.0
"""How long a queue waits while its destination cannot be reached; doubles from the first to the second."""

_LOGGER: Final = logging.getLogger(__name__)


class Queue:
    """The deliveries of one destination, sent in order.

    Parameters
    ----------
    destination : DestinationSettings
        Where they go.
    database : Database
        Where they are recorded.
    spool : Spool
        Where the results lie.
    send : callable, optional
        How a result is sent; by the kind of the destination where omitted.
    """

    def __init__(
        self, destination: DestinationSettings, database: Database, spool: Spool, send: Send | None = None
    ) -> None:
        self._destination, self._database, self._spool = destination, database, spool
        self._send = send or _sender_of(destination)
        self._lease_s = 2 * destination.timeout_s + 30.0
        self._pause_s = 0.0
        self._stop = threading.Event()

    def run(self, stop: threading.Event, poll_s: float = _POLL_S) -> None:
        """Send until `stop` is set; of a delivery that is under way, the current object ends first."""
        self._stop = stop
        while not stop.is_set():
            try:
                is_idle = not self.send_next()
            except (SQLAlchemyError, OSError) as error:
                _LOGGER.warning("%s: the queue waits (%s)", self._destination.name, type(error).__name__)
                is_idle = True
            if self._pause_s:
                stop.wait(self._pause_s)
            elif is_idle:
                stop.wait(poll_s)

    def send_next(self) -> bool:
        """Send the delivery that is due first; return False where none is."""
        now = utc_now()
        if not self._has_any():
            return False
        with self._database.session() as session:
            delivery = claim_delivery(session, self._destination.name, lease_s=self._lease_s, now=now)
            if delivery is None:
                return False
            if supersede_delivery(session, delivery):
                _LOGGER.info("delivery %d to %s: a later result goes instead", delivery.id, self._destination.name)
                return True
            lease = _Lease(self._database, delivery, self._lease_s, self._stop)
            result = self._result(delivery.job, lease, superseded_folders(session, delivery))
        begin = time.monotonic()
        try:
            if result is None:
                raise DeliveryError("the result was removed; rerun the study", is_permanent=True)
            self._send(self._destination, result)
        except LostLeaseError:
            _LOGGER.warning("delivery %d to %s is another sender's", delivery.id, self._destination.name)
        except (DeliveryError, CspineError) as error:
            self._postpone(delivery, error)
        except Exception as error:  # noqa: BLE001 - one result must not stop a queue
            self._postpone(delivery, DeliveryError(f"sending failed ({type(error).__name__})"))
        else:
            self._pause_s = 0.0
            with self._database.session() as session:
                finish_delivery(session, delivery.id, delivery.lease_token, now=utc_now())
            seconds = time.monotonic() - begin
            _LOGGER.info("delivery %d to %s: sent in %.1f s", delivery.id, self._destination.name, seconds)
        return True

    def _has_any(self) -> bool:
        """Return whether anything is in the queue; reading waits for no writer."""
        states = (DeliveryState.WAITING, DeliveryState.SENDING)
        query = select(Delivery.id).where(Delivery.destination == self._destination.name, Delivery.state.in_(states))
        with self._database.reading() as session:
            return session.scalar(query.limit(1)) is not None

    def _result(self, job: Job, lease: "_Lease", superseded: list[str]) -> OutgoingResult | None:
        if not job.result_folder or job.results_removed_at is not None:
            return None
        folder: Path = self._spool.absolute(job.result_folder)
        if not folder.is_dir():
            return None
        earlier = tuple(self._spool.absolute(each) for each in superseded)
        return OutgoingResult(folder, f"{job.study.key}-{job.id}", summarize(job), lease.keep, earlier)

    def _postpone(self, delivery: Delivery, error: Exception) -> None:
        name = self._destination.name
        failure: FailureKind = "passing"
        if isinstance(error, DeliveryError) and error.is_permanent:
            failure = "permanent"
        elif isinstance(error, DeliveryError) and error.is_unreachable:
            failure = "passing" if error.is_answered else "unreachable"
            self._pause_s = min(max(2 * self._pause_s, _MIN_PAUSE_S), _MAX_PAUSE_S)
        with self._database.session() as session:
            is_waiting = postpone_delivery(
                session,
                delivery.id,
                delivery.lease_token,
                str(error),
                self._destination,
                now=utc_now(),
                failure=failure,
            )
        outcome = "waits for its next attempt" if is_waiting else "is given up"
        _LOGGER.warning("delivery %d to %s %s: %s", delivery.id, name, outcome, error)


class _Lease:
    """Keeps a delivery's lease while it is sent."""

    def __init__(self, database: Database, delivery: Delivery, lease_s: float, stop: threading.Event) -> None:
        self._stop = stop
        self._database, self._delivery_id, self._token = database, delivery.id, delivery.lease_token
        self._lease_s = lease_s
        self._renewed = time.monotonic()

    def keep(self) -> None:
        """Renew the lease when a third of it is over; raise `LostLeaseError` where it is another's.

        Raises
        ------
        DeliveryError
            The server is being stopped.
        """
        if self._stop.is_set():
            raise DeliveryError("the server was stopped")
        if time.monotonic() - self._renewed < self._lease_s / 3:
            return
        with self._database.session() as session:
            if not renew_delivery(session, self._delivery_id, self._token, lease_s=self._lease_s, now=utc_now()):
                raise LostLeaseError
        self._renewed = time.monotonic()


def run_sender(settings: ServerSettings, database: Database, spool: Spool, stop: threading.Event) -> None:
    """Send the results of every destination until `stop` is set; in silent mode nothing leaves.

    Raises
    ------
    MissingExtraError
        A library of a destination's kind is not installed.
    """
    if settings.storage.silent:
        _LOGGER.info("silent mode: nothing is sent")
        stop.wait()
        return
    with quiet_logger("pynetdicom", logging.CRITICAL + 1), quiet_logger("urllib3", logging.CRITICAL + 1):
        threads = [
            threading.Thread(
                target=Queue(each, database, spool).run, args=(stop,), name=f"queue-{each.name}", daemon=True
            )
            for each in settings.destinations
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        end = time.monotonic() + _GRACE_S
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.0))  # what hangs is sent again by the next process


def _sender_of(destination: DestinationSettings) -> Send:
    """Return the function for a destination's kind; each loads its own library alone."""
    if destination.kind == "dicom":
        from cspine.server.delivery.c_store import send_by_c_store as send  # noqa: PLC0415
    elif destination.kind == "stow":
        from cspine.server.delivery.stow import send_by_stow as send  # noqa: PLC0415
    elif destination.kind == "fhir":
        from cspine.server.delivery.fhir import send_by_fhir as send  # noqa: PLC0415
    elif destination.kind == "webhook":
        from cspine.server.delivery.webhook import send_by_webhook as send  # noqa: PLC0415
    else:
        from cspine.server.delivery.mail import send_by_mail as send  # noqa: PLC0415
    return send
