"""A PostgreSQL server of its own, started on a socket of loopback for a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.orthanc import free_port

_PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
_ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root; Debian's package makes this account."""

needs_postgresql = pytest.mark.skipif(_PROGRAMS is None, reason="PostgreSQL (Debian's postgresql)")


@dataclass(frozen=True)
class Cluster:
    """A running cluster with an empty database."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql+pg8000://{_ACCOUNT}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        _run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options, "-w", "start")

    def kill(self) -> None:
        """End the server as `kill -9` of its processes does: no checkpoint, no rollback."""
        _run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")


@contextmanager
def running_postgresql() -> Iterator[Cluster]:
    """Run a new cluster; its folder is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cspine-postgresql-"))
    if os.getuid() == 0:
        shutil.chown(folder, _ACCOUNT)
    cluster = Cluster(folder, free_port())
    try:
        _run("initdb", "-D", str(folder / "data"), "-U", _ACCOUNT, "-A", "trust", "-E", "UTF8", "--no-sync")
        cluster.start()
        yield cluster
        cluster.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *arguments: str) -> None:
    assert _PROGRAMS is not None
    command = [str(_PROGRAMS / program), *arguments]
    if os.getuid() == 0:
        command = ["setpriv", f"--reuid={_ACCOUNT}", f"--regid={_ACCOUNT}", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
