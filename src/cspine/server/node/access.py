"""Who may use the node, and how many at a time."""

import threading
from collections import Counter
from enum import Enum
from typing import Final

from cspine.server.settings import NodeSettings

SPARE_CONNECTIONS: Final = 8
"""Connections beyond the most associations, so that their senders get an answer, which says that it is our limit."""


class Refusal(Enum):
    """Why an association is refused: result, source and reason of an A-ASSOCIATE-RJ (PS3.8, table 9-21)."""

    UNKNOWN_CALLER = (0x01, 0x01, 0x03)
    """Permanent: the calling AE title, or its address, is not in the list."""

    WRONG_CALLED = (0x01, 0x01, 0x07)
    """Permanent: the called AE title is not ours."""

    TOO_MANY = (0x02, 0x03, 0x02)
    """Transient: the local limit is exceeded."""


class Access:
    """The list of peers and the number of connections and associations.

    Parameters
    ----------
    settings : NodeSettings
        Peers and limits.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._connections: Counter[str] = Counter()
        self._associations: Counter[str] = Counter()
        self._lock = threading.Lock()

    def admit_connection(self, address: str) -> bool:
        """Count a connection and return whether it may go on; of unknown addresses none may."""
        if not any(peer.model_copy(update={"ae_title": "*"}).allows("", address) for peer in self._settings.allow):
            return False
        with self._lock:
            most = self._settings.max_associations + SPARE_CONNECTIONS
            per_peer = self._settings.max_associations_per_peer + SPARE_CONNECTIONS // 2
            if self._connections.total() >= most or self._connections[address] >= per_peer:
                return False
            self._connections[address] += 1
            return True

    def end_connection(self, address: str) -> None:
        """Count a connection less."""
        with self._lock:
            self._connections[address] -= 1
            self._connections = +self._connections

    def admit_association(self, calling: str, called: str, address: str) -> Refusal | None:
        """Count an association and return None; where it may not be, return why.

        Parameters
        ----------
        calling, called : str
            AE titles of the request.
        address : str
            The address that it comes from.
        """
        if called.strip() != self._settings.ae_title.strip():
            return Refusal.WRONG_CALLED
        if not any(peer.allows(calling.strip(), address) for peer in self._settings.allow):
            return Refusal.UNKNOWN_CALLER
        with self._lock:
            if (
                self._associations.total() >= self._settings.max_associations
                or self._associations[address] >= self._settings.max_associations_per_peer
            ):
                return Refusal.TOO_MANY
            self._associations[address] += 1
        return None

    def end_association(self, address: str) -> None:
        """Count an association less."""
        with self._lock:
            self._associations[address] -= 1
            self._associations = +self._associations

    @property
    def n_associations(self) -> int:
        """The number of associations at this moment."""
        with self._lock:
            return self._associations.total()
