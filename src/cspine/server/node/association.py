"""One association of the node: pynetdicom's, with a bound on every wait, size and message."""

import logging
import queue
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.transport import AssociationSocket

from cspine.server.node.access import Access
from cspine.server.node.messages import StreamingMessages, discard_object

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity

MAX_NEGOTIATION_BYTES: Final = 524_288
"""Largest PDU other than data: a request with 128 contexts of 40 transfer syntaxes each takes 350 kB."""

_PDV_HEADER_BYTES: Final = 64
_POLL_S: Final = 0.1
_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class AssociationLimits:
    """What an association may take.

    Attributes
    ----------
    max_object_bytes : int
        Largest object.
    timeout_s : float
        Longest time for a PDU to arrive as a whole, and between two.
    new_file : callable
        Returns the path of a new file for an object.
    """

    max_object_bytes: int
    timeout_s: float
    new_file: Callable[[], Path]


class NodeSocket(AssociationSocket):
    """A connection whose reads end: a PDU has to arrive within the time, and has a largest size.

    pynetdicom waits without end for the rest of a PDU, and takes 4 GB of memory where the length says so.
    """

    has_ended = False
    """Whether the peer has closed the connection, or it failed."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Read bytes; fewer where the peer has closed the connection.

        Raises
        ------
        OSError
            Too many bytes, or they did not arrive in time.
        """
        if nr_bytes > max(MAX_NEGOTIATION_BYTES, (self.assoc.acceptor.maximum_length or 0) + _PDV_HEADER_BYTES):
            raise OSError("a PDU is larger than was negotiated")
        connection = self.socket
        if connection is None:
            return bytearray()
        data = bytearray(nr_bytes)
        self.has_ended = True
        view, n_read, timeout_s = memoryview(data), 0, self.assoc.network_timeout or 60.0
        deadline = time.monotonic() + timeout_s
        try:
            while n_read < nr_bytes:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                n_new = connection.recv_into(view[n_read:])
                if not n_new:
                    break
                n_read += n_new
            self.has_ended = n_read < nr_bytes
        finally:
            view.release()
            with suppress(OSError):
                connection.settimeout(timeout_s)
        del data[n_read:]
        return data


class _Transport(DULServiceProvider):
    """The state machine; an error in it ends the association instead of leaving its thread dead."""

    def receive_pdu(self, wait: bool = False, timeout: float | None = None) -> Any:  # noqa: ANN401 - any primitive
        """Return the next primitive; None at once where the connection has ended, instead of after the timeout."""
        deadline = time.monotonic() + (timeout or 0.0)
        primitive: Any = super().receive_pdu(wait, _POLL_S if wait else None)
        while primitive is None and wait:
            if time.monotonic() > deadline or getattr(self.socket, "has_ended", False):
                return super().receive_pdu()
            primitive = super().receive_pdu(wait, _POLL_S)
        return primitive

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except Exception as error:  # noqa: BLE001 - a peer's input must not end anything else
            _LOGGER.warning("an association is aborted (%s)", type(error).__name__)
            abort = A_ABORT_RQ()
            abort.source, abort.reason_diagnostic = 0x02, 0x00
            if self.socket is not None and self.socket.socket is not None:
                self.socket.send(abort.encode())
            self.assoc.is_aborted = True
            self.assoc.is_established = False
            self.assoc._kill = True  # noqa: SLF001 - as pynetdicom does for errors of its own
            close_socket(self.socket)


class _Negotiation(ACSE):
    """Negotiation that begins with the list of peers; an error in it accepts nobody."""

    def negotiate_association(self) -> None:
        association = self.assoc
        if isinstance(association, NodeAssociation) and not association.admit():
            return
        super().negotiate_association()


class NodeAssociation(Association):
    """An association that somebody else requested.

    Parameters
    ----------
    entity : ApplicationEntity
        Our application entity.
    access : Access
        Who may use the node.
    limits : AssociationLimits
        What it may take.
    """

    def __init__(self, entity: "ApplicationEntity", access: Access, limits: AssociationLimits) -> None:
        super().__init__(entity, "acceptor")
        self.daemon = True
        self._access = access
        self._is_counted = False
        self.dul = _Transport(self)
        self.dul.daemon = True
        self.acse = _Negotiation(self)
        self.messages = StreamingMessages(self, limits.new_file, limits.max_object_bytes)
        self.dimse = self.messages
        self.acse_timeout = self.dimse_timeout = self.network_timeout = limits.timeout_s
        self._reports: queue.Queue[N_EVENT_REPORT] = queue.Queue()

    def _bind_defaults(self) -> None:
        """Bind the handlers of services, not those that log what was received."""
        for event in evt._INTERVENTION_EVENTS:  # noqa: SLF001 - as the base class does
            self.bind(event, evt.get_default_handler(event))

    @property
    def address(self) -> str:
        """The peer's address."""
        return str(self.requestor.address)

    @property
    def calling(self) -> str:
        """The peer's AE title."""
        return str(self.requestor.ae_title).strip()

    def admit(self) -> bool:
        """Return whether the association may go on; otherwise it is rejected."""
        request: Any = self.requestor.primitive
        calling, called = str(request.calling_ae_title), str(request.called_ae_title)
        refusal = self._access.admit_association(calling, called, self.address)
        if refusal is None:
            self._is_counted = True
            return True
        _LOGGER.warning("an association from %s is refused (%s)", self.address, refusal.name.lower().replace("_", " "))
        self.acse.send_reject(*refusal.value)
        self.kill()
        return False

    def run_reactor(self) -> None:
        """Serve the association until it ends, and leave nothing of it."""
        try:
            super().run_reactor()
        except Exception as error:  # noqa: BLE001 - a peer's input must not end anything else
            _LOGGER.warning("an association is aborted (%s)", type(error).__name__)
        finally:
            close_socket(self.dul.socket)
            self.dul.kill_dul()
            self.dul.join(self.network_timeout)
            self.messages.discard()
            if self._is_counted:
                self._access.end_association(self.address)
            self._access.end_connection(self.address)

    def _serve_request(self, message: Any, context_id: int) -> None:  # noqa: ANN401 - any primitive
        """Serve the services that the node has, in the contexts that were negotiated for them."""
        if isinstance(message, N_EVENT_REPORT) and message.is_valid_response:
            self._reports.put(message)
            return
        context = self._accepted_cx.get(context_id)
        uid = getattr(message, "AffectedSOPClassUID", None) or getattr(message, "RequestedSOPClassUID", None)
        is_service = isinstance(message, (C_ECHO, C_STORE, N_ACTION)) and message.is_valid_request
        try:
            if is_service and context is not None and uid == context.abstract_syntax:
                super()._serve_request(message, context_id)
            else:
                _LOGGER.warning("an association from %s is aborted (a request outside its context)", self.address)
                self.abort()
        finally:
            discard_object(message)

    def send_report(self, class_uid: str, instance_uid: str, event_type: int, information: Dataset) -> bool:
        """Send an N-EVENT-REPORT and return whether the peer took it.

        `send_n_event_report` of the base class would take the next request of the peer for the response.

        Parameters
        ----------
        class_uid, instance_uid : str
            SOP class and instance that the report is about.
        event_type : int
            Number of the event.
        information : Dataset
            Its event information.
        """
        context = next((each for each in self.accepted_contexts if each.abstract_syntax == class_uid), None)
        if not self.is_established or context is None or context.context_id is None:
            return False
        syntax = context.transfer_syntax[0]
        data = encode(information, syntax.is_implicit_VR, syntax.is_little_endian)
        if data is None:
            return False
        request = N_EVENT_REPORT()
        request.MessageID = 1
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(class_uid), UID(instance_uid)
        request.EventTypeID, request.EventInformation = event_type, BytesIO(data)
        self.messages.send_msg(request, context.context_id)
        try:
            return self._reports.get(timeout=self.dimse_timeout).Status == 0
        except queue.Empty:
            return False


def close_socket(connection: AssociationSocket | None) -> None:
    """Close a connection at once; reads that wait for it end."""
    raw = connection.socket if connection is not None else None
    if raw is not None:
        with suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            raw.close()


def wrap_tls(connection: socket.socket, context: ssl.SSLContext) -> socket.socket:
    """Return a connection with TLS whose handshake takes place at the first read.

    The thread that accepts connections must not wait for a peer that says nothing.
    """
    return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
