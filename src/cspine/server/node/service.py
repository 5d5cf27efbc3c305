"""The node as a whole: listen, serve, and end in bounded time."""

import logging
import threading
import time
from typing import Final

from pynetdicom import AE, evt

from cspine.core.errors import InputError
from cspine.core.logging import quiet_logger
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.server.database.engine import Database
from cspine.server.node.access import Access
from cspine.server.node.association import AssociationLimits
from cspine.server.node.commitment import CommitmentService
from cspine.server.node.contexts import supported_contexts
from cspine.server.node.listener import Listener
from cspine.server.node.storage import ObjectReceiver, StorageService
from cspine.server.settings import ServerSettings
from cspine.server.spool.folders import Spool
from cspine.server.spool.receive import Receiver
from cspine.server.tls import server_context

GRACE_S: Final = 10.0
"""How long associations may go on after the node is asked to end; what is cut off, its sender sends again."""

_LOGGER: Final = logging.getLogger(__name__)


class Node:
    """The DICOM node of a server.

    Parameters
    ----------
    settings : ServerSettings
        Its address, peers and limits.
    database : Database
        Where objects and requests for commitment are recorded.
    spool : Spool
        Where objects lie.
    receiver : ObjectReceiver, optional
        What takes objects into the spool; the spool's own where omitted.

    Raises
    ------
    InputError
        The address cannot be listened on, or the certificates cannot be used.
    """

    def __init__(
        self, settings: ServerSettings, database: Database, spool: Spool, receiver: ObjectReceiver | None = None
    ) -> None:
        node = settings.node
        entity = AE(ae_title=node.ae_title)
        entity.maximum_pdu_size = node.max_pdu_bytes
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = node.timeout_s
        entity.maximum_associations = 2**16  # `Access` counts them
        entity.supported_contexts = supported_contexts()
        self.access = Access(node)
        self._commitment = CommitmentService(node, database, spool)
        storage = StorageService(receiver or Receiver(settings, database, spool))
        limits = AssociationLimits(round(settings.intake.max_object_mb * 1e6), node.timeout_s, spool.incoming)
        try:
            self._listener = Listener(
                entity,
                (node.host, node.port),
                {
                    evt.EVT_C_ECHO: _echo,
                    evt.EVT_C_STORE: storage.handle,
                    evt.EVT_N_ACTION: self._commitment.handle,
                    evt.EVT_RELEASED: storage.end,
                },
                access=self.access,
                limits=limits,
                ssl_context=server_context(node.tls) if node.tls is not None else None,
            )
        except OSError as error:
            raise InputError(
                f"node: cannot listen on {node.host}:{node.port} ({error.strerror}); choose another host or port"
            ) from error
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._listener.serve_forever, args=(0.1,), name="node-listener", daemon=True),
            threading.Thread(target=self._commitment.run, args=(self._stop,), name="node-commitment", daemon=True),
        ]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.server_address[1])

    def start(self) -> None:
        """Begin to serve, in threads."""
        for thread in self._threads:
            thread.start()
        _LOGGER.info("the node listens on port %d", self.port)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Accept nobody, let associations end for a while, then end those that still run."""
        self._listener.shutdown()
        deadline = time.monotonic() + grace_s
        while self.access.n_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        self._listener.end_associations()
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)


def run_node(settings: ServerSettings, database: Database, spool: Spool, stop: threading.Event) -> None:
    """Run the node until `stop` is set, and end within `GRACE_S` and a few seconds.

    Raises
    ------
    InputError
        As by `Node`.
    """
    silent = logging.CRITICAL + 1  # its records hold what was received
    with quiet_logger("pynetdicom", silent), suppress_pydicom_warnings():
        node = Node(settings, database, spool)
        node.start()
        try:
            stop.wait()
        finally:
            node.stop()


def _echo(event: evt.Event) -> int:  # noqa: ARG001 - pynetdicom's
    return 0x0000
