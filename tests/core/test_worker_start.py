"""Worker processes of programs that cannot be imported, and of systems that refuse processes."""

import logging
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from cspine.core.execution import parallel
from cspine.core.execution.parallel import WorkerStartError, parallel_map

PLAIN = """
from math import sqrt
from cspine.core.execution.parallel import parallel_map
print(sorted(outcome.get() for outcome in parallel_map(sqrt, [1.0, 4.0, 9.0], workers=2)))
"""

OWN = """
from cspine.core.execution.parallel import parallel_map
def double(item):
    return 2 * item
print(sorted(outcome.get() for outcome in parallel_map(double, [1, 2, 3], workers=2)))
"""


def run(arguments: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_script_without_a_guard_is_not_run_again_in_the_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PLAIN, encoding="utf-8")

    done = run([str(script)])

    assert (done.returncode, done.stdout, done.stderr) == (0, "[1.0, 2.0, 3.0]\n", "")


def test_a_program_from_standard_input_has_workers() -> None:
    done = run(["-"], PLAIN)

    assert (done.returncode, done.stdout, done.stderr) == (0, "[1.0, 2.0, 3.0]\n", "")


def test_functions_of_a_script_without_a_guard_are_refused_with_the_remedy(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(OWN, encoding="utf-8")

    done = run([str(script)])

    assert done.returncode == 1
    assert "WorkerStartError: worker processes cannot start: write the script to a file with its calls" in done.stderr
    assert 'under `if __name__ == "__main__":`' in done.stderr
    assert "died" not in done.stderr


def test_the_main_module_is_as_before() -> None:
    main = vars(sys.modules["__main__"])
    before = main.get("__file__"), main.get("__spec__")

    list(parallel_map(abs, [1, 2], workers=2))

    assert (main.get("__file__"), main.get("__spec__")) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), NotImplementedError(), ImportError()])
def test_without_semaphores_the_work_is_done_in_one_process(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", refuse)
    with caplog.at_level(logging.WARNING, "cspine"):
        outcomes = list(parallel_map(abs, [-1, 2, -3], workers=2))

    assert [outcome.get() for outcome in outcomes] == [1, 2, 3]
    assert "the work continues in one process" in caplog.text


def test_where_no_further_process_starts_no_item_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    start = multiprocessing.context.SpawnProcess.start
    n_started = 0

    def start_one(self: multiprocessing.context.SpawnProcess) -> None:
        nonlocal n_started
        n_started += 1
        if n_started > 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        start(self)

    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", start_one)

    outcomes = list(parallel_map(abs, list(range(9)), workers=3))

    assert sorted(outcome.item for outcome in outcomes) == list(range(9))


def test_workers_have_no_workers() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_map_in_worker) == [1, 2]


def _map_in_worker() -> list[int]:
    return [outcome.get() for outcome in parallel_map(abs, [-1, -2], workers=2)]


def test_more_workers_than_windows_allows_are_a_smaller_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_MAX_WORKERS", 2)

    assert parallel._Pool(64, 100, needs_main=False).size == 2
    assert parallel._Pool(64, 1, needs_main=False).size == 1


def test_the_error_survives_the_way_back_from_a_worker() -> None:
    import pickle

    assert str(pickle.loads(pickle.dumps(WorkerStartError("sentence")))) == "sentence"
