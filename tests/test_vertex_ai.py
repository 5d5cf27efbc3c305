"""The job descriptions of Vertex AI: a dry run against the service's types and our command line; reports of metrics."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cspine.cli import app
from cspine.training.epoch_observers import notify_observers
from cspine.training.hypertune import FILE_VARIABLE, METRIC_TAG, TRIAL_VARIABLE, report_to_hypertune

DEPLOY = Path(__file__).parents[1] / "deploy" / "vertex-ai"
CUSTOM = json.loads((DEPLOY / "custom-job.json").read_text(encoding="utf-8"))
SEARCH = json.loads((DEPLOY / "hp-tuning-job.json").read_text(encoding="utf-8"))

VALUE = {
    "doubleValueSpec": {"minValue": float, "maxValue": float},
    "integerValueSpec": {"minValue": str, "maxValue": str},
    "discreteValueSpec": {"values": [int]},
    "categoricalValueSpec": {"values": [str]},
}
JOB = {
    "workerPoolSpecs": [{
        "machineSpec": {"machineType": str, "acceleratorType": str, "acceleratorCount": int},
        "replicaCount": str,
        "diskSpec": {"bootDiskType": str, "bootDiskSizeGb": int},
        "containerSpec": {"imageUri": str, "command": [str], "args": [str], "env": [{"name": str, "value": str}]},
    }],
    "scheduling": {"timeout": str, "restartJobOnWorkerRestart": bool, "strategy": str},
    "baseOutputDirectory": {"outputUriPrefix": str},
}  # fmt: skip
TUNING = {
    "displayName": str, "maxTrialCount": int, "parallelTrialCount": int, "maxFailedTrialCount": int,
    "studySpec": {
        "metrics": [{"metricId": str, "goal": str}],
        "parameters": [{"parameterId": str, "scaleType": str, **VALUE}],
        "medianAutomatedStoppingSpec": {"useElapsedDuration": bool},
    },
    "trialJobSpec": JOB,
}  # fmt: skip
"""The documented fields that the descriptions use (REST reference of Vertex AI, v1), with the types of their JSON."""


def check(value: Any, schema: Any, where: str) -> None:
    """Check that a value has documented fields of the right types only."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), where
        for name, item in value.items():
            assert name in schema, f"{where}.{name}"
            check(item, schema[name], f"{where}.{name}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for number, item in enumerate(value):
            check(item, schema[0], f"{where}[{number}]")
    else:
        assert type(value) is schema, where


def test_descriptions_have_documented_fields_only() -> None:
    check(CUSTOM, JOB, "custom job")
    check(SEARCH, TUNING, "tuning job")
    with pytest.raises(AssertionError, match=r"job\.scheduling\.timeOut"):
        check({"scheduling": {"timeOut": "1s"}}, JOB, "job")


@pytest.mark.parametrize(("name", "value"), [("CustomJobSpec", CUSTOM), ("HyperparameterTuningJob", SEARCH)])
def test_the_types_of_the_service_take_the_descriptions(name: str, value: Any) -> None:
    aiplatform = pytest.importorskip("google.cloud.aiplatform_v1", reason="google-cloud-aiplatform is not installed")
    message = getattr(aiplatform.types, name).from_json(json.dumps(value))

    (pool,) = (message if name == "CustomJobSpec" else message.trial_job_spec).worker_pool_specs
    assert pool.container_spec.args
    assert pool.machine_spec.accelerator_count == 1


def parse(arguments: list[str]) -> dict[str, Any]:
    """Parse what stands after ``cspine train`` as the command line would."""
    command = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    return dict(command.make_context("train", list(arguments)).params)


def test_the_custom_job_is_a_command_of_ours() -> None:
    container = CUSTOM["workerPoolSpecs"][0]["containerSpec"]
    assert container["command"] == ["cspine"]
    assert container["args"][0] == "train"

    options = parse(container["args"][1:])

    assert (options["model"], options["loader_workers"]) == ("levels", 8)


def test_each_trial_is_a_command_of_ours_with_the_settings_that_the_service_appends() -> None:
    container, study = SEARCH["trialJobSpec"]["workerPoolSpecs"][0]["containerSpec"], SEARCH["studySpec"]
    shell, flag, script, _ = container["command"]
    assert (shell, flag) == ("sh", "-c")
    words = shlex.split(script)
    assert words[:3] == ["exec", "cspine", "train"]
    assert words[-1] == "$@"
    appended = []
    for parameter in study["parameters"]:
        (space,) = [parameter[name] for name in VALUE if name in parameter]
        value = space.get("minValue", space.get("values", [None])[0])
        appended.append(f"--{parameter['parameterId']}={value}")

    options = parse([*words[3:-1], *container["args"], *appended])

    assert options["report_hypertune"] is True
    assert (options["learning_rate"], options["batch_size"], options["train_views"]) == (0.0001, 2, "3,3,3")
    assert [metric["metricId"] for metric in study["metrics"]] == [METRIC_TAG]


def test_metrics_are_reported_in_the_format_of_the_service(tmp_path: Path) -> None:
    """The lines that google's cloudml-hypertune 0.1.0.dev6 writes: sorted keys, and all but the time as text."""
    path = tmp_path / "hypertune" / "output.metrics"
    curve = [{"epoch": 1.0, "val_loss": 0.5}, {"epoch": 2.0, "val_loss": 0.25}]

    with report_to_hypertune({FILE_VARIABLE: str(path), TRIAL_VARIABLE: "7"}):
        notify_observers("pretraining steps", curve[:1])
        assert not path.exists()
        notify_observers("steps", curve)

    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [isinstance(line.pop("timestamp"), float) for line in lines] == [True, True]
    assert lines == [
        {"trial": "7", "val_loss": "0.5", "global_step": "1", "checkpoint_path": ""},
        {"trial": "7", "val_loss": "0.25", "global_step": "2", "checkpoint_path": ""},
    ]


def test_metrics_are_those_that_googles_package_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hypertune = pytest.importorskip("hypertune", reason="cloudml-hypertune is not installed")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    monkeypatch.setenv(FILE_VARIABLE, str(theirs))
    monkeypatch.setenv(TRIAL_VARIABLE, "7")
    hypertune.HyperTune().report_hyperparameter_tuning_metric("val_loss", 0.5, 1)
    with report_to_hypertune({FILE_VARIABLE: str(ours), TRIAL_VARIABLE: "7"}):
        notify_observers("steps", [{"epoch": 1.0, "val_loss": 0.5}])

    expected, found = (json.loads(path.read_text(encoding="utf-8")) for path in (theirs, ours))
    assert expected.keys() == found.keys()
    assert {**expected, "timestamp": 0} == {**found, "timestamp": 0}
