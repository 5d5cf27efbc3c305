"""DIMSE messages with bounds: objects go to disk as they arrive, commands and other data sets have a largest size."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA

from cspine.server.node.incoming import IncomingObject

if TYPE_CHECKING:
    from pynetdicom.association import Association

MAX_COMMAND_BYTES: Final = 65_536
"""Largest command set; real ones take a few hundred bytes."""

MAX_DATA_BYTES: Final = 16_777_216
"""Largest data set that is held in memory: a request for storage commitment of about 100,000 objects."""

MAX_PENDING: Final = 8
"""Most messages that wait; no asynchronous operations are negotiated, so that one is expected."""

_COMMAND: Final = 1
_LAST: Final = 2
"""Bits of the message control header (PS3.8, annex E.2)."""


class ProtocolError(Exception):
    """A peer does not keep to the protocol, or exceeds a bound; its association is aborted."""


class StreamingMessages(DIMSEServiceProvider):
    """The messages of one association.

    pynetdicom joins the fragments of a message in memory without a bound, and its option for chunks leaves files in the
    system's temporary folder where an association is dropped. Here the data set of a C-STORE is an `IncomingObject`,
    which the request carries as `_dataset_path`.

    Parameters
    ----------
    association : Association
        The association that the messages belong to.
    new_file : callable
        Returns the path of a new file on the spool's file system; it may raise OSError or an error of ours.
    max_object_bytes : int
        Largest object, in bytes. Of a larger one as many bytes again are discarded before the association is aborted.
    """

    def __init__(self, association: "Association", new_file: Callable[[], Path], max_object_bytes: int) -> None:
        super().__init__(association)
        self._new_file = new_file
        self._max_object_bytes = max_object_bytes
        self._object: IncomingObject | None = None
        self._context_id: int | None = None
        self._n_command_bytes = 0
        self._n_data_bytes = 0
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._has_ended = False

    def send_msg(self, primitive: Any, context_id: int) -> None:  # noqa: ANN401 - any message
        """Send a message as a whole: a response and a report come from two threads."""
        with self._sending:
            super().send_msg(primitive, context_id)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Process the fragments of a P-DATA primitive.

        Raises
        ------
        ProtocolError
            Fragments are out of order, a bound is exceeded, or the association has ended.
        """
        with self._receiving:
            if self._has_ended:
                raise ProtocolError("data after the end of the association")
            for context_id, fragment in primitive.presentation_data_value_list:
                if not fragment:
                    raise ProtocolError("a fragment without a message control header")
                if self._object is None:
                    self._receive_in_memory(context_id, fragment)
                else:
                    self._receive_object(self._object, context_id, fragment)

    def discard(self) -> None:
        """Remove the files of objects that were not handled, and receive nothing more: the association has ended."""
        with self._receiving:
            self._has_ended = True
            if self._object is not None:
                self._object.discard()
            while not self.msg_queue.empty():
                discard_object(self.msg_queue.get()[1])

    def _receive_in_memory(self, context_id: int, fragment: bytes) -> None:
        is_command = bool(fragment[0] & _COMMAND)
        if self._context_id is None:
            self._context_id = context_id
        has_command = self.message is not None and self.message.context_id is not None
        if context_id != self._context_id or is_command == has_command:
            raise ProtocolError("fragments are out of order")
        if is_command:
            self._n_command_bytes += len(fragment)
        else:
            self._n_data_bytes += len(fragment)
        if self._n_command_bytes > MAX_COMMAND_BYTES or self._n_data_bytes > MAX_DATA_BYTES:
            raise ProtocolError("a message is too large")
        if self.msg_queue.qsize() >= MAX_PENDING:
            raise ProtocolError("messages are sent without waiting for responses")
        self._decode(context_id, fragment)
        if type(self.message) is C_STORE_RQ:  # its command is complete, and a data set follows
            self._object = self._begin_object(context_id)

    def _begin_object(self, context_id: int) -> IncomingObject:
        message = self.message
        context = self.assoc._accepted_cx.get(context_id)  # noqa: SLF001 - pynetdicom's own way
        if context is None or message is None:
            raise ProtocolError("a presentation context that was not accepted")
        try:
            incoming = IncomingObject(self._new_file(), self._max_object_bytes)
        except Exception as error:  # noqa: BLE001 - the sender gets the status, once the object is received
            incoming = IncomingObject(None, self._max_object_bytes)
            incoming.failure = error
            return incoming
        command = message.command_set
        incoming.begin(
            str(command.get("AffectedSOPClassUID", "")),
            str(command.get("AffectedSOPInstanceUID", "")),
            str(context.transfer_syntax[0]),
        )
        return incoming

    def _receive_object(self, incoming: IncomingObject, context_id: int, fragment: bytes) -> None:
        if fragment[0] & _COMMAND or context_id != self._context_id:
            raise ProtocolError("fragments are out of order")
        incoming.write(memoryview(fragment)[1:])
        if incoming.n_received > 2 * self._max_object_bytes:
            raise ProtocolError("an object is too large")
        if fragment[0] & _LAST and self.message is not None:
            incoming.end()
            self.message._data_set_path = incoming  # type: ignore[assignment]  # noqa: SLF001 - reaches the request
            if self._decode(context_id, bytes([_LAST])):  # the request, which waits now, has the object
                self._object = None

    def _decode(self, context_id: int, fragment: bytes) -> bool:
        """Let pynetdicom process a fragment; return whether a message is complete: one that is not valid never is."""
        primitive = P_DATA()
        primitive.presentation_data_value_list = [[context_id, fragment]]  # type: ignore[list-item] # its check wants lists
        super().receive_primitive(primitive)
        is_complete = self.message is None
        if is_complete:
            self._context_id = None
            self._n_command_bytes = self._n_data_bytes = 0
        return is_complete


def discard_object(message: object) -> None:
    """Remove the file of the object that a request brought; without effect on one that was moved to its place."""
    incoming = getattr(message, "_dataset_path", None)
    if isinstance(incoming, IncomingObject):
        incoming.discard()
