"""A real Slurm controller and node run the shipped scripts, and what `cspine slurm` submits."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.shards import N_STUDIES, file_hashes, write_small_studies
from tests.support.slurm import Slurm, needs_slurm, running_slurm

from cspine.pipelines.compile import compile_dataset
from cspine.views.settings import CompileSettings

SCRIPTS = Path(__file__).parents[2] / "deploy" / "slurm"
pytestmark = [needs_slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with running_slurm() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command line of this environment as a program."""
    path = tmp_path_factory.mktemp("bin") / "cspine"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cspine "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    write_small_studies(folder)
    return folder


@pytest.fixture(scope="module")
def expected(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("expected") / "compiled"
    compile_dataset(studies, out, CompileSettings(spine_aligned=False, levels=None))
    return file_hashes(out)


def _sbatch(slurm: Slurm, program: Path, folder: Path, *arguments: str) -> str:
    """Submit a script, and return the number of its job."""
    small = ("--parsable", "--cpus-per-task=1", "--mem=0")
    return slurm.run("sbatch", *small, *arguments, variables={"CSPINE": str(program)}, cwd=folder)


def test_the_scripts_compile_in_an_array_of_which_a_task_is_killed_and_submitted_again(
    slurm: Slurm, program: Path, studies: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    out, count = tmp_path / "compiled", 2
    command = (str(count), "compile", str(studies), "--out", str(out), "--straight")
    script = str(SCRIPTS / "shards.sbatch")
    array = _sbatch(slurm, program, tmp_path, "--array=1-2%1", script, *command)
    merge = _sbatch(slurm, program, tmp_path, f"--dependency=afterany:{array}", str(SCRIPTS / "merge.sbatch"), str(out))
    deadline = time.monotonic() + 60
    while not list(out.glob("records/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running = min(index for index, state in slurm.states(array).items() if state != "COMPLETED")
    slurm.run("scancel", "--signal=KILL", "--full", f"{array}_{running}")

    states = slurm.wait(array)
    merged = slurm.wait(merge)

    assert states[running] in {"FAILED", "CANCELLED", "NODE_FAIL"}
    assert merged[""] == "FAILED", "the merge names the shard that is missing"
    (log,) = tmp_path.glob("cspine-merge-*.log")
    assert f"shard {running} of {count} not finished" in log.read_text("utf-8")
    again = _sbatch(slurm, program, tmp_path, f"--array={running}", script, *command)
    slurm.wait(again)
    merge = _sbatch(slurm, program, tmp_path, str(SCRIPTS / "merge.sbatch"), str(out))
    slurm.wait(merge)
    text = (tmp_path / f"cspine-merge-{merge}.log").read_text("utf-8")
    assert f"{N_STUDIES + 1} studies of {count} shards of cspine compile" in text
    assert file_hashes(out) == expected


@pytest.mark.parametrize("first", [0, 1])
def test_the_environment_of_an_array_tells_the_shard(slurm: Slurm, tmp_path: Path, first: int) -> None:
    code = "import os; from cspine.core.execution.shards import Shard; print(Shard.from_environment(os.environ))"
    script = tmp_path / "script.sh"
    script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}'\n", encoding="utf-8")

    job = slurm.run(
        "sbatch", "--parsable", "--mem=0", f"--array={first}-{first + 1}", "--output=%a.log", str(script), cwd=tmp_path
    )
    slurm.wait(job)

    texts = [(tmp_path / f"{index}.log").read_text("utf-8") for index in (first, first + 1)]
    assert texts == ["1/2\n", "2/2\n"]


@pytest.mark.nightly
def test_cspine_slurm_submits_the_array_and_the_merge(
    slurm: Slurm, program: Path, studies: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    out, logs = tmp_path / "compiled", tmp_path / "logs"
    resources = ("--shards", "2", "--processors", "1", "--memory-gb", "0.5", "--time-min", "5")
    submit = ("slurm", "--json", "--out", str(out), "--logs", str(logs), *resources, "--", "compile", str(studies))

    jobs = json.loads(slurm.run(str(program), *submit, "--straight"))
    slurm.wait(jobs["array_id"])
    states = slurm.wait(jobs["merge_id"])

    log = "\n".join(path.read_text("utf-8", "replace") for path in logs.rglob("*.out"))
    assert f"{N_STUDIES + 1} studies of 2 shards of cspine compile" in log, states
    assert file_hashes(out) == expected
