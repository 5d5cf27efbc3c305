"""The scripts and descriptors of clusters agree with the command line and with each other."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cspine.cli import app
from cspine.core.errors import InputError
from cspine.core.execution.shards import SHARD_COUNT, Shard
from cspine.pipelines.cluster.slurm import SHARDED, ClusterError, ShardedCommand, submit_shards

DEPLOY = Path(__file__).parents[3] / "deploy"
yaml: Any = pytest.importorskip("yaml")


def _job(name: str) -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / name).read_text(encoding="utf-8"))
    return job


def _container(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_the_indexed_job_has_as_many_shards_as_completions() -> None:
    job = _job("shards.yaml")
    variables = {each["name"]: each["value"] for each in _container(job)["env"]}
    count = job["spec"]["completions"]

    assert job["spec"]["completionMode"] == "Indexed"
    assert variables[SHARD_COUNT] == str(count)
    shards = [Shard.from_environment({**variables, "JOB_COMPLETION_INDEX": str(index)}) for index in (0, count - 1)]
    assert shards == [Shard(1, count), Shard(count, count)]


@pytest.mark.parametrize("name", ["shards.yaml", "merge.yaml"])
def test_jobs_call_commands_and_write_where_volumes_are_mounted(name: str) -> None:
    container = _container(_job(name))
    program, command, *arguments = container["args"]
    options = {each for each in arguments if each.startswith("--")}
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = _job(name)["spec"]["template"]["spec"]["volumes"]

    assert program == "cspine"
    assert options <= {option for parameter in commands[command].params for option in parameter.opts}
    assert all(Path(each).parents[-2].as_posix() in mounts for each in arguments if each.startswith("/"))
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in volumes}
    assert container["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["shards.yaml", "merge.yaml"])
@pytest.mark.parametrize("release", ["1.31", "1.33"])
def test_jobs_follow_the_schema_of_kubernetes(name: str, release: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    job = _job(name)

    kubernetes_validate.validate(job, release, strict=True)
    job["spec"]["completionsMode"] = "Indexed"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, release, strict=True)


def test_the_script_of_slurm_names_the_shard_by_its_options() -> None:
    text = (DEPLOY / "slurm" / "shards.sbatch").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group

    options = set(re.findall(r"[( ](--[a-z]+) \"\$", text))
    assert options == {"--shard", "--workers"}
    for name in set(SHARDED) - {"evaluate"}:
        assert options <= {option for parameter in commands[name].params for option in parameter.opts}
    assert "--shard" in {option for parameter in commands["evaluate"].params for option in parameter.opts}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--data", "x"], "train: cannot be divided; give one of compile, evaluate"),
        (["compile", "x", "--shard=1/2"], "--shard=1/2: is given by the array; leave it out"),
        ([], "cannot be divided"),
    ],
)
def test_what_cannot_be_an_array_is_refused(arguments: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        submit_shards(arguments, "out")


def test_a_task_that_is_preempted_is_submitted_again_as_it_was() -> None:
    pytest.importorskip("submitit")
    command = ShardedCommand(("compile", "rsna", "--out", "compiled"))

    again = command.checkpoint("--shard", "3/7")

    assert (again.function, again.args) == (command, ("--shard", "3/7"))


def test_a_task_that_does_not_come_to_its_end_fails() -> None:
    with pytest.raises(ClusterError, match="cspine compile ended with exit code 2"):
        ShardedCommand(("compile",))("--shard", "1/2")


def test_without_slurm_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ClusterError, match=r"Slurm takes no job \(.*\); submit from a node where sbatch works"):
        submit_shards(["compile", "rsna"], tmp_path / "out", logs=tmp_path / "logs")
