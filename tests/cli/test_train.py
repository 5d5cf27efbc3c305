"""``cspine train``: folds as jobs, settings from a file, exit codes."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.errors import PreemptedError
from cspine.training.summary import TrainingSummary


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record what would be trained."""
    recorded: list[dict[str, Any]] = []

    def train(model: str, _: Path, out: Path, **options: Any) -> TrainingSummary:
        options.pop("progress")
        recorded.append({"model": model, **options})
        return TrainingSummary(1, 1, 0.5, 0, (out / "weights.onnx",))

    monkeypatch.setattr("cspine.pipelines.train.train_network", train)
    return recorded


def run(*arguments: object) -> Result:
    command = ["train", "--data", "compiled", "--out", "run", *map(str, arguments)]
    return CliRunner().invoke(app, command, catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), {}),
        (("--fold", 2), {"fold": 2}),
        (("--fold", "2/5"), {"fold": 2, "folds": 5}),
        (("--all-folds",), {"fold": None}),
        (("--all-folds", "--fold", "2/5"), {"fold": None, "only_fold": 2, "folds": 5}),
    ],
)
def test_folds(calls: list[dict[str, Any]], arguments: tuple[object, ...], options: dict[str, Any]) -> None:
    assert run(*arguments).exit_code == 0

    assert calls == [{"model": "levels", **options}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fold", "a/5"), "takes a number from 0, such as 2, or with the number of folds"),
        (("--fold", "2/"), "takes a number from 0"),
        (("--all-folds", "--fold", 2), "give one of the two, or the job's part of all folds as I/K"),
    ],
)
def test_wrong_folds_are_refused(calls: list[dict[str, Any]], arguments: tuple[object, ...], words: str) -> None:
    result = run(*arguments)

    assert (result.exit_code, calls) == (2, [])
    assert words in " ".join(result.stderr.split())


def test_options_precede_the_settings_of_a_file(calls: list[dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "best.toml"
    file.write_text('model = "baseline-cnn"\nlearning_rate = 0.01\nepochs = 7\nseed = 3\n', encoding="utf-8")

    assert run("--settings", file, "--epochs", 2).exit_code == 0
    assert calls == [{"model": "baseline-cnn", "learning_rate": 0.01, "epochs": 2, "seed": 3}]
    file.write_text("learning_rate = \n", encoding="utf-8")
    result = run("--settings", file)
    assert result.exit_code == 2
    assert "best.toml: is not TOML" in result.stderr


def test_a_preempted_run_has_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise PreemptedError("run: stopped by a signal, a checkpoint is written; run the same command again")

    requeued = []

    def requeue() -> str:
        requeued.append(1)
        return "17"

    monkeypatch.setattr("cspine.pipelines.train.train_network", stop)
    monkeypatch.setattr("cspine.training.preemption.requeue_job", requeue)

    result = run()
    assert (result.exit_code, requeued) == (75, [])
    assert "stopped by a signal, a checkpoint is written" in result.stderr
    result = run("--requeue")
    assert (result.exit_code, requeued) == (75, [1])
    assert "job 17 is back in the queue" in result.stdout
