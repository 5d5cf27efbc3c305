"""``cspine evaluate`` and ``cspine split`` as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.shards import file_hashes
from tests.support.views import make_level_dataset
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.anatomy import OVERALL, TARGETS
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.submission import submission_table
from cspine.evaluation.holdout_access_log import holdout_access_path
from cspine.localization.loading import load_localizer
from cspine.reports.evaluation.markdown import escape_markdown
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels

FAST_TRAINING = LevelTrainSettings(
    pretrain_epochs=0, epochs=1, batch_size=4, folds=2, workers=0, train_views=(1, 1, 1), precision="32-true"
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a train.csv of 120 studies and predictions of two models, as a table and as a submission."""
    rng = np.random.default_rng(0)
    levels = rng.random((120, 7)) < 0.12
    truth = np.column_stack([levels.any(axis=1), levels]).astype(int)
    index = pd.Index([f"1.{n}" for n in range(120)], name="StudyInstanceUID")
    pd.DataFrame(truth, index=index, columns=list(TARGETS)).to_csv(tmp_path / "train.csv")
    strong = 1 / (1 + np.exp(1.5 - 2.5 * truth - rng.normal(size=truth.shape)))
    pd.DataFrame(strong, index=index, columns=list(TARGETS)).to_csv(tmp_path / "strong.csv")
    submission_table(list(index), rng.random(truth.shape)).to_csv(tmp_path / "weak.csv", index=False)
    return tmp_path


def evaluate(files: Path, *options: object, out: str = "out") -> Result:
    """Evaluate both models."""
    both = ("--predictions", files / "strong.csv", "--predictions", files / "weak.csv")
    return run(
        "evaluate", "--truth", files / "train.csv", *both, "--out", files / out, "--bootstrap-samples", 100, *options
    )


def test_two_models_are_compared(files: Path) -> None:
    result = evaluate(files)

    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("out/evaluation.html")
    assert "strong vs. weak, patient: difference in AUC +0." in result.stdout
    assert "Research use only" in result.stderr
    assert {path.name for path in (files / "out").iterdir()} == {
        "evaluate.json", "evaluation.html", "evaluation.json", "evaluation.md", "points.json", "probabilities-1.csv",
        "probabilities-2.csv", "reliability.png", "roc.png", "decision.png", "subgroups.png",
    }  # fmt: skip
    report = json.loads((files / "out" / "evaluation.json").read_text())
    assert [model["name"] for model in report["models"]] == ["strong", "weak"]


def test_operating_points_of_validation_are_used_on_holdout(files: Path) -> None:
    assert run("split", "--truth", files / "train.csv", "--out", files / "split.json").exit_code == 0
    part = ("--split", files / "split.json", "--part")
    assert evaluate(files, *part, "validation", out="validation").exit_code == 0

    first = evaluate(
        files, *part, "holdout", "--operating-points", files / "validation" / "points.json", "--json", out="holdout"
    )
    again = evaluate(files, *part, "holdout", "--operating-points", files / "validation" / "points.json", out="holdout")

    report = json.loads(first.stdout)
    assert (report["protocol"]["part"], report["protocol"]["n_earlier_accesses"]) == ("holdout", 0)
    assert report["n_studies"] == pytest.approx(18, abs=3)
    points = report["models"][0]["targets"][0]["operating_points"]
    assert [point["name"] for point in points] == ["rule-out", "triage"]
    assert report["operating_points"]["chosen_on"] == (
        "18 studies, the part validation of train.csv, by the probabilities of strong"
    )
    assert "This evaluation on the holdout part is recorded; 1 earlier ones" in again.stdout
    assert not (files / "holdout" / "points.json").exists()  # nothing is chosen on the holdout part
    assert len(holdout_access_path(files / "split.json").read_text().splitlines()) == 2


def test_split_is_reported_and_kept(files: Path) -> None:
    first = run("split", "--truth", files / "train.csv", "--out", files / "split.json", "--json")
    other = run("split", "--truth", files / "train.csv", "--out", files / "split.json", "--seed", 1)
    invalid = run("split", "--truth", files / "train.csv", "--out", files / "x.json", "--fractions", "0.5,0.5")

    report = json.loads(first.stdout)
    assert sum(report["n_studies"].values()) == 120
    assert set(report["n_fractured"]["holdout"]) == set(TARGETS)
    assert report["n_fractured"]["train"][OVERALL] > report["n_fractured"]["holdout"][OVERALL]
    assert (other.exit_code, invalid.exit_code) == (2, 2)
    assert "holds another split, which is locked" in other.stderr
    assert "takes 4 fractions" in invalid.stderr


def test_holdout_access_is_recorded_only_after_all_checks(files: Path) -> None:
    assert run("split", "--truth", files / "train.csv", "--out", files / "split.json").exit_code == 0
    holdout = ("--split", files / "split.json", "--part", "holdout")
    table = pd.read_csv(files / "strong.csv", dtype=str)

    table.iloc[:5].to_csv(files / "strong.csv", index=False)
    assert "have no prediction" in evaluate(files, *holdout).stderr
    table.to_csv(files / "strong.csv", index=False)
    (files / "taken").mkdir()
    (files / "taken" / "x").write_text("")
    assert "choose another --out" in evaluate(files, *holdout, out="taken").stderr
    without_split = evaluate(files, "--part", "holdout")

    assert without_split.exit_code == 2
    assert "--part holdout: is a part of a split; give --split too" in without_split.stderr
    assert not holdout_access_path(files / "split.json").exists()


def test_another_evaluation_does_not_replace_the_first(files: Path) -> None:
    assert evaluate(files).exit_code == 0
    before = (files / "out" / "evaluation.json").read_bytes()

    other = evaluate(files, "--operating-points", files / "out" / "points.json")

    assert other.exit_code == 2
    assert (files / "out" / "evaluation.json").read_bytes() == before
    in_sample = evaluate(files, "--operating-points", files / "out" / "points.json", out="again")
    assert in_sample.exit_code == 0
    assert (
        "These are the studies of this evaluation: the results are optimistic"
        in (files / "again" / "evaluation.md").read_text()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--run", "a", "--data", "b", "--truth", "c"), "give neither --truth nor --boxes"),
        ((), "give --truth and --predictions, or --run and --data"),
        (("--run", "a"), "give --truth and --predictions, or --run and --data"),
        (("--predictions", "a.csv"), "--predictions needs --truth"),
        (("--predictions", "a.csv", "--truth", "b.csv", "--out", "c"), "a.csv: is not there"),
    ],
)
def test_invalid_options_are_refused(options: tuple[str, ...], message: str) -> None:
    result = run("evaluate", *options)

    assert result.exit_code == 2
    assert message in result.stderr


def test_incomplete_predictions_write_nothing(files: Path) -> None:
    table = pd.read_csv(files / "strong.csv", dtype=str).iloc[:-2]
    table.to_csv(files / "strong.csv", index=False)

    result = evaluate(files)

    assert result.exit_code == 2
    assert "strong: 2 of 120 studies have no prediction (first: 1.118, 1.119)" in result.stderr
    assert not (files / "out").exists()


def test_run_is_evaluated_at_its_own_operating_points_with_a_model_card(tmp_path: Path) -> None:
    make_level_dataset(tmp_path / "data", 32)
    make_level_dataset(tmp_path / "other", 24, seed=5)
    train_levels(CompiledDataset.open(tmp_path / "data"), tmp_path / "run", FAST_TRAINING)

    result = run(
        "evaluate", "--run", tmp_path / "run", "--data", tmp_path / "other", "--bootstrap-samples", 100, "--json"
    )

    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["is_phantom"]
    assert report["n_studies"] == 24
    assert "held out" in report["operating_points"]["chosen_on"]
    assert report["protocol"]["n_training_leaks"] == 0
    assert report["models"][0]["n_unscored_vertebrae"] == 24  # C7 is in no scan
    page = (tmp_path / "run" / "evaluation-other" / "evaluation.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') >= 6
    assert "not clinical accuracy" in page
    card = (tmp_path / "run" / "weights.md").read_text()
    assert "Research use only" in card
    assert "## Limitations" in card
    localizer = load_localizer().weights
    assert f"- Localizer: sha256 `{localizer.sha256}`" in card
    assert f"sources and licenses: {escape_markdown(localizer.metadata.trained_on)}" in card
    assert "CC BY 3.0" in card  # of LIDC-IDRI and CT COLONOGRAPHY, on which the localizer was trained
    assert "the results are optimistic" not in card
    shared = ("--run", tmp_path / "run", "--data", tmp_path / "other", "--out", tmp_path / "shards")
    for shard in ("2/3", "1/3", "3/3"):
        assert run("evaluate", *shared, "--bootstrap-samples", 100, "--shard", shard).exit_code == 0
    assert run("merge", tmp_path / "shards").exit_code == 0
    assert file_hashes(tmp_path / "shards") == file_hashes(tmp_path / "run" / "evaluation-other")
    leaking = run("evaluate", "--run", tmp_path / "run", "--data", tmp_path / "data", "--bootstrap-samples", 100)
    assert "32 of these studies are of patients that the weights were trained on" in leaking.stderr
    for path in (tmp_path / "run" / "evaluation-data" / "evaluation.html", tmp_path / "run" / "weights.md"):
        text = path.read_text()
        assert "32 of these studies are of patients" in text
        assert "the results are optimistic" in text


def test_split_and_folds_exclude_each_other(tmp_path: Path) -> None:
    for options in (("--folds", 3), ("--fold", 1), ("--all-folds",)):
        result = run(
            "train", "--data", tmp_path, "--out", tmp_path / "run", "--split", tmp_path / "split.json", *options
        )

        assert result.exit_code == 2
        assert "leave --folds, --fold and --all-folds out" in result.stderr


def test_gallery_shows_worst_failures(tmp_path: Path) -> None:
    dataset = make_level_dataset(tmp_path / "data", 8)
    labels = dataset.studies().set_index("study_instance_uid")[list(TARGETS)]
    (1 - labels.astype(float) * 0.9).rename_axis("StudyInstanceUID").to_csv(tmp_path / "inverted.csv")
    command = (
        "evaluate",
        "--truth",
        dataset.folder,
        "--predictions",
        tmp_path / "inverted.csv",
        "--bootstrap-samples",
        100,
    )

    plain = run(*command, "--out", tmp_path / "plain")
    shown = run(*command, "--out", tmp_path / "shown", "--gallery-data", dataset.folder)

    assert (plain.exit_code, shown.exit_code) == (0, 0)
    images = [(tmp_path / out / "evaluation.html").read_text().count("image/jpeg") for out in ("plain", "shown")]
    assert images[0] == 0
    assert images[1] >= 6
