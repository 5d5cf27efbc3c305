"""A kill in the middle, or a full disk, leaves no half object; the next run completes what is there."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pydicom
import pytest
from pydicom import Dataset

from cspine.classification.result import CaseResult
from cspine.core.errors import DiskFullError
from cspine.core.files import complete_files
from cspine.reports.dicom.objects import write_dicom

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

DISK_FULL, OTHER = 3, 4


def in_child(action: Callable[[], Any]) -> int:
    """Run an action in a process of its own, and return its wait status."""
    child = os.fork()
    if child == 0:  # pragma: no cover - not this process
        status = OTHER
        try:
            action()
            status = 0
        except DiskFullError:
            status = DISK_FULL
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def hold_that_all_objects_are_whole(folder: Path, written: dict[str, Dataset]) -> None:
    for path in complete_files(folder, "*.dcm"):
        dataset = pydicom.dcmread(path)
        assert dataset.SOPInstanceUID == written[path.name].SOPInstanceUID
        assert path.stat().st_size == Path(str(written[path.name].filename)).stat().st_size


@pytest.mark.parametrize("n_complete", [0, 1, 5])
def test_a_kill_in_the_middle_leaves_no_half_object(
    n_complete: int, case_result: CaseResult, written: dict[str, Dataset], tmp_path: Path
) -> None:
    def write_and_be_killed() -> None:
        save_as, count = Dataset.save_as, iter(range(100))

        def save_half(dataset: Dataset, path: Path, **options: Any) -> None:
            save_as(dataset, path, **options)
            if next(count) == n_complete:
                os.truncate(path, Path(path).stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        with patch.object(Dataset, "save_as", save_half):
            write_dicom(case_result, tmp_path)

    assert os.WTERMSIG(in_child(write_and_be_killed)) == signal.SIGKILL

    assert len(list(tmp_path.iterdir())) == n_complete + 1  # and the hidden half
    assert len(complete_files(tmp_path, "*.dcm")) == n_complete
    hold_that_all_objects_are_whole(tmp_path, written)

    write_dicom(case_result, tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == set(written)
    hold_that_all_objects_are_whole(tmp_path, written)


def test_a_full_disk_leaves_no_half_object(
    case_result: CaseResult, written: dict[str, Dataset], tmp_path: Path
) -> None:
    sizes = sorted(Path(str(dataset.filename)).stat().st_size for dataset in written.values())
    limit = (sizes[-1] + sizes[-2]) // 2  # all but the largest

    def write_on_a_full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        write_dicom(case_result, tmp_path)

    assert os.WEXITSTATUS(in_child(write_on_a_full_disk)) == DISK_FULL

    assert 0 < len(list(tmp_path.iterdir())) < len(written)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    hold_that_all_objects_are_whole(tmp_path, written)
