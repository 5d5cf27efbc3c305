"""A few seconds of fuzzing of the HTTP interface; `python -m tests.fuzz.web` goes on for minutes."""

import random
from pathlib import Path

import pytest

from tests.fuzz.web import UNLIMITED
from tests.fuzz.web_target import Tally, check, make_request, prepare, run_request
from tests.support.server import make_parts
from tests.support.web import running_web


@pytest.mark.filterwarnings("ignore")
def test_whatever_comes_in_is_answered(tmp_path: Path) -> None:
    chance, tally = random.Random(3), Tally()
    parts = make_parts(tmp_path, web=UNLIMITED)
    with running_web(parts) as server:
        uploads = prepare(server, tmp_path / "valid")
        for upload in uploads:
            run_request(server, upload, tally)
        for _ in range(120):
            run_request(server, make_request(uploads, chance), tally)
        check(server, tally)
    parts.database.close()

    assert tally.statuses[200] > 10  # the mutations are mild enough to get somewhere
    assert tally.statuses[400] > 10
    assert len(tally.acknowledged) >= 3
