"""Files, settings, findings, anatomy and parallel work."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import Field, ValidationError
from pydicom.sr.codedict import codes

from cspine.core.anatomy import CHALLENGE_POSITIVES, SNOMED_CODES, TARGETS, VERTEBRAE
from cspine.core.errors import CspineError, DiskFullError, InputError, NotAssessableError
from cspine.core.execution.parallel import WorkerDiedError, parallel_map
from cspine.core.files import atomic_path, complete_files, read_json, write_bytes, write_json
from cspine.core.findings import (
    Findings,
    NotAssessable,
    PatientFinding,
    SoftwareIdentity,
    VertebraFinding,
    WeightsIdentity,
)
from cspine.core.settings import Settings

WHO = {
    "software": SoftwareIdentity(version="0"),
    "weights": WeightsIdentity(name="w", sha256="0" * 64, trained_on="nothing", phantom_only=True),
}


def test_targets_are_overall_then_c1_to_c7() -> None:
    assert TARGETS == ("patient_overall", "C1", "C2", "C3", "C4", "C5", "C6", "C7")
    assert set(CHALLENGE_POSITIVES) == set(TARGETS)


def test_snomed_codes_are_those_dicom_lists() -> None:
    for level in VERTEBRAE:
        assert SNOMED_CODES[level][0] == getattr(codes.SCT, f"{level}Vertebra").value


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")

    def fail() -> None:
        with atomic_path(path) as part:
            part.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_files_of_a_killed_program_are_not_listed(tmp_path: Path) -> None:
    write_json(tmp_path / "b.json", {})
    write_json(tmp_path / "a.json", {})
    kill = "import os, sys; from pathlib import Path; from cspine.core.files import atomic_path\n"
    kill += "with atomic_path(Path(sys.argv[1])) as part: part.write_text('{'); os._exit(9)"
    subprocess.run([sys.executable, "-c", kill, str(tmp_path / "c.json")], check=False)

    assert len(list(tmp_path.glob("*.json"))) == 3
    assert complete_files(tmp_path, "*.json") == [tmp_path / "a.json", tmp_path / "b.json"]


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "a") as part:
            part.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFullError, match="the disk is full; free some space"):
        fail()

    assert list(tmp_path.iterdir()) == []


def test_damaged_json_is_reported_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")

    with pytest.raises(InputError, match=r"a\.json: is not valid JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"b\.json: cannot be read"):
        read_json(tmp_path / "b.json")
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "c.json", float("nan"))


def test_settings_are_frozen_and_hashed_by_content() -> None:
    class Some(Settings):
        a: int = Field(1, description="a")
        b: float = Field(2.0, description="b")

    assert Some().hash == Some(b=2.0, a=1).hash != Some(a=2).hash
    with pytest.raises(ValidationError):
        Some(c=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Some().a = 3  # type: ignore[misc]


def test_findings_are_complete_or_not_assessable() -> None:
    vertebrae = tuple(VertebraFinding(level=level, probability=0.1) for level in VERTEBRAE)
    overall = PatientFinding(probability=0.2)
    refusal = NotAssessable(code="too-thick", reason="too thick")

    Findings(study_instance_uid="1", patient_overall=overall, vertebrae=vertebrae, **WHO)
    Findings(study_instance_uid="1", not_assessable=refusal, **WHO)
    with pytest.raises(ValidationError, match=r"C1\.\.C7 in order"):
        Findings(study_instance_uid="1", patient_overall=overall, vertebrae=vertebrae[::-1], **WHO)
    with pytest.raises(ValidationError, match="a study that is not assessable has no probabilities"):
        Findings(study_instance_uid="1", patient_overall=overall, vertebrae=vertebrae, not_assessable=refusal, **WHO)
    with pytest.raises(ValidationError):
        PatientFinding(probability=1.2)


def test_the_published_schema_is_that_of_the_model() -> None:
    published = Path(__file__).parents[2] / "docs" / "findings.schema.json"

    assert json.loads(published.read_text("utf-8")) == Findings.model_json_schema()


def _work(item: int) -> int:
    if item == 3:
        raise InputError("3.dcm: is odd; give an even one")
    if item == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == 5:
        raise NotAssessableError("too-thick", "too thick")
    return item * 10


def _fill_disk(item: int) -> int:
    if item == 1:
        raise DiskFullError("out: the disk is full; free some space")
    time.sleep(0.05)
    return item


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_item_does_not_stop_the_others(workers: int) -> None:
    progress: list[tuple[int, int]] = []

    outcomes = list(
        parallel_map(
            _work, [1, 2, 3, 5, 6], workers=workers, progress=lambda _, done, total: progress.append((done, total))
        )
    )

    by_item = {outcome.item: outcome for outcome in outcomes}
    assert {item: by_item[item].get() for item in (1, 2, 6)} == {1: 10, 2: 20, 6: 60}
    assert str(by_item[3].error) == "3.dcm: is odd; give an even one"
    error = by_item[5].error
    assert isinstance(error, NotAssessableError)
    assert error.code == "too-thick"
    assert progress[0] == (0, 5)
    assert progress[-1] == (5, 5)


def test_an_item_that_kills_its_process_is_identified_and_the_others_finish() -> None:
    outcomes = {outcome.item: outcome for outcome in parallel_map(_work, [1, 4, 2, 6, 7, 8], workers=2)}

    assert isinstance(outcomes.pop(4).error, WorkerDiedError)
    assert {item: outcome.get() for item, outcome in outcomes.items()} == {1: 10, 2: 20, 6: 60, 7: 70, 8: 80}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from cspine.core.execution.parallel import parallel_map\n"
        "def who(item):\n    time.sleep(0.2)\n    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    for outcome in parallel_map(who, list(range(9)), workers=2):\n        print(outcome.get(), flush=True)\n"
        "        time.sleep(0.3 if outcome.item < 8 else 60)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = {int(parent.stdout.readline()) for _ in range(4)}
    assert all(_is_running(worker) for worker in workers)

    parent.kill()
    parent.wait()

    deadline = time.monotonic() + 20
    while any(_is_running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_is_running(worker) for worker in workers)
    parent.stdout.close()


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_map(workers: int) -> None:
    with pytest.raises(DiskFullError):
        list(parallel_map(_fill_disk, list(range(50)), workers=workers))


def test_every_error_is_one_of_the_tree() -> None:
    from cspine.core import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, CspineError) for kind in kinds)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)
