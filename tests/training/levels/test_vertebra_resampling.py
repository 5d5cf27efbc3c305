"""Vertebra resampling and auxiliary data: labels follow their vertebra, and nearly half are fractured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.views import make_level_dataset
from tests.training.conftest import Export
from tests.training.levels.conftest import ONE_EPOCH
from typer.testing import CliRunner

from cspine.cli import app
from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import LabelError
from cspine.training.levels.dataset import list_cases
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.training.levels.vertebra_resampling import resample_vertebrae

SETTINGS = ONE_EPOCH.model_copy(update={"folds": 3, "resampled_epoch_fraction": 1.0})


def test_labels_follow_their_vertebra_and_nearly_half_are_fractured(tmp_path: Path) -> None:
    cases = list_cases(make_level_dataset(tmp_path, 24))
    source = {path: (case, level) for case in cases for level, path in case.mosaics.items()}

    resampled = resample_vertebrae(cases, 300, seed=1)

    for made in resampled:
        assert made.truth[0] == max(made.truth[1:])
        for column, level in enumerate(VERTEBRAE, start=1):
            if level not in made.mosaics:
                assert made.truth[column] == 0
                continue
            case, source_level = source[made.mosaics[level]]
            assert source_level == level
            assert made.truth[column] == case.truth[column]
            assert made.cells.get(level) == case.cells.get(level)
            assert made.fracture_types[level] == case.fracture_types[level]
    assert all("C7" not in made.mosaics for made in resampled)  # no case has it
    truth = np.array([made.truth for made in resampled])
    assert truth[:, 1:7].mean() == pytest.approx(0.8 * 0.55 * 0.95, abs=0.04)
    assert 1 - truth[:, 0].mean() == pytest.approx(0.2, abs=0.08)
    n_sources = [len({source[path][0].study for path in made.mosaics.values()}) for made in resampled]
    assert np.mean(n_sources) > 4


def test_resampling_depends_on_its_seed_only(tmp_path: Path) -> None:
    cases = list_cases(make_level_dataset(tmp_path, 12))

    one, same, other = (resample_vertebrae(cases, 20, seed=seed) for seed in (1, 1, 2))

    assert one == same != other


def test_auxiliary_vertebrae_have_their_fraction(tmp_path: Path) -> None:
    cases, auxiliary = (list_cases(make_level_dataset(tmp_path / str(n), n, seed=n)) for n in (12, 8))

    resampled = resample_vertebrae(cases, 200, seed=1, auxiliary=auxiliary, auxiliary_fraction=0.4)

    files = {path for case in auxiliary for path in case.mosaics.values()}
    is_auxiliary = [path in files for made in resampled for path in made.mosaics.values()]
    assert np.mean(is_auxiliary) == pytest.approx(0.4, abs=0.05)


def test_auxiliary_data_are_trained_on_and_never_held_out(tmp_path: Path, exports: dict[Path, Export]) -> None:
    make_level_dataset(tmp_path / "data", 12)
    make_level_dataset(tmp_path / "auxiliary", 8, seed=4)
    command = [
        "train", "--data", str(tmp_path / "data"), "--auxiliary-data", str(tmp_path / "auxiliary"),
        "--out", str(tmp_path / "run"), "--epochs", "1", "--batch-size", "4", "--folds", "3",
        "--train-views", "1,1,1", "--precision", "32-true",
    ]  # fmt: skip

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    split = (tmp_path / "run" / "split.csv").read_text()
    assert split.count("1.3.0.") == 12
    assert "1.3.4." not in split
    metadata = exports[tmp_path / "run" / "weights.onnx"].metadata
    assert "8 phantom cases (no patient) and 8 auxiliary phantoms" in metadata.trained_on
    assert metadata.phantom_only


def test_unsuitable_auxiliary_data_are_refused(tmp_path: Path) -> None:
    dataset, other = make_level_dataset(tmp_path / "data", 12), make_level_dataset(tmp_path / "auxiliary", 8)
    one_epoch = LevelTrainSettings(epochs=1, resampled_epoch_fraction=0.1)

    with pytest.raises(LabelError, match=r"data: holds 12 patients who are in .*data too"):
        train_levels(dataset, tmp_path / "run", LevelTrainSettings(), auxiliary_data=[dataset])
    with pytest.raises(LabelError, match="none of 1 epochs resamples vertebrae"):
        train_levels(
            dataset, tmp_path / "run", one_epoch, auxiliary_data=[make_level_dataset(tmp_path / "x", 8, seed=9)]
        )
    other = replace(other, localizer_sha256="1" * 64)
    with pytest.raises(LabelError, match=r"auxiliary: was compiled with .* another localizer than .*data"):
        train_levels(dataset, tmp_path / "run", LevelTrainSettings(), auxiliary_data=[other])


def test_weights_of_auxiliary_patients_are_not_phantom_only(tmp_path: Path, exports: dict[Path, Export]) -> None:
    dataset = make_level_dataset(tmp_path / "data", 12)
    patients = replace(make_level_dataset(tmp_path / "auxiliary", 8, seed=4), is_phantom=False)

    summary = train_levels(dataset, tmp_path / "run", SETTINGS, auxiliary_data=[patients])

    assert summary is not None
    metadata = exports[summary.weights[0]].metadata
    assert not metadata.phantom_only
    assert "8 phantom cases (no patient) and 8 auxiliary studies" in metadata.trained_on


@pytest.mark.parametrize(
    ("model", "option"), [("levels", "--patience"), ("levels", "--phantoms"), ("localizer", "--folds")]
)
def test_options_of_another_network_are_refused(tmp_path: Path, model: str, option: str) -> None:
    (tmp_path / "data").mkdir()
    command = ["train", "--data", str(tmp_path / "data"), "--model", model, "--out", str(tmp_path / "run"), option, "3"]

    done = CliRunner().invoke(app, command)

    assert done.exit_code != 0
    assert f"{option}: is no option of this network" in done.output
