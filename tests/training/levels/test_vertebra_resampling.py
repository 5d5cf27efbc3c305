"""Necks put together out of many: what is true of a vertebra goes with it, and nearly half are broken."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.views import make_views
from typer.testing import CliRunner

from cspine.classification.level_classifier import LevelClassifier
from cspine.cli import app
from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import LabelError
from cspine.training.levels.dataset import list_cases
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.training.levels.vertebra_resampling import resample_vertebrae


def test_what_is_known_of_a_vertebra_goes_with_it(tmp_path: Path) -> None:
    cases = list_cases(make_views(tmp_path, 24))
    source = {path: (case, level) for case in cases for level, path in case.mosaics.items()}

    resampled_epoch_fraction = resample_vertebrae(cases, 300, seed=1)

    for made in resampled_epoch_fraction:
        assert made.truth[0] == max(made.truth[1:])
        for place, level in enumerate(VERTEBRAE, start=1):
            if level not in made.mosaics:
                assert made.truth[place] == 0
                continue
            case, whose = source[made.mosaics[level]]
            assert whose == level
            assert made.truth[place] == case.truth[place]
            assert made.cells.get(level) == case.cells.get(level)
            assert made.fracture_types[level] == case.fracture_types[level]
    assert all("C7" not in made.mosaics for made in resampled_epoch_fraction)  # no neck has it
    broken = np.array([made.truth for made in resampled_epoch_fraction])
    assert broken[:, 1:7].mean() == pytest.approx(0.8 * 0.55 * 0.95, abs=0.04)
    assert 1 - broken[:, 0].mean() == pytest.approx(0.2, abs=0.08)
    several = [len({source[path][0].study for path in made.mosaics.values()}) for made in resampled_epoch_fraction]
    assert np.mean(several) > 4


def test_mixing_depends_on_nothing_but_its_seed(tmp_path: Path) -> None:
    cases = list_cases(make_views(tmp_path, 12))

    assert (
        resample_vertebrae(cases, 20, seed=1)
        == resample_vertebrae(cases, 20, seed=1)
        != resample_vertebrae(cases, 20, seed=2)
    )


def test_further_vertebrae_are_learnt_from_and_never_held_out(tmp_path: Path) -> None:
    make_views(tmp_path / "data", 12)
    make_views(tmp_path / "more", 8, seed=4)
    run = [
        "train", "--data", str(tmp_path / "data"), "--auxiliary-data", str(tmp_path / "more"), "--out", str(tmp_path / "run"),
        "--epochs", "1", "--batch-size", "4", "--folds", "3", "--train-views", "1,1,1", "--precision", "32-true",
    ]  # fmt: skip

    done = CliRunner().invoke(app, run)

    assert done.exit_code == 0, done.output
    split = (tmp_path / "run" / "split.csv").read_text()
    assert split.count("1.3.0.") == 12
    assert "1.3.4." not in split
    metadata = LevelClassifier.load(tmp_path / "run" / "weights.onnx").metadata
    assert "and single vertebrae of 8 other phantom necks" in metadata.trained_on
    assert metadata.phantom_only


def test_further_vertebrae_that_were_cut_in_another_way_are_refused(tmp_path: Path) -> None:
    store, other = make_views(tmp_path / "data", 12), make_views(tmp_path / "more", 8)
    other = replace(other, localizer_sha256="1" * 64)

    with pytest.raises(LabelError, match=r"data: holds patients who are in .*data too, 12 of them"):
        train_levels(store, tmp_path / "run", LevelTrainSettings(), further=store)
    with pytest.raises(LabelError, match=r"no epoch of 1 mixes necks, so none reads it"):
        train_levels(
            store,
            tmp_path / "run",
            LevelTrainSettings(epochs=1, resampled_epoch_fraction=0.1),
            further=make_views(tmp_path / "x", 8, seed=9),
        )
    with pytest.raises(LabelError, match=r"more: vertebrae were found or cut in another way than in .*data"):
        train_levels(store, tmp_path / "run", LevelTrainSettings(), further=other)


def test_what_was_learnt_from_patients_is_never_called_phantom_only(tmp_path: Path) -> None:
    store, other = (
        make_views(tmp_path / "data", 12),
        replace(make_views(tmp_path / "more", 8, seed=4), is_phantom=False),
    )
    settings = LevelTrainSettings(
        epochs=1,
        batch_size=4,
        folds=3,
        workers=0,
        train_views=(1, 1, 1),
        precision="32-true",
        resampled_epoch_fraction=1.0,
    )

    summary = train_levels(store, tmp_path / "run", settings, further=other)

    assert summary is not None
    metadata = LevelClassifier.load(*summary.weights).metadata
    assert not metadata.phantom_only
    assert "8 phantom necks (no patient) and single vertebrae of 8 other patients" in metadata.trained_on


@pytest.mark.parametrize(
    ("model", "option"), [("levels", "--patience"), ("levels", "--phantoms"), ("localizer", "--folds")]
)
def test_an_option_of_another_network_is_refused(tmp_path: Path, model: str, option: str) -> None:
    (tmp_path / "data").mkdir()
    run = ["train", "--data", str(tmp_path / "data"), "--model", model, "--out", str(tmp_path / "run"), option, "3"]

    done = CliRunner().invoke(app, run)

    assert done.exit_code != 0
    assert f"{option}: is no option of this network" in done.output
