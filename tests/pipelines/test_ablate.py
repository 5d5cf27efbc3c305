"""Ablation of the number of views, as a command and from Python."""

import json
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.errors import InputError
from cspine.phantom import PhantomSettings, synthesize
from cspine.pipelines.experiments.ablate import AblationSettings, ablate

SMALL = PhantomSettings(matrix=64, prevalence=0.5, slice_spacing_mm=(2.4, 2.5), truncated_fraction=0.0)
N_TRAIN = 8


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablate")
    synthesize(folder / "train", studies=N_TRAIN, seed=1, settings=SMALL)
    synthesize(folder / "test", studies=4, seed=2, settings=SMALL)
    return folder


def test_command_compiles_trains_and_evaluates_each_number_of_views(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = ("ablate", "--train", data / "train", "--test", data / "test", "--views", "1,9,3", "--epochs", 1)

    result = run(*command, "--out", out, "--workers", 1)

    assert result.exit_code == 0, result.stderr
    assert "No number of views above 9 was tested." in result.stdout
    summary = json.loads((out / "result.json").read_text())
    assert (summary["network"], summary["reference"]) == ("baseline-cnn", 9)
    assert [row["views"] for row in summary["rows"]] == [1, 9, 3]
    sizes = {row["views"]: row["bytes_per_study"] for row in summary["rows"]}
    assert 2 < sizes[3] / sizes[1] < 4
    assert sizes[9] > 2 * sizes[3]
    assert summary["rows"][1]["patients_difference"] is None
    assert len(pd.read_parquet(out / "train-3" / "manifest.parquet")) == N_TRAIN * 3
    for name in ("ablation.md", "ablation.html"):
        assert "not clinical accuracy" in (out / name).read_text()
    checkpoint = (out / "run-3" / "checkpoint.pt").stat().st_mtime_ns
    monkeypatch.setattr("cspine.training.baseline.train.export_onnx", lambda *_: None)  # the networks are exported
    again = run(*command, "--out", out, "--workers", 1, "--json")
    patients = [row["patients"] for row in summary["rows"]]
    assert [row["patients"] for row in json.loads(again.stdout)["rows"]] == patients
    assert (out / "run-3" / "checkpoint.pt").stat().st_mtime_ns == checkpoint
    other = run(*command[:-1], 3, "--out", out)
    assert other.exit_code == 2
    assert "choose another --out" in other.stderr


def test_impossible_requests_are_refused(data: Path, tmp_path: Path) -> None:
    train, test = data / "train", data / "test"
    for views in ([], [0], [3, 3], [100]):
        with pytest.raises(InputError, match="takes different numbers from 1 to 99"):
            ablate(train, test, tmp_path / "out", views)
    with pytest.raises(InputError, match=f"holds {N_TRAIN} studies that are trained on"):
        ablate(train, train, tmp_path / "out", [3])
    malformed = run("ablate", "--train", train, "--test", test, "--out", tmp_path / "out", "--views", "3;5")
    assert malformed.exit_code == 2
    assert "takes whole numbers with commas" in malformed.stderr
    assert not (tmp_path / "out").exists()


def test_two_studies_of_a_patient_do_not_train_and_test(tmp_path: Path) -> None:
    fractured = SMALL.model_copy(update={"prevalence": 1.0})
    for seed, name in enumerate(("train", "test"), start=1):
        synthesize(tmp_path / name, studies=1, seed=seed, settings=fractured)
        for path in (tmp_path / name / "train_images").rglob("*.dcm"):
            dataset = pydicom.dcmread(path)
            dataset.PatientID = "the same"
            dataset.save_as(path)

    with pytest.raises(InputError, match=r"test: holds studies of patients who are trained on \(1\)"):
        ablate(tmp_path / "train", tmp_path / "test", tmp_path / "out", [1])

    assert not (tmp_path / "out" / "run-1").exists()


@pytest.mark.nightly
def test_views_of_vertebrae_are_compiled_once_for_all_numbers(data: Path, tmp_path: Path) -> None:
    settings = AblationSettings("levels", epochs=1)

    ablation = ablate(data / "train", data / "test", tmp_path / "out", [1, 6], settings).ablation

    assert ablation.reference == 1
    assert sorted(path.name for path in (tmp_path / "out").glob("t*")) == ["test-6", "train-6"]
    assert ablation.rows[0].bytes_per_study == pytest.approx(ablation.rows[1].bytes_per_study / 6)


def test_learning_curve_trains_on_nested_fractions_and_is_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    folders = ("--train", data / "train", "--test", data / "test", "--out", out)
    options = ("--views", "1", "--epochs", 1, "--train-fraction", ".5,1", "--repeats", 1, "--workers", 1)
    command = ("ablate", *folders, *options)

    result = run(*command)

    assert result.exit_code == 0, result.stderr
    assert "training patients the AUC changes by" in result.stdout
    points = json.loads((out / "result.json").read_text())["points"]
    assert [point["fraction"] for point in points] == [0.5, 1.0]
    assert points[0]["n_patients"] < points[1]["n_patients"] < N_TRAIN
    assert len(points[0]["levels_repeats"]) == 1
    assert points[1]["patients_difference"] is None
    assert sorted(path.name for path in out.glob("run-*")) == ["run-0.5-seed-0", "run-1-seed-0"]
    page = (out / "learning-curve.html").read_text()
    assert "not clinical accuracy" in page
    assert (out / "learning-curve.png").stat().st_size > 10_000
    monkeypatch.setattr("cspine.training.baseline.train.export_onnx", lambda *_: None)  # the networks are exported
    assert json.loads(run(*command, "--json").stdout)["points"] == points


def test_impossible_fractions_are_refused(data: Path, tmp_path: Path) -> None:
    command = ("ablate", "--train", data / "train", "--test", data / "test", "--out", tmp_path / "out")
    for fractions, words in (("0,1", "above 0 and up to 1"), ("2", "up to 1"), ("x", "such as .1,.2,.5,1")):
        result = run(*command, "--train-fraction", fractions)
        assert (result.exit_code, words in result.stderr.replace("\n", " ")) == (2, True), result.stderr
    assert "one number of views" in run(*command, "--train-fraction", "1", "--views", "1,3").stderr
    assert "--repeats: has no effect without --train-fraction" in run(*command, "--repeats", 2).stderr
