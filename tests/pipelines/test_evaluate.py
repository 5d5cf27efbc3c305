"""The use cases of evaluation from Python, without the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cspine.core.errors import InputError, OutputTakenError
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.holdout_access_log import read_holdout_accesses
from cspine.pipelines.evaluate import EvaluateSettings, evaluate_predictions
from cspine.pipelines.split import split_studies

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]

FAST = EvaluateSettings(n_resamples=100)


@pytest.fixture
def folder(tables: Tables, tmp_path: Path) -> Path:
    """A folder with train.csv and the predictions of one model, of 200 studies."""
    labels, probability = tables(200, skill=2.0)
    labels.to_csv(tmp_path / "train.csv")
    probability.to_csv(tmp_path / "model.csv")
    return tmp_path


def test_predictions_are_evaluated_without_writing(folder: Path) -> None:
    before = sorted(folder.iterdir())

    report = evaluate_predictions(folder / "train.csv", [folder / "model.csv"], settings=FAST)

    assert report.folder is None
    assert report.result.models[0].name == "model"
    assert report.result.models[0].target(LEVELS).n_cases == 1400
    assert sorted(folder.iterdir()) == before


def test_report_folder_belongs_to_one_evaluation(folder: Path) -> None:
    report = evaluate_predictions(folder / "train.csv", [folder / "model.csv"], folder / "out", FAST)

    assert report.folder == folder / "out"
    assert json.loads((folder / "out" / "evaluation.json").read_text())["n_studies"] == 200
    other = FAST.model_copy(update={"n_resamples": 101})
    with pytest.raises(OutputTakenError, match="n_resamples"):
        evaluate_predictions(folder / "train.csv", [folder / "model.csv"], folder / "out", other)


def test_holdout_access_is_recorded_without_a_report(folder: Path) -> None:
    split_studies(folder / "train.csv", folder / "split.json")
    settings = FAST.model_copy(update={"split": folder / "split.json", "part": "holdout"})

    for number in range(2):
        report = evaluate_predictions(folder / "train.csv", [folder / "model.csv"], settings=settings)
        assert report.result.protocol.n_earlier_accesses == number

    assert len(read_holdout_accesses(folder / "split.json")) == 2


def test_part_without_split_raises(folder: Path) -> None:
    settings = FAST.model_copy(update={"part": "test"})

    with pytest.raises(InputError, match="is a part of a split"):
        evaluate_predictions(folder / "train.csv", [folder / "model.csv"], settings=settings)
