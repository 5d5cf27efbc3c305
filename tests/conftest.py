"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder of real CT; the test is skipped where CSPINE_REAL_DATA is not set."""
    folder = os.environ.get("CSPINE_REAL_DATA")
    if not folder:
        pytest.skip("CSPINE_REAL_DATA is not set")
    return Path(folder)
