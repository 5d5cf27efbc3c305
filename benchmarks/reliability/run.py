"""The crash test as a whole: load, faults, and the verdict."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from benchmarks.reliability.archive import Archive
from benchmarks.reliability.senders import Ledger, Modality, make_study
from benchmarks.reliability.server import ServerUnderTest
from benchmarks.reliability.verdict import is_idle, verify

_JUMPS_S: Final = (0.0, 3600.0, -3600.0, 86_400.0, -86_400.0, 30.0, -30.0)


class DatabaseServer(Protocol):
    """A database server that can be killed and started again."""

    @property
    def url(self) -> str:
        """URL for the settings."""

    def start(self) -> None:
        """Start it."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True)
class Plan:
    """What is sent and what is done to the server.

    Attributes
    ----------
    n_studies, n_objects : int
        Studies, and most objects of one.
    n_modalities : int
        Senders at one time; every fourth sends by STOW-RS.
    fault_s : float
        Mean time between two faults, s.
    seed : int
        Of everything that is drawn.
    drain_s : float
        Time for everything to come to its end after the last fault, s.
    """

    n_studies: int = 20
    n_objects: int = 5
    n_modalities: int = 4
    fault_s: float = 3.0
    seed: int = 1
    drain_s: float = 300.0


def run_crash_test(
    server: ServerUnderTest,
    plan: Plan,
    *,
    database: DatabaseServer | None = None,
    ballast: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run the crash test and return its result as JSON holds it.

    Parameters
    ----------
    server : ServerUnderTest
        Not started.
    plan : Plan
        Load and faults.
    database : DatabaseServer, optional
        Is killed as well.
    ballast : Path, optional
        File on the spool's file system, which is small, that fills it at times.
    say : callable
        Is told what happens.
    """
    ledger, archive, faults = Ledger(), Archive(server.pacs_port, seed=plan.seed), Counter[str]()
    studies = [make_study(number, plan.seed, 1 + number % plan.n_objects) for number in range(plan.n_studies)]
    modalities = [
        Modality(server, studies[n :: plan.n_modalities], ledger, seed=plan.seed * 1000 + n, by_http=n % 4 == 3)
        for n in range(plan.n_modalities)
    ]
    begin = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(archive.running())
        server.start()
        stack.callback(server.stop)
        server.wait()
        for modality in modalities:
            modality.start()
        injector = _Injector(server, plan, database, ballast, faults, say)
        while any(modality.is_alive() for modality in modalities):
            injector.wait_and_hurt()
        sent_s = time.monotonic() - begin
        say(f"all studies were sent after {sent_s:.0f} s")
        _drain(server, plan.drain_s, say)
        opened, spool = server.open()
        try:
            verdict = verify(opened, spool, ledger.acknowledged, archive.received)
        finally:
            opened.close()
    return {
        "plan": {**plan.__dict__, "database": "postgresql" if database is not None else "sqlite"},
        "seconds": {"sending": round(sent_s, 1), "all": round(time.monotonic() - begin, 1)},
        "faults": dict(sorted(faults.items())),
        "senders": dict(sorted(ledger.counts.items())),
        "refused by the destination": archive.n_refused,
        "verdict": verdict.as_json(),
    }


class _Injector:
    """Draws faults, one after the other."""

    def __init__(
        self,
        server: ServerUnderTest,
        plan: Plan,
        database: DatabaseServer | None,
        ballast: Path | None,
        faults: Counter[str],
        say: Callable[[str], None],
    ) -> None:
        self._server, self._plan, self._database, self._ballast = server, plan, database, ballast
        self._faults, self._say = faults, say
        self._random = random.Random(plan.seed)
        kinds: dict[str, Callable[[], bool]] = {
            f"{role} killed": lambda role=role: server.kill(role)  # type: ignore[misc]
            for role in ("node", "worker", "keeper", "sender", "web")
        }
        kinds |= {"all killed": self._kill_all, "clock set": self._set_clock}
        if database is not None:
            kinds["database killed"] = self._kill_database
        if ballast is not None:
            kinds["disk full"] = self._fill_disk
        self._kinds = kinds

    def wait_and_hurt(self) -> None:
        """Wait for a while, and do harm."""
        time.sleep(self._random.uniform(0.5, 1.5) * self._plan.fault_s)
        name = self._random.choice(list(self._kinds))
        if self._kinds[name]():
            self._faults[name] += 1
            self._say(name)

    def _kill_all(self) -> bool:
        self._server.kill_all()
        time.sleep(0.5)
        self._server.start()
        return True

    def _kill_database(self) -> bool:
        assert self._database is not None
        self._database.kill()
        time.sleep(self._random.uniform(0.5, 3.0))
        self._database.start()
        return True

    def _fill_disk(self) -> bool:
        assert self._ballast is not None
        try:
            with self._ballast.open("wb") as file:
                while True:
                    file.write(bytes(65536))
                    file.flush()
        except OSError:
            time.sleep(self._random.uniform(0.5, 3.0))
        finally:
            self._ballast.unlink(missing_ok=True)
        return True

    def _set_clock(self) -> bool:
        self._server.set_clock(self._random.choice(_JUMPS_S))
        return True


def _drain(server: ServerUnderTest, limit_s: float, say: Callable[[str], None]) -> None:
    """Wait until the server has nothing left to do."""
    end = time.monotonic() + limit_s
    opened, _ = server.open()
    n_idle = 0
    try:
        while time.monotonic() < end and n_idle < 3:
            time.sleep(1.0)
            try:
                n_idle = n_idle + 1 if is_idle(opened) else 0
            except SQLAlchemyError:
                n_idle = 0
    finally:
        opened.close()
    say("nothing is left to do" if n_idle >= 3 else f"not idle after {limit_s:g} s")
