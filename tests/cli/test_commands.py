"""What commands do beyond what the documentation's test shows."""

import json
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.compiled import make_sagittal_dataset
from typer.testing import CliRunner, Result

from cspine.classification.baseline import Baseline
from cspine.cli import app
from cspine.core.anatomy import TARGETS
from cspine.datasets.compiled import CompiledDataset
from cspine.metrics.rsna2022 import metric_optimal, study_optimal


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a compiled data set 'data' and a run 'run' trained on it for one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    make_sagittal_dataset(folder / "data", 16)
    assert (
        run(
            "train", "--data", folder / "data", "--out", folder / "run", "--model", "baseline-cnn", "--epochs", 1
        ).exit_code
        == 0
    )
    return folder


def test_submissions_hold_what_the_transform_says(trained: Path, tmp_path: Path) -> None:
    tables = {}
    for transform in ("none", "metric-optimal", "study-optimal"):
        out = tmp_path / f"{transform}.csv"
        options = ("--data", trained / "data", "--run", trained / "run", "--out", out, "--transform", transform)
        assert run("submit", *options).exit_code == 0
        column = pd.read_csv(out)["fractured"].to_numpy().reshape(-1, 8)
        tables[transform] = np.roll(column, 1, axis=1)  # patient_overall comes last in the file, first in TARGETS

    np.testing.assert_allclose(tables["metric-optimal"], metric_optimal(tables["none"]))
    np.testing.assert_allclose(tables["study-optimal"], study_optimal(tables["none"]))


def test_submission_names_the_studies_that_have_no_rows(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "data", tmp_path / "data")
    dataset = CompiledDataset.open(tmp_path / "data")
    record = {"study_instance_uid": "9.9", "series_instance_uid": None, "patient": "p", "status": "no-spine"}
    dataset.write_record("9.9", record)
    dataset.finish(None)

    result = run("submit", "--data", dataset.folder, "--run", trained / "run", "--out", tmp_path / "out.csv", "--json")

    assert json.loads(result.stdout)["missing_studies"] == ["9.9"]
    assert json.loads(result.stdout)["n_studies"] == 16
    assert "1 studies of the data set have no images and therefore no rows (first: 9.9)" in result.stderr


def test_evaluation_says_when_studies_were_trained_on(trained: Path, tmp_path: Path) -> None:
    same = run(
        "evaluate",
        "--run",
        trained / "run",
        "--data",
        trained / "data",
        "--out",
        tmp_path / "same",
        "--bootstrap-samples",
        100,
    )
    make_sagittal_dataset(tmp_path / "other", 8, seed=9)
    other = run(
        "evaluate", "--run", trained / "run", "--data", tmp_path / "other", "--bootstrap-samples", 100, "--json"
    )

    assert "16 of these studies are of patients that the weights were trained on" in same.stderr
    assert "trained on" not in other.stderr
    report = json.loads(other.stdout)
    assert report["n_studies"] == 8
    assert [row["name"] for row in report["losses"]][-3:] == [
        "constant: all 0.5", "constant: training prevalence", "constant: best in training",
    ]  # fmt: skip
    written = trained / "run" / "evaluation-other"
    assert {path.name for path in written.iterdir()} >= {
        "evaluation.json",
        "evaluation.md",
        "roc.png",
        "reliability.png",
    }


def test_the_demo_names_the_report_last(tmp_path: Path) -> None:
    result = run("demo", "--out", tmp_path / "demo")

    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("demo/report.html")
    assert "nothing clinical" in (tmp_path / "demo" / "report.html").read_text()


def test_the_embedded_study_is_what_its_recipe_makes(tmp_path: Path) -> None:
    from scripts.make_embedded import make_study

    make_study(tmp_path / "study.zip")

    shipped = resources.files("cspine.phantom").joinpath("embedded", "study.zip").read_bytes()
    assert len(shipped) == pytest.approx((tmp_path / "study.zip").stat().st_size, rel=0.01)
    opened = [run("inspect", path, "--json").stdout for path in (tmp_path / "study.zip", _on_disk(tmp_path, shipped))]
    first, second = (json.loads(text)["studies"][0]["series"][0] for text in opened)
    assert first == second


def _on_disk(folder: Path, data: bytes) -> Path:
    path = folder / "shipped.zip"
    path.write_bytes(data)
    return path


def test_describe_reads_the_challenges_layout_and_a_compiled_data_set(tmp_path: Path) -> None:
    assert run("synth", "--out", tmp_path / "data", "--studies", 3, "--matrix", 64, "--workers", 1).exit_code == 0
    assert (
        run("compile", tmp_path / "data", "--straight", "--out", tmp_path / "compiled", "--workers", 1).exit_code == 0
    )

    raw, compiled = (
        json.loads(run("describe", tmp_path / name, "--out", tmp_path / f"{name}-figures", "--json").stdout)
        for name in ("data", "compiled")
    )

    assert raw["labels"] == compiled["labels"]
    assert raw["is_phantom"] is compiled["is_phantom"] is True
    for measure in ("slices", "slice_spacing_mm", "pixel_spacing_mm"):
        assert raw["geometry"][measure] == pytest.approx(compiled["geometry"][measure])
    assert set(raw["labels"]["counts"]) == set(TARGETS)


def test_the_manifest_says_where_each_image_lies_and_how_it_was_made(trained: Path) -> None:
    import pyarrow.parquet as pq

    store = CompiledDataset.open(trained / "data")

    metadata = json.loads(pq.read_schema(trained / "data" / "manifest.parquet").metadata[b"cspine"])
    assert metadata["hash"] == store.settings.hash
    assert {"x_lps_mm", "pixel_mm", "patient", *TARGETS} <= set(store.manifest().columns)


def test_an_unknown_network_is_named(trained: Path, tmp_path: Path) -> None:
    result = run("train", "--data", trained / "data", "--out", tmp_path / "run", "--model", "gpt")

    assert result.exit_code == 2
    assert "'gpt' is not one of 'levels', 'localizer', 'baseline-cnn'" in " ".join(
        result.stderr.replace("│", " ").split()
    )
    assert not (tmp_path / "run").exists()


def test_without_the_extra_training_says_what_to_install(trained: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; from cspine.cli import main; "
        f"sys.argv = ['cspine', 'train', '--data', {str(trained / 'data')!r}, '--out', {str(tmp_path / 'run')!r}]; "
        "main()"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert 'torch is not installed; run: pip install "cspine[train]"' in done.stderr


def test_weights_of_a_run_carry_its_settings(trained: Path) -> None:
    metadata = Baseline.load(trained / "run" / "weights.onnx").metadata

    assert metadata.training["epochs"] == 1
    assert len(metadata.prevalence) == len(metadata.best_constants) == 8
    assert metadata.statement.startswith("Research use only")


def test_folders_that_are_no_data_set_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    result = run("train", "--data", tmp_path / "empty", "--out", tmp_path / "run", "--model", "baseline-cnn")

    assert result.exit_code == 2
    assert "is not a compiled data set; make one with `cspine compile`" in result.stderr
