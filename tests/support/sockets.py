"""Sockets that pynetdicom leaves to the garbage collector where a connection fails."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def collect_sockets() -> Iterator[None]:
    """Collect what a module left, under its own filters of warnings: otherwise another module's test would fail."""
    yield
    gc.collect()
