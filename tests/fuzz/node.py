"""Fuzzing of the DICOM node: mutated PDUs and messages to a node that runs.

Ten minutes:

    python -m tests.fuzz.node --minutes 10

It ends with an error where the node stops, keeps a thread, a file or an association, or acknowledges what it has not
stored. A seed repeats a run up to the order of its threads.
"""

import argparse
import logging
import random
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.node_target import Tally, check, mutate, record_sessions, run_session
from tests.support.node import running_node

_BATCH, _CLIENTS = 200, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("cspine").setLevel(logging.ERROR)  # thousands of aborted associations
    errors: list[str] = []
    threading.excepthook = lambda details: errors.append(str(details.exc_type))
    chance, tally = random.Random(options.seed), Tally()
    node = {"timeout_s": 2.0, "max_associations": 2 * _CLIENTS, "max_associations_per_peer": 2 * _CLIENTS}
    with tempfile.TemporaryDirectory() as name, running_node(Path(name), node=node) as running:
        work = Path(name)
        sessions = record_sessions(running, work / "valid")
        n_threads = threading.active_count()
        begin = shown = time.monotonic()
        while time.monotonic() - begin < 60 * options.minutes:
            batch = [mutate(chance.choice(sessions), chance) for _ in range(_BATCH)]
            with ThreadPoolExecutor(_CLIENTS) as clients:
                list(clients.map(lambda session: run_session(running.port, session, tally), batch))
            check(running, tally, work / "valid", n_threads)
            if time.monotonic() - shown > 30:
                shown = time.monotonic()
                _show(tally, errors, shown - begin)
        check(running, tally, work / "valid", n_threads)
    _show(tally, errors, time.monotonic() - begin)
    assert not errors, errors


def _show(tally: Tally, errors: list[str], seconds: float) -> None:
    sys.stdout.write(
        f"{seconds:.0f} s: {tally.sessions} sessions, {tally.answered} answered, {len(tally.acknowledged)} objects "
        f"acknowledged and stored, {len(errors)} errors outside of an association\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
