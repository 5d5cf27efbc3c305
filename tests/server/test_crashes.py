"""The crash test, bounded: `python -m benchmarks.reliability` is the long one."""

from pathlib import Path

import pytest
from benchmarks.reliability.run import Plan, run_crash_test
from benchmarks.reliability.server import ServerUnderTest
from tests.support.orthanc import free_port
from tests.support.postgresql import needs_postgresql, running_postgresql
from tests.support.sockets import collect_sockets  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.slow,
    # pynetdicom's client leaves its socket to the garbage collector where a connection is refused
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def server_in(folder: Path, database: str = "") -> ServerUnderTest:
    return ServerUnderTest(
        folder,
        dicom_port=free_port(),
        http_port=free_port(),
        pacs_port=free_port(),
        database=database,
        workers=1,
        quiet_s=0.5,
    )


def test_what_is_acknowledged_while_processes_are_killed_has_one_answer(tmp_path: Path) -> None:
    result = run_crash_test(server_in(tmp_path), Plan(n_studies=8, n_objects=12, fault_s=8.0, drain_s=240.0))

    assert result["verdict"]["is_good"], result
    assert result["verdict"]["n_studies"] == 8
    assert sum(result["faults"].values()) >= 1


@needs_postgresql
def test_what_is_acknowledged_while_the_database_is_killed_has_one_answer(tmp_path: Path) -> None:
    with running_postgresql() as cluster:
        result = run_crash_test(
            server_in(tmp_path, cluster.url),
            Plan(n_studies=4, n_objects=4, fault_s=8.0, drain_s=240.0, seed=3),
            database=cluster,
        )

    assert result["verdict"]["is_good"], result
