"""The keeper: finds complete studies, and keeps the spool in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from cspine.core.errors import CspineError
from cspine.server.database.audit import record_audit
from cspine.server.database.deliveries import close_deliveries
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.processes import forget_processes
from cspine.server.database.studies import complete_studies
from cspine.server.processes import ProcessBeat, Stop
from cspine.server.settings import ServerSettings
from cspine.server.spool.current import refresh_links
from cspine.server.spool.folders import Spool
from cspine.server.spool.receive import count_anew
from cspine.server.spool.reconcile import reconcile_studies, remove_remains
from cspine.server.spool.retention import apply_retention

_LOGGER: Final = logging.getLogger(__name__)

_TICK_S: Final = 0.5
_TIDY_S: Final = 600.0


class Keeper:
    """Makes a job of every study that received nothing for the quiet time, and applies retention.

    Parameters
    ----------
    settings : ServerSettings
        Quiet time and retention.
    database : Database
        Studies and jobs.
    spool : Spool
        Objects and results.
    """

    def __init__(self, settings: ServerSettings, database: Database, spool: Spool) -> None:
        self._settings, self._database, self._spool = settings, database, spool
        self._tidied = -_TIDY_S

    def run(self, stop: Stop, beat: ProcessBeat | None = None) -> None:
        """Look for complete studies twice a second until stopped."""
        is_reconciled = False
        while not stop.is_set():
            if not is_reconciled:
                is_reconciled = _succeeds(lambda: reconcile_studies(self._database, self._spool))
            _succeeds(self.complete)
            if time.monotonic() - self._tidied >= _TIDY_S and _succeeds(self.tidy):
                self._tidied = time.monotonic()
            if beat is not None:
                beat.beat()
            stop.wait(_TICK_S)

    def complete(self) -> int:
        """Make a job of each complete study, and return their number."""
        with self._database.session() as session:
            jobs = complete_studies(session, quiet_s=self._settings.intake.quiet_s, now=utc_now())
            count_anew(self._spool, jobs)
        if jobs:
            _LOGGER.info("%d studies are complete", len(jobs))
        return len(jobs)

    def tidy(self) -> None:
        """Apply retention, and remove what killed processes left behind."""
        now = utc_now()
        removed = apply_retention(self._database, self._spool, self._settings.retention, now=now)
        n_remains = remove_remains(self._database, self._spool)
        refresh_links(self._database, self._spool)
        with self._database.session() as session:
            forget_processes(session, now=now)
            n_closed = close_deliveries(session, {each.name for each in self._settings.destinations})
            if removed.n_originals or removed.n_results:
                detail = f"{removed.n_originals} studies' objects, {removed.n_results} results"
                record_audit(session, "server", "retention.apply", detail=detail, now=now)
        if n_closed:
            _LOGGER.warning("%d deliveries are given up, since their destinations are not configured", n_closed)
        if n_remains:
            _LOGGER.info("%d remains of killed processes were removed", n_remains)


def _succeeds(step: Callable[[], object]) -> bool:
    """Take a step and return whether it succeeded; one that fails keeps none of the others from being taken."""
    try:
        step()
    except SQLAlchemyError as error:
        _LOGGER.warning("the database failed (%s); trying again", type(error).__name__)
    except (CspineError, OSError) as error:
        _LOGGER.warning("the spool failed (%s); trying again", type(error).__name__)
    else:
        return True
    return False
