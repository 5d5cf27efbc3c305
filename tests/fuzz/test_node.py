"""A few seconds of fuzzing of the DICOM node; `python -m tests.fuzz.node` goes on for minutes."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fuzz.node_target import Tally, acknowledged, check, mutate, record_sessions, run_session
from tests.support.node import running_node
from tests.support.sockets import collect_sockets  # noqa: F401 - a fixture


@pytest.mark.filterwarnings("ignore")
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_mutated_messages_end_nothing_and_are_not_acknowledged_unless_stored(tmp_path: Path) -> None:
    chance, tally = random.Random(7), Tally()
    with running_node(tmp_path, node={"timeout_s": 2.0}) as running:
        sessions = record_sessions(running, tmp_path / "valid")
        n_threads = threading.active_count()
        mutated = [mutate(chance.choice(sessions), chance) for _ in range(60)]
        with ThreadPoolExecutor(4) as clients:  # as many as one address may have
            list(clients.map(lambda session: run_session(running.port, session, tally), mutated))
        check(running, tally, tmp_path / "valid", n_threads)

    assert tally.answered > 10  # the mutations are mild enough to get somewhere
    assert tally.acknowledged


def test_the_recorded_session_is_acknowledged(tmp_path: Path) -> None:
    tally = Tally()
    with running_node(tmp_path) as running:
        sessions = record_sessions(running, tmp_path / "valid")
        for session in sessions:
            run_session(running.port, session, tally)
        stored = running.stored()

    assert [len(session) for session in sessions] == sorted(len(session) for session in sessions)
    assert tally.acknowledged == stored
    assert acknowledged(b"") == set()
