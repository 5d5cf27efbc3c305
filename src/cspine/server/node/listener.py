"""The socket that listens: who may connect, and an association for each who does."""

import logging
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any, Final, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, RequestHandler

from cspine.server.node.access import Access
from cspine.server.node.association import AssociationLimits, NodeAssociation, NodeSocket, close_socket, wrap_tls

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity

_LOGGER: Final = logging.getLogger(__name__)


class _Handler(RequestHandler):
    """Makes a `NodeAssociation` of a connection."""

    def _create_association(self) -> Association:
        server = cast("Listener", self.server)
        association = NodeAssociation(self.ae, server.access, server.limits)
        association._server = server  # noqa: SLF001 - as the base class does
        association.set_socket(NodeSocket(association, client_socket=self.request))
        local = association.acceptor
        local.maximum_length = self.ae.maximum_pdu_size
        local.ae_title = server.ae_title
        local.address_info = self.local
        local.implementation_class_uid = self.ae.implementation_class_uid
        local.implementation_version_name = self.ae.implementation_version_name
        local.supported_contexts = server.contexts
        association.requestor.address_info = self.remote
        for event, handler in server.services.items():
            association.bind(event, handler)
        server.associations.append(association)
        return association


class Listener(AssociationServer):
    """Accepts connections and begins an association for each.

    Parameters
    ----------
    entity : ApplicationEntity
        Our application entity with its contexts.
    address : tuple of str and int
        Where to listen.
    services : dict
        Handlers of the services, by event.
    access : Access
        Who may connect.
    limits : AssociationLimits
        What each association may take.
    ssl_context : ssl.SSLContext, optional
        For TLS.
    """

    request_queue_size = 64

    def __init__(
        self,
        entity: "ApplicationEntity",
        address: tuple[str, int],
        services: dict[evt.EventType, Any],
        *,
        access: Access,
        limits: AssociationLimits,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.access, self.limits, self.services = access, limits, services
        self.associations: list[NodeAssociation] = []
        super().__init__(
            entity, address, entity.ae_title, entity.supported_contexts, ssl_context, request_handler=_Handler
        )

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; of TLS the handshake follows in the association's own thread."""
        connection, address = cast("socket.socket", self.socket).accept()
        connection.settimeout(self.limits.timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.ssl_context is not None:
            connection = wrap_tls(connection, self.ssl_context)
        return connection, address

    def verify_request(self, request: object, client_address: Any) -> bool:  # noqa: ANN401, ARG002 - socketserver's
        """Return whether the peer may connect; if not, its connection is closed without an answer."""
        if self.access.admit_connection(str(client_address[0])):
            return True
        _LOGGER.warning("a connection from %s is closed (unknown address, or too many)", client_address[0])
        return False

    def service_actions(self) -> None:
        """Forget associations that have ended."""
        self.associations = [each for each in self.associations if each.is_alive()]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - socketserver's
        """Log that an association could not begin; the base class prints a traceback."""
        _LOGGER.warning("an association could not begin (%s)", type(sys.exception()).__name__)
        self.access.end_connection(str(client_address[0]))

    def shutdown(self) -> None:
        """Stop to accept connections."""
        super(AssociationServer, self).shutdown()  # the override expects a server that pynetdicom keeps in a list
        self.server_close()

    def end_associations(self) -> None:
        """End what still runs: at once, whatever the peer does."""
        for association in self.associations:
            if association.is_alive():
                close_socket(association.dul.socket)
        for association in self.associations:
            association.join(5.0)
