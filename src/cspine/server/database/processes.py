"""Signs of life of the server's processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cspine.server.database.tables import Process

BEAT_S: Final = 5.0
"""Time between two signs of life."""

_FORGOTTEN: Final = timedelta(days=1)


def process_name(role: str, number: int = 1) -> str:
    """Return the name of a process, which is the same after a restart."""
    return f"{role}@{socket.gethostname()}:{number}"


def record_beat(
    session: Session, name: str, *, started_at: datetime, now: datetime, information: Mapping[str, Any] | None = None
) -> None:
    """Record that the calling process lives."""
    role = name.partition("@")[0]
    process = session.get(Process, name) or Process(name=name, role=role, host=socket.gethostname())
    process.pid, process.started_at, process.beat_at = os.getpid(), started_at, now
    process.information = dict(information or {})
    session.add(process)


def live_processes(session: Session, *, now: datetime, max_age_s: float = 4 * BEAT_S) -> list[Process]:
    """Return the processes that gave a sign of life of late."""
    query = select(Process).where(Process.beat_at >= now - timedelta(seconds=max_age_s)).order_by(Process.name)
    return list(session.scalars(query))


def forget_processes(session: Session, *, now: datetime) -> None:
    """Remove processes that gave no sign of life for a day."""
    session.execute(delete(Process).where(Process.beat_at < now - _FORGOTTEN))
