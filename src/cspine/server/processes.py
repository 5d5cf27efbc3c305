"""What every process of the server does: it stops when it is asked to, and gives signs of life."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from cspine.server.database.engine import Database, utc_now
from cspine.server.database.processes import BEAT_S, record_beat

_LOGGER: Final = logging.getLogger(__name__)

_WATCH_S: Final = 1.0

Stop = threading.Event
"""Set when a process should come to its end."""


def stop_on_signals(stop: Stop) -> None:
    """Set an event at SIGTERM or SIGINT, and where the process that started this one is gone."""

    def end(*_: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    parent = os.getppid()

    def watch() -> None:
        while not stop.wait(_WATCH_S):
            if os.getppid() != parent:
                _LOGGER.warning("the process that started this one is gone; stopping")
                stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()


class ProcessBeat:
    """Signs of life of this process in the database.

    Parameters
    ----------
    database : Database
        Where they are recorded.
    name : str
        Name of the process.
    information : callable
        Returns what else is recorded, such as a port.
    """

    def __init__(self, database: Database, name: str, information: Callable[[], Mapping[str, Any]] = dict) -> None:
        self.name = name
        self._database, self._information = database, information
        self._started_at = utc_now()
        self._last = -BEAT_S

    def beat(self) -> None:
        """Record a sign of life where the last one is some seconds old; no error stops the process."""
        now = time.monotonic()
        if now - self._last < BEAT_S:
            return
        self._last = now
        try:
            with self._database.session() as session:
                record_beat(
                    session,
                    self.name,
                    started_at=self._started_at,
                    now=utc_now(),
                    information=self._information(),
                )
        except SQLAlchemyError as error:
            _LOGGER.warning("the database failed (%s)", type(error).__name__)

    def keep(self, stop: Stop) -> threading.Thread:
        """Give signs of life in a thread until the process stops, and return the thread."""

        def run() -> None:
            while not stop.is_set():
                self.beat()
                stop.wait(BEAT_S)

        thread = threading.Thread(target=run, name="beat", daemon=True)
        thread.start()
        return thread
