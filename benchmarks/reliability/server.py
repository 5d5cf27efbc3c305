"""A server under test: started as a user starts it, and hurt from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cspine.server.database.engine import Database
from cspine.server.settings import load_server_settings
from cspine.server.spool.folders import Spool

_CLOCK: Final = """
from datetime import datetime, timedelta
from pathlib import Path

from cspine.server.database import engine

class ShiftedTime(datetime):
    @classmethod
    def now(cls, zone=None):
        seconds = float(Path(__file__).with_name("offset").read_text() or 0)
        return datetime.now(zone) + timedelta(seconds=seconds)

engine.datetime = ShiftedTime
"""
"""Module ``sitecustomize``, which Python runs first: the server's clock goes wrong by what a file says.

Debian's faketime is not used: Python's ``time.sleep`` fails under it when a process starts.
"""

_CONFIGURATION: Final = """
[storage]
spool = "spool"
database = {database}
workers = {workers}
min_free_gb = 0.0

[node]
port = {dicom_port}
timeout_s = 10
max_associations_per_peer = 8

[web]
port = {http_port}
requests_per_minute = 100000

[intake]
quiet_s = {quiet_s}

[prediction]
fhir = false
lease_s = 5
backoff_s = 0.5
max_attempts = 10

[[destinations]]
name = "pacs"
kind = "dicom"
host = "127.0.0.1"
port = {pacs_port}
ae_title = "PACS"
timeout_s = 5
backoff_s = 0.5
max_attempts = 1000
"""


@dataclass
class ServerUnderTest:
    """`cspine serve` in a process group of its own.

    Attributes
    ----------
    folder : Path
        Holds the configuration, the spool and the log.
    dicom_port, http_port, pacs_port : int
        Ports of the node, of HTTP, and of the destination.
    database : str
        URL; empty for SQLite in the spool.
    workers : int
        Worker processes.
    quiet_s : float
        Quiet time.
    """

    folder: Path
    dicom_port: int
    http_port: int
    pacs_port: int
    database: str = ""
    workers: int = 2
    quiet_s: float = 1.0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def configuration(self) -> Path:
        """The TOML file."""
        return self.folder / "cspine.toml"

    def set_clock(self, offset_s: float) -> None:
        """Let the clock of all processes go wrong by an offset."""
        path = self.folder / "clock" / "offset"
        part = path.with_suffix(".part")
        part.write_text(str(offset_s), encoding="utf-8")
        part.replace(path)

    @property
    def url(self) -> str:
        """Address of the HTTP interface."""
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Write the configuration and start the supervisor."""
        self.folder.mkdir(parents=True, exist_ok=True)
        database = self.database or f"sqlite:///{self.folder.resolve() / 'cspine.sqlite'}"
        self.configuration.write_text(
            _CONFIGURATION.format(
                database=f'"{database}"',
                workers=self.workers,
                dicom_port=self.dicom_port,
                http_port=self.http_port,
                pacs_port=self.pacs_port,
                quiet_s=self.quiet_s,
            ),
            encoding="utf-8",
        )
        clock = self.folder / "clock"
        clock.mkdir(exist_ok=True)
        (clock / "sitecustomize.py").write_text(_CLOCK, encoding="utf-8")
        if not (clock / "offset").exists():
            self.set_clock(0.0)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cspine", "--log-json", "serve", "--config", str(self.configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(clock.resolve())},
            )

    def wait(self, limit_s: float = 120.0) -> None:
        """Wait until the node and the HTTP interface accept connections.

        Raises
        ------
        TimeoutError
        """
        end = time.monotonic() + limit_s
        for port in (self.dicom_port, self.http_port):
            while not is_listening(port):
                if time.monotonic() > end:
                    raise TimeoutError(f"the server does not answer after {limit_s:g} s; see {self.folder}/log")
                time.sleep(0.1)

    def stop(self) -> None:
        """Ask it to stop, as systemd does; end it where it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill_all(self) -> None:
        """Kill the supervisor and every process, as a power failure does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for role in ("keeper", "node", "web", "sender", "worker"):
            for pid in self.processes(role):
                _kill(pid)

    def kill(self, role: str) -> bool:
        """Kill one process of a role (`kill -9`); return whether there was one."""
        pids = self.processes(role)
        return bool(pids) and _kill(pids[int(time.monotonic() * 1000) % len(pids)])

    def processes(self, role: str) -> list[int]:
        """Return the processes of a role by their command lines."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
            if str(self.configuration) in words and "--only" in words and words[words.index("--only") + 1] == role:
                found.append(int(path.parent.name))
        return sorted(found)

    def open(self) -> tuple[Database, Spool]:
        """Return its database and spool, to look at."""
        settings = load_server_settings(self.configuration)
        return Database.open(settings), Spool(settings.storage.spool)


def is_listening(port: int) -> bool:
    """Return whether a program on this machine accepts connections at a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
    except OSError:
        return False
    return True


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
