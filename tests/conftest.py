"""Fixtures that many tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cspine.core.anatomy import TARGETS
from tests.support.challenge import challenge  # noqa: F401 - a fixture
from tests.support.object_store import object_store  # noqa: F401 - a fixture

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


SLOW = (
    "training",
    "experiments",
    "phantom",
    "contract",
    "viewers",
    "cli",
    "examples",
    "importing",
    "fuzz",
    "reports/dicom",
    "server/acceptance",
    "server/delivery",
    "server/node",
    "test_documentation.py",
    "pipelines/test_ablate.py",
)
"""Below tests/: what trains, renders phantoms, starts programs and servers, or runs whole commands."""


LONGEST = "test_commands_and_python_run_as_shown"
"""Runs first, for minutes, while other processes do the rest; at the end they would wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `make quick` leaves out, and begin with the longest one."""
    items.sort(key=lambda item: item.name != LONGEST)
    root = Path(__file__).parent
    for item in items:
        if any(item.path.is_relative_to(root / part) for part in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def real_data() -> Path:
    """The folder of real CT; the test is skipped where CSPINE_REAL_DATA is not set."""
    folder = os.environ.get("CSPINE_REAL_DATA")
    if not folder:
        pytest.skip("CSPINE_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def tables() -> Tables:
    """Make truth and a model's probabilities, `skill` standard deviations apart."""

    def make(studies: int = 120, *, seed: int = 0, skill: float = 1.5) -> tuple[pd.DataFrame, pd.DataFrame]:
        rng = np.random.default_rng(seed)
        levels = rng.random((studies, 7)) < [0.07, 0.14, 0.04, 0.05, 0.08, 0.14, 0.19]
        truth = np.column_stack([levels.any(axis=1), levels]).astype(int)
        score = rng.normal(size=truth.shape) + skill * truth - 1.5
        index = pd.Index([f"1.{n}" for n in range(studies)], name="StudyInstanceUID")
        probability = pd.DataFrame(1 / (1 + np.exp(-score)), index=index, columns=list(TARGETS))
        return pd.DataFrame(truth, index=index, columns=list(TARGETS)), probability

    return make
