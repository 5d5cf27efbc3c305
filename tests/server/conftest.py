"""Fixtures of the server's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.server import ServerParts, make_parts


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[ServerParts]:
    """Settings, database and spool of a new server; quiet time 10 s."""
    made = make_parts(tmp_path, intake={"quiet_s": 10.0})
    yield made
    made.database.close()
