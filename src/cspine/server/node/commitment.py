"""Storage commitment: requests are recorded, looked up among the spool's files, and answered by N-EVENT-REPORT.

The answer goes over the association of the request where that is still open, otherwise over a new one to the peer that
the settings name.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.events import Event
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from cspine.core.errors import CspineError
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.tables import Commitment
from cspine.server.errors import RejectedObject
from cspine.server.node.association import NodeAssociation
from cspine.server.node.contexts import STORAGE_COMMITMENT
from cspine.server.settings import NodeSettings
from cspine.server.spool.folders import Spool, object_name
from cspine.server.spool.headers import read_object_header
from cspine.server.tls import client_context

INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""The well-known instance of the Storage Commitment Push Model (PS3.4, J.3.5)."""

MAX_REFERENCES: Final = 100_000
MAX_ATTEMPTS: Final = 12

_NO_SUCH_OBJECT, _CLASS_CONFLICT, _PROCESSING_FAILURE = 0x0112, 0x0119, 0x0110
_SUCCESS, _INVALID_ARGUMENT, _NO_SUCH_ACTION, _RESOURCE_LIMITATION = 0x0000, 0x0115, 0x0123, 0x0213
_MAX_UID: Final = 64
_DELAY = timedelta(seconds=0.5)
_MAX_BACKOFF_S: Final = 7200.0
_LOGGER: Final = logging.getLogger(__name__)

Reference = tuple[str, str]
"""SOP class and SOP instance UID."""


def find_failures(spool: Spool, references: Iterable[Reference]) -> dict[Reference, int]:
    """Return the references that cannot be committed to, each with its failure reason (PS3.3, C.14).

    Folders are read from the newest on, so that a study that has just been sent is found in the first ones.

    Parameters
    ----------
    spool : Spool
        Where objects lie.
    references : iterable of tuple
        SOP class and SOP instance UID of each object.
    """
    missing = {object_name(reference[1]): reference for reference in references}
    failures: dict[Reference, int] = {}
    for folder in sorted(spool.study_folders(), key=_age, reverse=True):
        if not missing:
            break
        present = missing.keys() & {path.name for path in folder.iterdir()}
        for name in present:
            reference = missing.pop(name)
            if reason := _failure(folder / name, reference):
                failures[reference] = reason
    return failures | dict.fromkeys(missing.values(), _NO_SUCH_OBJECT)


def event_information(transaction_uid: str, references: Sequence[Reference], failures: dict[Reference, int]) -> Dataset:
    """Return the event information of a commitment's result (PS3.4, table J.3-2)."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    committed = [_item(reference) for reference in references if reference not in failures]
    if committed:
        information.ReferencedSOPSequence = committed
    if failures:
        information.FailedSOPSequence = [_item(reference, reason) for reference, reason in failures.items()]
    return information


class CommitmentService:
    """Handles N-ACTION, and sends the results.

    Parameters
    ----------
    settings : NodeSettings
        Peers that results are sent to, and the limits.
    database : Database
        Where requests are recorded, so that none is lost by a restart.
    spool : Spool
        Where objects lie.
    """

    def __init__(self, settings: NodeSettings, database: Database, spool: Spool) -> None:
        self._settings, self._database, self._spool = settings, database, spool
        self._associations: dict[str, NodeAssociation] = {}
        self._lock = threading.Lock()

    def handle(self, event: Event) -> tuple[int, None]:
        """Record a request; return success only once it is recorded."""
        association, request = event.assoc, event.request
        is_request = isinstance(request, N_ACTION) and request.RequestedSOPInstanceUID == INSTANCE
        if not is_request or event.action_type != 1:
            return _NO_SUCH_ACTION, None
        try:
            transaction, references = _read_request(event.action_information)
        except Exception:  # noqa: BLE001 - whatever a damaged data set leads pydicom to
            return _INVALID_ARGUMENT, None
        if not transaction or not 0 < len(references) <= MAX_REFERENCES or not isinstance(association, NodeAssociation):
            return _INVALID_ARGUMENT, None
        try:
            self._record(transaction, references, association)
        except SQLAlchemyError as error:
            _LOGGER.warning("a request for storage commitment could not be recorded (%s)", type(error).__name__)
            return _RESOURCE_LIMITATION, None
        with self._lock:
            self._associations[transaction] = association
        return _SUCCESS, None

    def run(self, stop: threading.Event, poll_s: float = 0.5) -> None:
        """Send results until `stop` is set."""
        while not stop.wait(poll_s):
            try:
                while not stop.is_set() and self.send_next():
                    pass
            except (SQLAlchemyError, OSError, CspineError) as error:
                _LOGGER.warning("storage commitment waits (%s)", type(error).__name__)

    def send_next(self) -> bool:
        """Send the result that is due first; return whether there was one."""
        now = utc_now()
        with self._database.session() as session:
            query = select(Commitment).where(Commitment.not_before <= now, ~Commitment.is_sent)
            commitment = session.scalar(query.order_by(Commitment.id).limit(1).with_for_update(skip_locked=True))
            if commitment is None:
                return False
            commitment.attempts += 1
            wait_s = min(10.0 * 2**commitment.attempts, _MAX_BACKOFF_S)  # a node that is killed meanwhile tries again
            commitment.not_before = now + timedelta(seconds=wait_s)
        references = [(str(uids[0]), str(uids[1])) for uids in commitment.references]
        failures = find_failures(self._spool, references)
        information = event_information(commitment.transaction_uid, references, failures)
        is_sent = self._send(commitment, 2 if failures else 1, information)
        if is_sent or commitment.attempts >= MAX_ATTEMPTS:
            with self._database.session() as session:
                session.delete(session.merge(commitment))
        if not is_sent:
            _LOGGER.warning(
                "the result of a storage commitment could not be sent to %s (attempt %d); the peer has to be one of "
                "node.commitment_peers, and listen", commitment.ae_title, commitment.attempts,
            )  # fmt: skip
        return True

    def _record(self, transaction: str, references: list[Reference], association: NodeAssociation) -> None:
        now = utc_now()
        with self._database.session() as session:
            query = select(Commitment).where(Commitment.transaction_uid == transaction)
            commitment = session.scalar(query) or Commitment(transaction_uid=transaction, created_at=now)
            commitment.ae_title, commitment.address = association.calling[:16], association.address
            commitment.references = [list(reference) for reference in references]
            commitment.attempts, commitment.not_before, commitment.is_sent = 0, now + _DELAY, False
            session.add(commitment)

    def _send(self, commitment: Commitment, event_type: int, information: Dataset) -> bool:
        with self._lock:
            self._associations = {uid: each for uid, each in self._associations.items() if each.is_established}
            association = self._associations.pop(commitment.transaction_uid, None)
        if association is not None and association.send_report(STORAGE_COMMITMENT, INSTANCE, event_type, information):
            return True
        peers = [each for each in self._settings.commitment_peers if each.ae_title.strip() == commitment.ae_title]
        return any(self._send_anew(peer.host, peer.port, peer.ae_title, event_type, information) for peer in peers)

    def _send_anew(self, host: str, port: int, ae_title: str, event_type: int, information: Dataset) -> bool:
        """Send a result over a new association, in which we are the provider (SCP) of the service."""
        entity = AE(ae_title=self._settings.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = self._settings.timeout_s
        entity.network_timeout = self._settings.timeout_s
        entity.add_requested_context(STORAGE_COMMITMENT)
        roles: list[Any] = [build_role(STORAGE_COMMITMENT, scu_role=False, scp_role=True)]
        tls = (client_context(self._settings.tls), host) if self._settings.tls is not None else None
        association = entity.associate(host, port, ae_title=ae_title, ext_neg=roles, tls_args=tls)
        if not association.is_established:
            return False
        try:
            status, _ = association.send_n_event_report(information, event_type, STORAGE_COMMITMENT, INSTANCE)
            return getattr(status, "Status", None) == _SUCCESS
        except ValueError:  # the context was not accepted
            return False
        finally:
            association.release()


def _read_request(information: Dataset) -> tuple[str, list[Reference]]:
    items = information.ReferencedSOPSequence
    references = [(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in items]
    uids = [str(information.TransactionUID), *(uid for reference in references for uid in reference)]
    if any(not 0 < len(uid) <= _MAX_UID for uid in uids):
        raise ValueError("a UID is empty or too long")
    return uids[0], references


def _failure(path: Path, reference: Reference) -> int | None:
    try:
        header = read_object_header(path)
    except RejectedObject:
        return _PROCESSING_FAILURE
    is_same = (header.sop_class_uid, header.sop_instance_uid) == reference
    return None if is_same else _CLASS_CONFLICT


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    if reason is not None:
        item.FailureReason = reason
    return item


def _age(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # retention has removed it
        return 0.0
