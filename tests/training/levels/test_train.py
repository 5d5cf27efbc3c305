"""Training of the level network: what it learns, resuming, folds, processes, splits, calibration."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.support.views import make_level_dataset
from tests.training.conftest import Export, interrupted_after
from tests.training.levels.conftest import ONE_EPOCH, QUICK, Run, train

from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import classify_dataset, read_views
from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError, OutputTakenError
from cspine.datasets.locked_split import make_split
from cspine.datasets.reference_standard import read_reference_standard
from cspine.localization.localizer import Localizer
from cspine.metrics.scores import auc
from cspine.models.metadata import LevelsMetadata
from cspine.training.levels.dataset import list_cases
from cspine.training.levels.train import train_levels
from cspine.views.level_views import LevelViews


def test_training_learns_visible_fractures_and_exports_weights(tmp_path: Path) -> None:
    dataset = make_level_dataset(tmp_path / "data", 48)

    run = train(dataset, tmp_path / "run", QUICK)

    classifier = LevelClassifier.load(*run.summary.weights, localizer=Localizer.load())
    new = make_level_dataset(tmp_path / "new", 16, seed=5)
    probability = classify_dataset(new, classifier)
    truth = new.studies().set_index("study_instance_uid").loc[probability.index, list(TARGETS)].to_numpy(int)
    assert auc(truth[:, 0], probability.to_numpy()[:, 0]) > 0.9
    assert auc(truth[:, 1:7].ravel(), probability.to_numpy()[:, 1:7].ravel()) > 0.9
    metadata = classifier.metadata
    assert metadata.phantom_only
    assert metadata.fracture_types == ("lamina",)
    assert metadata.localizer_sha256 == "0" * 64
    assert len(set(probability["C7"])) == 1  # absent everywhere
    assert probability["C7"].iloc[0] == metadata.not_found_fracture_rate < 0.2
    assert (tmp_path / "run" / "out-of-fold.csv").read_text().count("\n") == 13
    with pytest.raises(OutputTakenError):
        train_levels(dataset, tmp_path / "run", QUICK.model_copy(update={"seed": 3}))


def test_interrupted_run_resumes_to_the_same_weights(tmp_path: Path, exports: dict[Path, Export]) -> None:
    dataset = make_level_dataset(tmp_path / "data", 16)
    settings = QUICK.model_copy(update={"pretrain_epochs": 1, "epochs": 2})
    complete = train(dataset, tmp_path / "complete", settings)
    with interrupted_after(1, tmp_path / "resumed"):  # pretraining has a folder of its own
        train_levels(dataset, tmp_path / "resumed", settings)
    resumed = train(dataset, tmp_path / "resumed", settings)

    assert resumed.summary.resumed_from == 1
    expected = exports[complete.weights].state
    for name, value in exports[resumed.weights].state.items():
        assert torch.equal(value, expected[name]), name


def test_a_run_over_other_pixels_is_not_resumed(tmp_path: Path) -> None:
    dataset = make_level_dataset(tmp_path / "data", 12)
    train_levels(dataset, tmp_path / "run", ONE_EPOCH)
    (path, *_), other = list_cases(dataset)[0].mosaics.values(), list_cases(dataset)[1]
    path.write_bytes(next(iter(other.mosaics.values())).read_bytes())

    with pytest.raises(OutputTakenError):
        train_levels(dataset, tmp_path / "run", ONE_EPOCH)


def test_each_fold_has_a_network_and_all_share_a_calibration(tmp_path: Path) -> None:
    dataset = make_level_dataset(tmp_path / "data", 16)
    settings = ONE_EPOCH.model_copy(update={"folds": 2, "fold": None})

    summary = train(dataset, tmp_path / "run", settings).summary

    assert [path.name for path in summary.weights] == ["weights-0.onnx", "weights-1.onnx"]
    raw = pd.read_csv(tmp_path / "run" / "out-of-fold.csv", index_col=0)
    assert len(raw) == 16  # each patient once, by the network that was not trained on them
    assert raw.index.is_unique
    first, second = (LevelClassifier.load(path) for path in summary.weights)
    assert second.metadata.operating_points_overall == first.metadata.operating_points_overall
    assert "all 2 folds" in first.metadata.calibration_data
    ensemble = LevelClassifier.load(*summary.weights, tta=True)
    assert ensemble.identity.trained_on.startswith("2 networks averaged: 8 phantom cases")
    levels = read_views(dataset, dataset.levels().groupby("study_instance_uid").get_group(raw.index[0]))
    single = [classifier.predict_scores(levels).levels[:6] for classifier in (first, second)]  # C7 is absent
    averaged = LevelClassifier.load(*summary.weights).predict_scores(levels).levels[:6]
    np.testing.assert_array_less(np.min(single, axis=0) - 1e-9, averaged)
    np.testing.assert_array_less(averaged, np.max(single, axis=0) + 1e-9)


def test_case_and_mirror_image_get_the_same_scores_with_test_time_augmentation(one_epoch: Run) -> None:
    classifier, dataset = LevelClassifier.load(one_epoch.weights, tta=True), one_epoch.dataset
    uid = dataset.levels()["study_instance_uid"].iloc[0]
    levels = read_views(dataset, dataset.levels().groupby("study_instance_uid").get_group(uid))

    def mirror(views: LevelViews) -> LevelViews:
        planes = views.images.reshape(3, 3, *views.images.shape[1:])  # one view of each plane, three images each
        mirrored = np.concatenate([planes[:1, ::-1], planes[1:, :, :, ::-1]])
        return replace(views, images=mirrored.reshape(views.images.shape))

    scores, other = (classifier.predict_scores(case) for case in (levels, tuple(mirror(views) for views in levels)))

    np.testing.assert_allclose(scores.levels, other.levels, atol=1e-5)
    np.testing.assert_allclose(scores.overall, other.overall, atol=1e-5)
    np.testing.assert_allclose(scores.evidence[:, 1:], other.evidence[:, 1:, ..., ::-1], atol=1e-5)
    np.testing.assert_allclose(scores.evidence[:, :1], other.evidence[:, :1, ::-1], atol=1e-5)


def test_two_processes_train_one_network_and_the_first_writes(tmp_path: Path) -> None:
    make_level_dataset(tmp_path / "data", 18)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "cspine", "train",
        "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--model", "levels", "--epochs", "2",
        "--batch-size", "4", "--folds", "3", "--train-views", "1,1,1", "--precision", "32-true",
    ]  # fmt: skip

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("weights: ") == 1
    curve = pd.read_csv(tmp_path / "run" / "curves.csv")
    assert curve["epoch"].tolist() == [1, 2]
    assert LevelClassifier.load(tmp_path / "run" / "weights.onnx").metadata.phantom_only


def test_small_validation_set_is_not_calibrated_on(one_epoch: Run) -> None:
    assert not one_epoch.summary.calibrated
    assert LevelClassifier.load(one_epoch.weights).metadata.calibration_underpowered
    assert not LevelClassifier.load().metadata.calibration_underpowered


def test_fold_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="fold 4 does not exist: 4 are counted from 0"):
        train_levels(make_level_dataset(tmp_path / "data", 8), tmp_path / "run", QUICK.model_copy(update={"fold": 4}))


def test_locked_split_assigns_training_and_validation_set(tmp_path: Path, exports: dict[Path, Export]) -> None:
    dataset = make_level_dataset(tmp_path / "data", 24)
    split = make_split(
        read_reference_standard(dataset.folder), {"train": 0.5, "validation": 0.25, "holdout": 0.25}, seed=1
    )

    summary = train_levels(dataset, tmp_path / "run", ONE_EPOCH, split=split)

    assert summary is not None
    raw = pd.read_csv(tmp_path / "run" / "out-of-fold.csv", dtype=str)["StudyInstanceUID"]
    assert set(raw) == set(split.studies("validation"))
    metadata = exports[summary.weights[0]].metadata
    assert isinstance(metadata, LevelsMetadata)
    assert metadata.calibration_data.endswith(f"(the part validation of the split {split.sha256[:12]})")
    assert metadata.trained_on.startswith(f"{len(split.studies('train'))} phantom cases")
    with pytest.raises(LabelError, match="leave --all-folds out"):
        train_levels(dataset, tmp_path / "other", ONE_EPOCH.model_copy(update={"fold": None}), split=split)


def test_folds_trained_by_jobs_of_their_own_make_the_same_ensemble(tmp_path: Path, exports: dict[Path, Export]) -> None:
    dataset = make_level_dataset(tmp_path / "data", 8)
    settings = ONE_EPOCH.model_copy(update={"folds": 2, "fold": None})
    train_levels(dataset, tmp_path / "whole", settings)

    for fold in (1, 0):
        job = train_levels(dataset, tmp_path / "jobs", settings.model_copy(update={"only_fold": fold}))
        assert job is not None
        assert job.weights == ()
    assert not (tmp_path / "jobs" / "out-of-fold.csv").exists()
    summary = train_levels(dataset, tmp_path / "jobs", settings)

    assert summary is not None
    assert summary.resumed_from == 1
    assert sorted(path.name for path in exports) == ["weights-0.onnx"] * 2 + ["weights-1.onnx"] * 2
    ours, theirs = ((tmp_path / name / "out-of-fold.csv").read_text() for name in ("jobs", "whole"))
    assert ours == theirs
    with pytest.raises(LabelError, match="fold 2 does not exist: 2 are counted from 0"):
        train_levels(dataset, tmp_path / "other", settings.model_copy(update={"only_fold": 2}))
