from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.support.compiled import make_store
from torch import nn

from cspine.classification.baseline import Baseline
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError, OutputTakenError
from cspine.datasets.locked_split import make_split
from cspine.datasets.reference_standard import read_reference_standard
from cspine.metrics.rsna2022 import metric_optimal, weighted_losses
from cspine.training.baseline import train as loop
from cspine.training.baseline.network import BaselineCNN
from cspine.training.baseline.settings import TrainSettings
from cspine.training.checkpoint import RunState, save_checkpoint
from cspine.training.losses import challenge_log_loss

QUICK = TrainSettings(epochs=3, batch_size=16, patience=3, validation_fraction=0.25)


def test_the_network_is_the_notebooks_layer_for_layer() -> None:
    network = BaselineCNN()

    kinds = [type(layer).__name__ for layer in (*network.features, *network.head)]
    convolution, dense = ["Conv2d", "ReLU", "MaxPool2d", "BatchNorm2d"], ["Linear", "ReLU", "BatchNorm1d", "Dropout"]
    assert kinds == ["Conv2d", "ReLU", *convolution * 6, "Flatten", *dense * 3, "Linear"]
    convolutions = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 128, 256, 512, 1]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    assert [layer.out_features for layer in network.head if isinstance(layer, nn.Linear)] == [1024, 1024, 1024, 8]
    assert network.features(torch.zeros(2, 1, 64, 64)).shape == (2, 1)
    assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 8)


def test_the_loss_trained_with_has_the_challenges_weights() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(50, 8, generator=generator, dtype=torch.float64)
    truth = (torch.rand(50, 8, generator=generator) < 0.3).double()

    losses = challenge_log_loss(logits, truth)

    _, expected = weighted_losses(truth.numpy(), torch.sigmoid(logits).numpy())
    np.testing.assert_allclose(losses.numpy(), expected.sum(axis=1) / 14.0, rtol=1e-6)


def test_the_loss_is_least_at_the_metric_optimal_probability() -> None:
    truth = torch.zeros(100, 8)
    truth[:30] = 1.0  # every target of the first 30 studies: p = 0.3
    logits = torch.zeros(8, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=50)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = challenge_log_loss(logits.expand(100, 8), truth).mean()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]

    np.testing.assert_allclose(torch.sigmoid(logits).detach().numpy(), metric_optimal([0.3] * 8), atol=1e-3)


def test_training_learns_what_can_be_seen_and_ends_in_weights(tmp_path: Path) -> None:
    store = make_store(tmp_path / "data", 64)
    settings = TrainSettings(epochs=12, batch_size=8, patience=12, validation_fraction=0.25)

    summary = loop.train(store, tmp_path / "run", settings)

    curve = pd.read_csv(tmp_path / "run" / "curves.csv")
    assert len(curve) == summary.epochs
    assert curve["train_loss"].iloc[-1] < 0.5 * curve["train_loss"].iloc[0]
    assert (tmp_path / "run" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    weights = Baseline.load(summary.weights)
    assert weights.metadata.phantom_only
    assert weights.metadata.settings_hash
    assert weights.metadata.prevalence[2] == pytest.approx(0.5, abs=0.1)
    probability = classify_dataset(make_store(tmp_path / "new", 8, seed=5), weights)
    truth = np.arange(8) % 2 == 0
    assert probability["C2"][truth].min() > probability["C2"][~truth].max()
    assert probability["C5"].max() < 0.2


def test_split_is_by_patient_and_written_down(tmp_path: Path) -> None:
    loop.train(make_store(tmp_path / "data"), tmp_path / "run", QUICK)

    split = pd.read_csv(tmp_path / "run" / "split.csv", dtype=str)
    assert split["part"].value_counts().to_dict() == {"train": 18, "validation": 6}
    assert split["StudyInstanceUID"].is_unique


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path / "data")
    whole = loop.train(store, tmp_path / "whole", QUICK)
    saved = save_checkpoint

    def stop_after_two(folder: Path, state: RunState) -> None:
        saved(folder, state)
        if state.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        loop.train(store, tmp_path / "parts", QUICK)
    monkeypatch.setattr(loop, "save_checkpoint", saved)
    parts = loop.train(store, tmp_path / "parts", QUICK)

    assert parts.resumed_from == 2
    assert parts.epochs == whole.epochs == 3
    assert parts.weights.read_bytes() == whole.weights.read_bytes()


def test_other_settings_do_not_go_into_the_same_folder(tmp_path: Path) -> None:
    store = make_store(tmp_path / "data")
    settings = QUICK.model_copy(update={"epochs": 1})
    loop.train(store, tmp_path / "run", settings)

    with pytest.raises(OutputTakenError, match="began with other settings"):
        loop.train(store, tmp_path / "run", settings.model_copy(update={"seed": 7}))


def test_without_labels_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="0 studies have labels"):
        loop.train(make_store(tmp_path / "data", 4, labelled=False), tmp_path / "run", QUICK)


def test_augmentation_changes_images_the_same_way_for_a_seed() -> None:
    from cspine.training.baseline.augmentation import Augmentation

    images = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))

    first, second, other = Augmentation(1)(images), Augmentation(1)(images), Augmentation(2)(images)

    assert first.shape == images.shape
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert 0.0 <= float(first.min()) <= float(first.max()) <= 1.0


def test_plain_probabilities_undo_the_weight_of_positives(tmp_path: Path) -> None:
    weights = Baseline.load(loop.train(make_store(tmp_path / "data"), tmp_path / "run", QUICK).weights)
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)

    plain, trained = weights.image_probabilities(images), weights.run(images)

    np.testing.assert_allclose(2 * plain / (1 + plain), trained)
    assert plain.shape == (3, len(TARGETS))


def test_a_frozen_split_says_what_is_learnt_from(tmp_path: Path) -> None:
    store = make_store(tmp_path / "data")
    split = make_split(
        read_reference_standard(store.folder), {"train": 0.5, "validation": 0.25, "holdout": 0.25}, seed=1
    )

    loop.train(store, tmp_path / "run", QUICK, frozen=split)

    parts = pd.read_csv(tmp_path / "run" / "split.csv", dtype=str).set_index("StudyInstanceUID")["part"]
    assert set(parts.index[parts == "train"]) == set(split.studies("train"))
    assert set(parts.index[parts == "validation"]) == set(split.studies("validation"))
    assert not set(parts.index) & set(split.studies("holdout"))
    with pytest.raises(OutputTakenError):
        loop.train(store, tmp_path / "run", QUICK)
