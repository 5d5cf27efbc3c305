"""Resumable jobs."""

from pathlib import Path

import pytest

from cspine.core.errors import OutputTakenError
from cspine.core.execution.parallel import parallel_map
from cspine.core.jobs import ResumableJob


def _touch(path: Path) -> str:
    path.touch()
    return path.name


def test_a_folder_is_new_then_resumed_and_refused_for_another_job(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    assert ResumableJob(folder, "job.json", {"seed": 1}).open() is False
    assert ResumableJob(folder, "job.json", {"seed": 1}).open() is True
    with pytest.raises(OutputTakenError, match=r"another seed \(1, now 2\); choose another --out, or delete it"):
        ResumableJob(folder, "job.json", {"seed": 2}).open()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.doc").touch()

    with pytest.raises(OutputTakenError, match="holds files of something else"):
        ResumableJob(tmp_path / "other", "job.json", {}).open()
    with pytest.raises(OutputTakenError, match="is a file"):
        ResumableJob(tmp_path / "other" / "thesis.doc", "job.json", {}).open()


def test_a_damaged_marker_is_another_job(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("[1, 2]")

    with pytest.raises(OutputTakenError, match="was begun with another kind"):
        ResumableJob(tmp_path, "job.json", {"kind": "example"}).open()


@pytest.mark.parametrize("workers", [1, 2])
def test_only_unfinished_items_are_run(tmp_path: Path, workers: int) -> None:
    items = [tmp_path / name for name in ("a", "b", "c")]
    items[1].touch()
    progress: list[tuple[str, int, int]] = []

    outcomes = list(
        parallel_map(
            _touch, items, is_done=Path.exists, workers=workers, stage="files", progress=lambda *p: progress.append(p)
        )
    )

    assert sorted(outcome.get() for outcome in outcomes) == ["a", "c"]
    assert progress == [("files", 0, 2), ("files", 1, 2), ("files", 2, 2)]
    assert list(parallel_map(_touch, items, is_done=Path.exists)) == []
