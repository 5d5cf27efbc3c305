"""Fuzzing of the HTTP interface: addresses of many pieces and mutated uploads to a server that runs.

Ten minutes:

    python -m tests.fuzz.web --minutes 10

It ends with an error where an answer is not as it should be (`tests.fuzz.web_target`), and prints the request. A seed
repeats a run.
"""

import argparse
import random
import tempfile
import time
import warnings
from pathlib import Path

from tests.fuzz.web_target import Tally, check, make_request, prepare, run_request
from tests.support.server import make_parts
from tests.support.web import TOKENS, running_web

_BATCH = 500
UNLIMITED = {"tokens": TOKENS, "requests_per_minute": 10_000_000}
"""Settings of the server that is fuzzed: its limit of requests would hide everything else."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chance, tally = random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory() as name:
        parts = make_parts(Path(name), web=UNLIMITED)
        with running_web(parts) as server:
            uploads = prepare(server, Path(name) / "valid")
            begin = shown = time.monotonic()
            while time.monotonic() - begin < 60 * options.minutes:
                run_request(server, make_request(uploads, chance), tally)
                if tally.requests % _BATCH == 0:
                    check(server, tally)
                if time.monotonic() - shown > 30:
                    shown = time.monotonic()
                    print(_line(tally, shown - begin), flush=True)  # noqa: T201
            check(server, tally)
        parts.database.close()
    print(_line(tally, time.monotonic() - begin))  # noqa: T201


def _line(tally: Tally, seconds: float) -> str:
    statuses = ", ".join(f"{status or 'closed'}: {count}" for status, count in sorted(tally.statuses.items()))
    return f"{seconds:.0f} s: {tally.requests} requests ({statuses}), {len(tally.acknowledged)} objects acknowledged"


if __name__ == "__main__":
    main()
