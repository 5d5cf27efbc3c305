"""The processes of a server by role."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal, get_args

from cspine.server.database.engine import Database
from cspine.server.database.processes import process_name
from cspine.server.processes import ProcessBeat, Stop, stop_on_signals
from cspine.server.settings import ServerSettings
from cspine.server.spool.folders import Spool

_LOGGER: Final = logging.getLogger(__name__)

ProcessRole = Literal["keeper", "node", "web", "sender", "worker"]

ROLES: Final[tuple[ProcessRole, ...]] = get_args(ProcessRole)

_Main = Callable[[ServerSettings, Database, Spool, Stop, ProcessBeat], None]


def roles_of(settings: ServerSettings) -> list[tuple[ProcessRole, int]]:
    """Return the processes of one machine: roles with a number.

    >>> roles_of(ServerSettings())
    [('keeper', 1), ('node', 1), ('web', 1), ('worker', 1)]
    """
    roles: list[tuple[ProcessRole, int]] = [("keeper", 1)]
    if settings.node.enabled:
        roles.append(("node", 1))
    if settings.web.enabled:
        roles.append(("web", 1))
    if settings.destinations:
        roles.append(("sender", 1))
    return roles + [("worker", number) for number in range(1, settings.storage.workers + 1)]


def run_role(role: ProcessRole, settings: ServerSettings, *, number: int = 1) -> None:
    """Run one process of the server until it is asked to stop.

    Raises
    ------
    CspineError
        As by the parts, such as a port that another program listens on.
    """
    stop = Stop()
    stop_on_signals(stop)
    spool = Spool(settings.storage.spool)
    database = Database.open(settings)
    try:
        beat = ProcessBeat(database, process_name(role, number))
        _LOGGER.info("%s %d started", role, number)
        _MAINS[role](settings, database, spool, stop, beat)
        _LOGGER.info("%s %d stopped", role, number)
    finally:
        database.close()


def _keep(settings: ServerSettings, database: Database, spool: Spool, stop: Stop, beat: ProcessBeat) -> None:
    from cspine.server.prediction.keeper import Keeper  # noqa: PLC0415 - each process loads its own part alone

    Keeper(settings, database, spool).run(stop, beat)


def _work(settings: ServerSettings, database: Database, spool: Spool, stop: Stop, beat: ProcessBeat) -> None:
    from cspine.server.prediction.worker import Worker  # noqa: PLC0415

    beat.keep(stop)
    Worker(settings, database, spool, beat.name).run(stop)


def _receive(settings: ServerSettings, database: Database, spool: Spool, stop: Stop, beat: ProcessBeat) -> None:
    from cspine.server.node.service import run_node  # noqa: PLC0415

    beat.keep(stop)
    run_node(settings, database, spool, stop)


def _serve(settings: ServerSettings, database: Database, spool: Spool, stop: Stop, beat: ProcessBeat) -> None:
    from cspine.server.web.service import run_web  # noqa: PLC0415

    beat.keep(stop)
    run_web(settings, database, spool, stop)


def _send(settings: ServerSettings, database: Database, spool: Spool, stop: Stop, beat: ProcessBeat) -> None:
    from cspine.server.delivery.sender import run_sender  # noqa: PLC0415

    beat.keep(stop)
    run_sender(settings, database, spool, stop)


_MAINS: Final[dict[ProcessRole, _Main]] = {
    "keeper": _keep,
    "node": _receive,
    "web": _serve,
    "sender": _send,
    "worker": _work,
}
