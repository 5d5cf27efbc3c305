"""``cspine evaluate`` and ``cspine split`` as one would use them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.views import make_views
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.anatomy import OVERALL, TARGETS
from cspine.datasets.compiled import CompiledDataset
from cspine.evaluation.holdout_access_log import holdout_access_path
from cspine.metrics.rsna2022 import submission
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels

QUICK = LevelTrainSettings(
    pretrain_epochs=0, epochs=1, batch_size=4, folds=2, workers=0, train_views=(1, 1, 1), precision="32-true"
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a train.csv of 120 studies and the answers of two systems, as a table and as a submission."""
    rng = np.random.default_rng(0)
    levels = rng.random((120, 7)) < 0.12
    truth = np.column_stack([levels.any(axis=1), levels]).astype(int)
    index = pd.Index([f"1.{n}" for n in range(120)], name="StudyInstanceUID")
    pd.DataFrame(truth, index=index, columns=list(TARGETS)).to_csv(tmp_path / "train.csv")
    strong = 1 / (1 + np.exp(1.5 - 2.5 * truth - rng.normal(size=truth.shape)))
    pd.DataFrame(strong, index=index, columns=list(TARGETS)).to_csv(tmp_path / "strong.csv")
    submission(list(index), rng.random(truth.shape)).to_csv(tmp_path / "weak.csv", index=False)
    return tmp_path


def judged(files: Path, *more: object, out: str = "out") -> Result:
    both = ("--predictions", files / "strong.csv", "--predictions", files / "weak.csv")
    return run(
        "evaluate", "--truth", files / "train.csv", *both, "--out", files / out, "--bootstrap-samples", 100, *more
    )


def test_two_systems_are_judged_side_by_side(files: Path) -> None:
    result = judged(files)

    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("out/evaluation.html")
    assert "strong less weak, patient: +0." in result.stdout
    assert "Research use only" in result.stderr
    assert {path.name for path in (files / "out").iterdir()} == {
        "evaluate.json", "evaluation.html", "evaluation.json", "evaluation.md", "points.json", "probabilities-1.csv",
        "probabilities-2.csv", "reliability.png", "roc.png", "decision.png", "subgroups.png",
    }  # fmt: skip
    told = json.loads((files / "out" / "evaluation.json").read_text())
    assert [system["name"] for system in told["systems"]] == ["strong", "weak"]


def test_points_frozen_on_one_part_are_used_on_another(files: Path) -> None:
    assert run("split", "--truth", files / "train.csv", "--out", files / "split.json").exit_code == 0
    part = ("--split", files / "split.json", "--part")
    assert judged(files, *part, "validation", out="validation").exit_code == 0

    hidden = judged(
        files, *part, "holdout", "--operating-points", files / "validation" / "points.json", "--json", out="holdout"
    )
    again = judged(files, *part, "holdout", "--operating-points", files / "validation" / "points.json", out="holdout")

    told = json.loads(hidden.stdout)
    assert (told["protocol"]["part"], told["protocol"]["looks_before"]) == ("holdout", 0)
    assert told["studies"] == pytest.approx(18, abs=3)
    points = told["systems"][0]["rows"][0]["points"]
    assert [point["name"] for point in points] == ["rule-out", "triage"]
    assert told["points"]["chosen_on"] == "18 studies, the part tune of train.csv, by what strong says"
    assert "This look at the hidden part is recorded; there were 1 before" in again.stdout
    assert not (files / "holdout" / "points.json").exists()  # nothing is chosen on what is hidden
    assert len(holdout_access_path(files / "split.json").read_text().splitlines()) == 2


def test_a_split_is_told_and_kept(files: Path) -> None:
    first = run("split", "--truth", files / "train.csv", "--out", files / "split.json", "--json")
    other = run("split", "--truth", files / "train.csv", "--out", files / "split.json", "--seed", 1)
    wrong = run("split", "--truth", files / "train.csv", "--out", files / "x.json", "--fractions", "0.5,0.5")

    told = json.loads(first.stdout)
    assert sum(told["studies"].values()) == 120
    assert set(told["fractured"]["holdout"]) == set(TARGETS)
    assert told["fractured"]["train"][OVERALL] > told["fractured"]["holdout"][OVERALL]
    assert (other.exit_code, wrong.exit_code) == (2, 2)
    assert "holds another split, which is frozen" in other.stderr
    assert "takes 4 shares" in wrong.stderr


def test_a_look_is_recorded_only_where_there_is_something_to_see(files: Path) -> None:
    assert run("split", "--truth", files / "train.csv", "--out", files / "split.json").exit_code == 0
    hidden = ("--split", files / "split.json", "--part", "holdout")
    table = pd.read_csv(files / "strong.csv", dtype=str)

    table.iloc[:5].to_csv(files / "strong.csv", index=False)
    assert "have no answer" in judged(files, *hidden).stderr
    table.to_csv(files / "strong.csv", index=False)
    (files / "taken").mkdir()
    (files / "taken" / "x").write_text("")
    assert "choose another --out" in judged(files, *hidden, out="taken").stderr
    without = judged(files, "--part", "holdout")

    assert without.exit_code == 2
    assert "--part hidden: is a part of a split; give --split too" in without.stderr
    assert not holdout_access_path(files / "split.json").exists()


def test_another_evaluation_does_not_replace_the_first(files: Path) -> None:
    assert judged(files).exit_code == 0
    before = (files / "out" / "evaluation.json").read_bytes()

    other = judged(files, "--operating-points", files / "out" / "points.json")

    assert other.exit_code == 2
    assert (files / "out" / "evaluation.json").read_bytes() == before
    flattered = judged(files, "--operating-points", files / "out" / "points.json", out="again")
    assert flattered.exit_code == 0
    assert "they flatter" in (files / "again" / "evaluation.md").read_text()


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
def test_what_cannot_be_judged_is_refused(options: tuple[str, ...], message: str) -> None:
    result = run("evaluate", *options)

    assert result.exit_code == 2
    assert message in result.stderr


def test_nothing_is_written_where_answers_are_malformed(files: Path) -> None:
    table = pd.read_csv(files / "strong.csv", dtype=str).iloc[:-2]
    table.to_csv(files / "strong.csv", index=False)

    result = judged(files)

    assert result.exit_code == 2
    assert "strong: 2 of 120 studies have no answer (first: 1.118, 1.119)" in result.stderr
    assert not (files / "out").exists()


def test_a_run_is_judged_at_its_own_points_with_its_worst_failures(tmp_path: Path) -> None:
    make_views(tmp_path / "data", 32)
    make_views(tmp_path / "other", 24, seed=5)
    train_levels(CompiledDataset.open(tmp_path / "data"), tmp_path / "run", QUICK)

    result = run(
        "evaluate", "--run", tmp_path / "run", "--data", tmp_path / "other", "--bootstrap-samples", 100, "--json"
    )

    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["is_phantom"]
    assert told["studies"] == 24
    assert "held out" in told["points"]["chosen_on"]
    assert told["protocol"]["seen_in_training"] == 0
    assert told["systems"][0]["silent"] == 24  # C7 is in no scan
    page = (tmp_path / "run" / "evaluation-other" / "evaluation.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') >= 6
    assert "not clinical accuracy" in page
    metadata = (tmp_path / "run" / "weights.md").read_text()
    assert "Research use only" in metadata
    assert "Known misses" in metadata
    assert "learnt from: the numbers are too good" not in metadata
    same = run("evaluate", "--run", tmp_path / "run", "--data", tmp_path / "data", "--bootstrap-samples", 100)
    assert "32 of these studies were used in training" in same.stderr
    for path in (tmp_path / "run" / "evaluation-data" / "evaluation.html", tmp_path / "run" / "weights.md"):
        assert "32 of these studies were learnt from: the numbers are too good" in path.read_text()


def test_a_split_says_alone_what_is_held_out(tmp_path: Path) -> None:
    for more in (("--folds", 3), ("--fold", 1), ("--all-folds",)):
        result = run("train", "--data", tmp_path, "--out", tmp_path / "run", "--split", tmp_path / "split.json", *more)

        assert result.exit_code == 2
        assert "--split: says what is held out" in result.stderr


def test_what_predictions_got_wrong_is_shown(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 8)
    labels = store.studies().set_index("study_instance_uid")[list(TARGETS)]
    (1 - labels.astype(float) * 0.9).rename_axis("StudyInstanceUID").to_csv(tmp_path / "wrong.csv")
    command = ("evaluate", "--truth", store.folder, "--predictions", tmp_path / "wrong.csv", "--bootstrap-samples", 100)

    plain = run(*command, "--out", tmp_path / "plain")
    shown = run(*command, "--out", tmp_path / "shown", "--gallery-data", store.folder)

    assert (plain.exit_code, shown.exit_code) == (0, 0)
    pictures = [(tmp_path / out / "evaluation.html").read_text().count("image/jpeg") for out in ("plain", "shown")]
    assert pictures[0] == 0
    assert pictures[1] >= 6
