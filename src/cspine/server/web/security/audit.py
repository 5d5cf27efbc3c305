"""The audit log of the HTTP interface: who did what and when; identifiers of records, never names of patients."""

import time
from collections import OrderedDict
from threading import Lock
from typing import Final

from cspine.server.database.audit import record_audit
from cspine.server.database.engine import Database, utc_now

_REPEAT_S: Final = 600.0
"""The same access by the same user is one entry in so many seconds: a viewer asks for thousands of frames."""

_MAX_KEPT: Final = 10_000


class AuditLog:
    """Records accesses and changes.

    Parameters
    ----------
    database : Database
        Receives the entries.
    """

    def __init__(self, database: Database) -> None:
        self._database, self._lock = database, Lock()
        self._last: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def record(self, actor: str, action: str, subject: str = "", detail: str = "") -> None:
        """Record what was done, such as a change."""
        with self._database.session() as session:
            record_audit(session, actor, action, subject, detail, now=utc_now())

    def record_access(self, actor: str, action: str, subject: str) -> None:
        """Record that something was looked at; once in ten minutes for each user, action and subject."""
        key, now = (actor, action, subject), time.monotonic()
        with self._lock:
            last = self._last.pop(key, None)
            self._last[key] = now if last is None or now - last > _REPEAT_S else last
            if len(self._last) > _MAX_KEPT:
                self._last.popitem(last=False)
        if last is None or now - last > _REPEAT_S:
            self.record(actor, action, subject)
