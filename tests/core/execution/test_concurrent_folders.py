"""Many processes that take the same folder, or write into it, at the same time."""

import multiprocessing
import multiprocessing.synchronize
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cspine.core.errors import OutputTakenError
from cspine.core.files import atomic_folder, read_json, write_new_json
from cspine.core.jobs import ResumableJob

N_PROCESSES, N_FOLDERS = 4, 150


def _open_all(root: Path, number: int, start: multiprocessing.synchronize.Barrier, results: Path) -> None:
    """Open every folder as soon as all processes do; in the odd ones for a job of its own."""
    outcomes = []
    for folder in range(N_FOLDERS):
        start.wait(30)
        try:
            job = ResumableJob(root / str(folder), "job.json", {"seed": number if folder % 2 else 0})
            outcomes.append("resumed" if job.open() else "new")
            (root / str(folder) / "records").mkdir(exist_ok=True)
        except OutputTakenError as error:
            outcomes.append(str(error))
    (results / f"{number}.txt").write_text("\n".join(outcomes), encoding="utf-8")


def test_processes_that_open_a_new_folder_at_once_are_one_job(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(N_PROCESSES)
    arguments = [(tmp_path / "out", number, start, tmp_path) for number in range(N_PROCESSES)]
    processes = [context.Process(target=_open_all, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * N_PROCESSES
    outcomes = [(tmp_path / f"{number}.txt").read_text("utf-8").splitlines() for number in range(N_PROCESSES)]
    for folder in range(N_FOLDERS):
        of_folder = sorted(each[folder] for each in outcomes)
        assert of_folder.count("new") == 1
        if folder % 2:  # jobs of their own: one has it, and the others are told why they have not
            assert sum("was begun with another seed" in outcome for outcome in of_folder) == N_PROCESSES - 1
        else:
            assert of_folder.count("resumed") == N_PROCESSES - 1
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_file_system_without_links_has_its_marker_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)

    assert write_new_json(tmp_path / "job.json", 1) is True
    assert write_new_json(tmp_path / "job.json", 2) is False
    assert read_json(tmp_path / "job.json") == 1


def test_folders_that_are_written_twice_at_once_are_complete(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(50):
            with atomic_folder(tmp_path / "study") as part:
                for name in ("a", "b", "c"):
                    (part / name).write_text(str(number), encoding="utf-8")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))

    assert [path.name for path in tmp_path.iterdir()] == ["study"]
    assert len({path.read_text("utf-8") for path in (tmp_path / "study").iterdir()}) == 1
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["a", "b", "c"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_folder(tmp_path / "study") as part:
            (part / "a").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not list(tmp_path.iterdir())
