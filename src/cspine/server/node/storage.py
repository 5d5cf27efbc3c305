"""C-STORE: an object is acknowledged after it is durable and recorded, and never before."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from cspine.core.errors import CspineError
from cspine.server.errors import RejectedObject, RejectReason, SpoolError
from cspine.server.node.association import NodeAssociation
from cspine.server.node.incoming import IncomingObject, ObjectTooLargeError
from cspine.server.spool.receive import ReceivedObject

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
"""Ours, and passing: the sender sends the object again."""

MISMATCH: Final = 0xA900
NOT_UNDERSTOOD: Final = 0xC000
TOO_LARGE: Final = 0xC001

_STATUS: Final[dict[RejectReason, int]] = {
    "not-dicom": NOT_UNDERSTOOD,
    "no-uid": NOT_UNDERSTOOD,
    "sop-class": MISMATCH,
    "mismatch": MISMATCH,
    "too-large": TOO_LARGE,
}

_MAX_COMMENT: Final = 64
_LOGGER: Final = logging.getLogger(__name__)


class ObjectReceiver(Protocol):
    """What takes a complete file into the spool, as `cspine.server.spool.receive.Receiver` does."""

    def receive(
        self, path: Path, *, source: str, sop_class_uid: str | None = None, sop_instance_uid: str | None = None
    ) -> ReceivedObject:
        """Return once the object is durable and recorded; raise `RejectedObject` or `SpoolError`."""

    def complete(self, keys: Collection[str], *, source: str) -> None:
        """Take note that a sender has sent all of some studies."""


class StorageService:
    """Handles C-STORE.

    Parameters
    ----------
    receiver : ObjectReceiver
        Takes files into the spool.
    """

    def __init__(self, receiver: ObjectReceiver) -> None:
        self._receiver = receiver
        self._keys: WeakKeyDictionary[NodeAssociation, set[str]] = WeakKeyDictionary()

    def end(self, event: Event) -> None:
        """Take note that an association was released: its studies may be complete. One that is aborted says nothing."""
        association = event.assoc
        if isinstance(association, NodeAssociation) and (keys := self._keys.pop(association, None)):
            self._receiver.complete(keys, source=association.calling)

    def handle(self, event: Event) -> Dataset:
        """Return the status of an object: success only where it was taken into the spool."""
        request, association = event.request, event.assoc
        incoming = getattr(request, "_dataset_path", None)
        if not isinstance(incoming, IncomingObject) or not isinstance(association, NodeAssociation):
            return _status(NOT_UNDERSTOOD, "no data set")
        try:
            status = self._store(incoming, association, request)
        finally:
            incoming.discard()
        if status.Status != SUCCESS:
            _LOGGER.warning("an object from %s is refused (status 0x%04X)", association.address, status.Status)
        return status

    def _store(self, incoming: IncomingObject, association: NodeAssociation, request: Any) -> Dataset:  # noqa: ANN401
        if isinstance(incoming.failure, ObjectTooLargeError):
            return _status(TOO_LARGE, "the object is too large")
        if isinstance(incoming.failure, (OSError, CspineError)):
            return _status(OUT_OF_RESOURCES, "the object could not be written")
        if incoming.failure is not None or incoming.path is None:
            return _status(NOT_UNDERSTOOD, "the object's UIDs are not usable")
        try:
            received = self._receiver.receive(
                incoming.path,
                source=association.calling,
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=str(request.AffectedSOPInstanceUID),
            )
        except RejectedObject as error:
            return _status(_STATUS[error.reason], f"the object {error}")
        except SpoolError:
            return _status(OUT_OF_RESOURCES, "the object could not be stored; send it again")
        except Exception as error:  # noqa: BLE001 - an object that is not stored is never acknowledged
            _LOGGER.warning("an object could not be stored (%s)", type(error).__name__)
            return _status(OUT_OF_RESOURCES, f"the object could not be stored ({type(error).__name__})")
        self._keys.setdefault(association, set()).add(received.key)
        return _status(SUCCESS)


def _status(code: int, comment: str = "") -> Dataset:
    status = Dataset()
    status.Status = code
    if comment:
        status.ErrorComment = comment[:_MAX_COMMENT]
    return status
