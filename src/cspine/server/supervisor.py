"""The supervisor: starts the processes of one machine, and starts again what ends."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cspine.core.logging import logging_options
from cspine.server.database.engine import Database
from cspine.server.processes import Stop, stop_on_signals
from cspine.server.roles import ProcessRole, roles_of
from cspine.server.settings import ServerSettings
from cspine.server.spool.folders import Spool

_LOGGER: Final = logging.getLogger(__name__)

_TICK_S: Final = 0.2
_END_S: Final = 30.0
_FIRST_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 30.0
_START_DELAYS_S: Final = {"keeper": 1.0, "sender": 1.5, "worker": 1.5}
"""The node and the pages start first: loading all at once, none would accept a connection for seconds."""

_STABLE_S: Final = 60.0
"""A process that ran for this long is started again without delay."""


@dataclass
class _Child:
    """A process of the server, and when it may be started again."""

    role: ProcessRole
    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    n_failures: int = 0
    not_before: float = field(default=0.0)


class Supervisor:
    """Runs the processes of one machine.

    Parameters
    ----------
    settings : ServerSettings
        All settings.
    file : Path, optional
        The TOML file that they came from, which the processes read, too.
    """

    def __init__(self, settings: ServerSettings, file: Path | None = None) -> None:
        self._settings, self._file = settings, file
        begin = time.monotonic()
        self._children = [
            _Child(role, number, not_before=begin + _START_DELAYS_S.get(role, 0.0))
            for role, number in roles_of(settings)
        ]

    def run(self, stop: Stop | None = None) -> None:
        """Prepare the spool and the database, and run the processes until SIGTERM or SIGINT.

        Raises
        ------
        CspineError
            The spool or the database cannot be used.
        """
        stop = stop or Stop()
        stop_on_signals(stop)
        Spool(self._settings.storage.spool).create()
        database = Database.open(self._settings)
        database.upgrade()
        database.close()
        try:
            while not stop.is_set():
                for child in self._children:
                    self._care_for(child)
                stop.wait(_TICK_S)
        finally:
            self._end()

    def _care_for(self, child: _Child) -> None:
        """Start a process that does not run, later after each failure in a row."""
        now = time.monotonic()
        if child.process is not None and child.process.poll() is not None:
            code, child.process = child.process.returncode, None
            child.n_failures = 0 if now - child.started > _STABLE_S else child.n_failures + 1
            wait_s = min(_FIRST_BACKOFF_S * 2 ** max(child.n_failures - 1, 0), _MAX_BACKOFF_S)
            child.not_before = now + wait_s
            _LOGGER.warning("%s %d ended (%d); starts again in %.1f s", child.role, child.number, code, wait_s)
        if child.process is None and now >= child.not_before:
            child.process = subprocess.Popen(self._command(child), stdin=subprocess.DEVNULL)  # noqa: S603 - our own
            child.started = now

    def _command(self, child: _Child) -> list[str]:
        options = logging_options() or {}
        return [
            sys.executable,
            "-m",
            "cspine",
            *(["--log-json"] if options.get("json_lines") else ["--verbose"] if options.get("verbose") else []),
            "serve",
            *(["--config", str(self._file)] if self._file is not None else []),
            "--only",
            child.role,
            "--number",
            str(child.number),
        ]

    def _end(self) -> None:
        """Ask all processes to stop, and end those that do not."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        end = time.monotonic() + _END_S
        for process in running:
            try:
                process.wait(max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
