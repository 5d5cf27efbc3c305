"""`cspine tune`: trials, pruning, many workers, a killed one, a database, and that the test part is never read."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.support.compiled import make_sagittal_dataset
from tests.support.postgresql import needs_postgresql, running_postgresql
from typer.testing import CliRunner

from cspine.cli import app
from cspine.core.anatomy import TARGETS
from cspine.core.errors import InputError, PreemptedError
from cspine.datasets.locked_split import make_split, write_split
from cspine.datasets.reference_standard import read_reference_standard
from cspine.experiments.tuning.search_space import Search
from cspine.experiments.tuning.study import SharedStudy
from cspine.pipelines.experiments.tune import tune
from cspine.training.baseline.settings import BaselineTrainSettings

ROOT = Path(__file__).parents[2]


def make_search(**values: Any) -> Search:
    return Search.model_validate({
        "model": "baseline-cnn", "trials": 5, "startup_trials": 2, "pruner": "none",
        "settings": {"epochs": 2, "batch_size": 16},
        "search": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "dropout": {"choices": [0.0, 0.3]}},
        **values,
    })  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    dataset = make_sagittal_dataset(folder / "data", 24)
    parts = {"train": 0.5, "validation": 0.25, "test": 0.25}
    write_split(make_split(read_reference_standard(dataset.folder), parts, seed=1), folder / "split.json")
    return folder


def test_command_searches_and_writes_settings_that_train_takes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, out = tmp_path / "search.toml", tmp_path / "out"
    search.write_text(
        'model = "baseline-cnn"\ntrials = 5\nstartup_trials = 2\n[settings]\nepochs = 2\nbatch_size = 16\n'
        "[search.learning_rate]\nlow = 1e-4\nhigh = 1e-1\nlog = true\n[search.dropout]\nchoices = [0.0, 0.3]\n",
        encoding="utf-8",
    )
    command = ["tune", str(search), "--data", str(data / "data"), "--out", str(out)]

    result = CliRunner().invoke(app, [*command, "--split", str(data / "split.json")], catch_exceptions=False)

    assert result.exit_code == 0, result.stderr
    assert "Best val_loss: " in result.stdout
    table = pd.read_csv(out / "trials.csv")
    assert list(table["trial"]) == [0, 1, 2, 3, 4]
    assert set(table["state"]) <= {"complete", "pruned"}
    assert table["learning_rate"].between(1e-4, 1e-1).all()
    summary = json.loads((out / "result.json").read_text())
    finished = table[table["state"] == "complete"]
    assert summary["best"]["value"] == finished["value"].min()
    best = tomllib.loads((out / "best.toml").read_text())
    row = finished.sort_values("value").iloc[0]
    assert best == {
        "model": "baseline-cnn", "epochs": 2, "batch_size": 16, "dropout": row["dropout"],
        "learning_rate": pytest.approx(row["learning_rate"]),
    }  # fmt: skip
    assert "Research use only" in (out / "best.toml").read_text()
    assert (out / "tuning.png").stat().st_size > 10_000
    assert "optimistic on that set" in (out / "tuning.html").read_text()
    curves = pd.read_csv(out / "trials" / f"{int(row['trial']):04d}" / "curves.csv")
    assert curves["val_loss"].min() == pytest.approx(row["value"], rel=1e-4)
    assert not list(out.rglob("checkpoint.pt"))
    monkeypatch.setattr("cspine.pipelines.experiments.tune.train_network", None)  # nothing is left to train
    again = CliRunner().invoke(app, [*command, "--split", str(data / "split.json"), "--json"])
    assert json.loads(again.stdout) == summary
    other = CliRunner().invoke(app, command)  # without the split
    assert other.exit_code == 2
    assert "choose another --out" in other.stderr


def flip_labels(folder: Path, studies: set[str]) -> None:
    """Replace the labels of some studies in every table of a data set."""
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        frame = table.to_pandas()
        chosen = frame["study_instance_uid"].isin(studies)
        frame.loc[chosen, list(TARGETS)] = 1 - frame.loc[chosen, list(TARGETS)]
        import pyarrow as pa

        pq.write_table(pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False), path)


def test_labels_of_the_test_part_change_nothing_and_no_access_is_recorded(data: Path, tmp_path: Path) -> None:
    import shutil

    changed = tmp_path / "data"
    shutil.copytree(data / "data", changed)
    split = json.loads((data / "split.json").read_text())
    flip_labels(changed, set(split["parts"]["test"]))
    before = read_reference_standard(data / "data").labels
    assert not before.equals(read_reference_standard(changed).labels)
    search = make_search(trials=2)

    tables = [
        tune(search, folder, tmp_path / f"out-{number}", split=data / "split.json").table.drop(columns="seconds")
        for number, folder in enumerate((data / "data", changed))
    ]

    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not list(data.glob("*holdout*"))
    flip_labels(changed, set(split["parts"]["validation"]))  # these do count
    third = tune(search, changed, tmp_path / "out-2", split=data / "split.json").table
    assert (third["value"] != tables[0]["value"]).all()


def train_curve(values: dict[float, list[float]]) -> Any:
    """Return a stand-in for training, whose loss follows from the learning rate."""
    from cspine.training.epoch_observers import notify_observers

    def train(_: str, __: object, ___: Path, **options: Any) -> None:
        nearest = min(values, key=lambda rate: abs(rate - options["dropout"]))
        curve: list[dict[str, float]] = []
        for epoch, value in enumerate(values[nearest], 1):
            curve.append({"epoch": float(epoch), "val_loss": value})
            notify_observers("pretraining steps", curve)
            notify_observers("steps", curve)

    return train


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_poor_trials_are_stopped_early(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pruner: str
) -> None:
    good, poor = [0.5 - 0.01 * epoch for epoch in range(9)], [2.0] * 9
    monkeypatch.setattr("cspine.pipelines.experiments.tune.train_network", train_curve({0.0: good, 0.9: poor}))
    search = make_search(
        trials=14, pruner=pruner, sampler="random", settings={"epochs": 9}, search={"dropout": {"choices": [0.0, 0.9]}}
    )

    table = tune(search, data / "data", tmp_path / "out").table

    pruned = table[table["state"] == "pruned"]
    assert len(pruned)
    assert set(pruned["dropout"]) == {0.9}
    assert (pruned["epochs"] < 9).all()
    assert (table[table["dropout"] == 0.0]["state"] == "complete").any()


def test_the_trial_of_a_silent_worker_is_enqueued_again_and_its_run_is_resumed(tmp_path: Path) -> None:
    search, out = make_search(trials=2), tmp_path / "out"
    out.mkdir()
    dead = SharedStudy.open(out, search)
    trial = dead.ask()
    assert trial is not None
    params = dead.suggest(trial)
    trial.set_user_attr("alive", time.time() - 1_000)  # its worker is gone
    worker = SharedStudy.open(out, search)

    retried = worker.ask()

    assert retried is not None
    assert worker.suggest(retried) == params
    from cspine.experiments.tuning.study import origin_of

    assert (retried.number, origin_of(retried)) == (1, trial.number)
    with worker.heartbeat(retried):
        assert worker.enqueue_dead_trials() == 0  # this one is alive
    assert [each.state.name for each in worker.trials()] == ["FAIL", "RUNNING"]
    fresh = worker.ask()
    assert fresh is not None
    assert worker.ask() is None  # two run: no more are wanted


def test_a_preempted_worker_gives_its_trial_back(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search, out = make_search(trials=1), tmp_path / "out"
    folders: list[Path] = []

    def train(_: str, __: object, folder: Path, **___: Any) -> None:
        folders.append(folder)
        if len(folders) == 1:
            raise PreemptedError("taken away")
        train_curve({0.0: [0.4, 0.3], 0.3: [0.4, 0.3]})(_, __, folder, **___)

    monkeypatch.setattr("cspine.pipelines.experiments.tune.train_network", train)
    with pytest.raises(PreemptedError):
        tune(search, data / "data", out)
    table = tune(search, data / "data", out).table

    assert folders[0] == folders[1]
    assert list(table["state"]) == ["fail", "complete"]
    assert table["retry_of"].iloc[1] == 0
    assert table["value"].iloc[1] == 0.3


def test_a_signal_as_a_trial_ends_stops_the_worker(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Path] = []

    def train(_: str, __: object, folder: Path, **___: Any) -> None:
        trained.append(folder)
        os.kill(os.getpid(), signal.SIGTERM)
        train_curve({0.0: [0.4, 0.3], 0.3: [0.4, 0.3]})(_, __, folder, **___)

    monkeypatch.setattr("cspine.pipelines.experiments.tune.train_network", train)

    with pytest.raises(PreemptedError, match="all finished work is kept"):
        tune(make_search(trials=2), data / "data", tmp_path)

    assert len(trained) == 1


def test_failed_trials_are_recorded_with_their_reason(data: Path, tmp_path: Path) -> None:
    search = make_search(trials=1, metric="val_auc")

    with pytest.raises(InputError, match=r"no trial could be finished, the first one because: metric val_auc: is no"):
        tune(search, data / "data", tmp_path / "out")

    table = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert "which has epoch, train_loss, val_loss" in table["error"].iloc[0]


_WORKER = """
import sys
from pathlib import Path
from tests.pipelines.test_tune import make_search
from cspine.pipelines.experiments.tune import tune
storage = sys.argv[3] if len(sys.argv) > 3 else None
tune(make_search(trials=6, settings={"epochs": 12, "batch_size": 16}), sys.argv[1], sys.argv[2], storage=storage)
"""


def start_worker(*arguments: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", _WORKER, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment)


def check_shared_study(out: Path, workers: list[subprocess.Popen[bytes]], storage: str | None = None) -> None:
    assert [worker.wait(timeout=300) for worker in workers] == [0] * len(workers)
    search = make_search(trials=6, settings={"epochs": 12, "batch_size": 16})
    table = pd.read_csv(out / "trials.csv")
    assert (table["state"] == "complete").sum() == 6
    assert search.trials == 6
    assert storage is None or not (out / "study.journal").exists()


@pytest.mark.nightly
def test_several_workers_share_a_study_and_one_is_killed(data: Path, tmp_path: Path) -> None:
    """Three processes on one journal; the killed one's trial is trained on by another."""
    out = tmp_path / "out"
    victim = start_worker(data / "data", out)
    deadline = time.monotonic() + 120
    while not list(out.glob("trials/*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(out / "study.journal")))
    study = optuna.load_study(study_name="cspine-out", storage=storage)
    running = [each for each in study.trials if each.state.name == "RUNNING"]
    assert len(running) == 1
    storage.set_trial_user_attr(running[0]._trial_id, "alive", time.time() - 1_000)  # as if two minutes had passed

    check_shared_study(out, [start_worker(data / "data", out) for _ in range(2)])

    table = pd.read_csv(out / "trials.csv")
    retried = table[table["retry_of"].notna()]
    assert len(retried) == 1
    curves = pd.read_csv(out / "trials" / f"{int(retried['retry_of'].iloc[0]):04d}" / "curves.csv")
    assert list(curves["epoch"]) == list(range(1, 13))


@pytest.mark.nightly
@needs_postgresql
def test_workers_share_a_study_in_postgresql(data: Path, tmp_path: Path) -> None:
    with running_postgresql() as cluster:
        out = tmp_path / "out"
        workers = [start_worker(data / "data", out, cluster.url) for _ in range(2)]

        check_shared_study(out, workers, cluster.url)


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^127\.0\.0\.1:1/none: cannot be used \("):
        SharedStudy.open(tmp_path, make_search(), storage="postgresql+pg8000://user:secret@127.0.0.1:1/none")


def test_default_settings_of_the_searched_networks_are_known() -> None:
    assert make_search(settings={}).epochs == BaselineTrainSettings().epochs
