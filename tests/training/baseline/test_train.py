"""The baseline: the notebook's network as a task of the common trainer."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.support.compiled import make_sagittal_dataset
from tests.training.conftest import Export, interrupted_after
from torch import nn

from cspine.classification.baseline import Baseline
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.anatomy import TARGETS
from cspine.core.errors import InputError, LabelError, OutputTakenError
from cspine.datasets.locked_split import make_split
from cspine.datasets.reference_standard import read_reference_standard
from cspine.metrics.rsna2022 import metric_optimal, weighted_losses
from cspine.training.baseline.augmentation import Augmentation
from cspine.training.baseline.dataset import BaselineDataset
from cspine.training.baseline.network import BaselineCNN
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.baseline.task import BaselineTask
from cspine.training.baseline.train import train_baseline
from cspine.training.losses import challenge_log_loss

QUICK = BaselineTrainSettings(epochs=3, batch_size=16, patience=3, validation_fraction=0.25)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights trained on 64 studies whose C2 fractures show a bright square."""
    folder = tmp_path_factory.mktemp("baseline")
    settings = BaselineTrainSettings(epochs=12, batch_size=8, patience=12, validation_fraction=0.25)
    summary = train_baseline(make_sagittal_dataset(folder / "data", 64), folder / "run", settings)
    assert summary is not None
    assert summary.epochs == 12
    return summary.weights[0]


def test_network_matches_the_notebook_layer_by_layer() -> None:
    network = BaselineCNN()

    types = [type(layer).__name__ for layer in (*network.features, *network.head)]
    convolution, dense = ["Conv2d", "ReLU", "MaxPool2d", "BatchNorm2d"], ["Linear", "ReLU", "BatchNorm1d", "Dropout"]
    assert types == ["Conv2d", "ReLU", *convolution * 6, "Flatten", *dense * 3, "Linear"]
    convolutions = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [16, 32, 64, 128, 256, 512, 1]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    assert [layer.out_features for layer in network.head if isinstance(layer, nn.Linear)] == [1024, 1024, 1024, 8]
    assert network.features(torch.zeros(2, 1, 64, 64)).shape == (2, 1)
    assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 8)


def test_loss_has_the_challenge_weights() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(50, 8, generator=generator, dtype=torch.float64)
    truth = (torch.rand(50, 8, generator=generator) < 0.3).double()

    losses = challenge_log_loss(logits, truth)

    _, expected = weighted_losses(truth.numpy(), torch.sigmoid(logits).numpy())
    np.testing.assert_allclose(losses.numpy(), expected.sum(axis=1) / 14.0, rtol=1e-6)


def test_loss_is_minimal_at_the_metric_optimal_probability() -> None:
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


def test_training_learns_visible_fractures_and_exports_weights(weights: Path, tmp_path: Path) -> None:
    run = weights.parent

    curve = pd.read_csv(run / "curves.csv")
    assert len(curve) == 12
    assert curve["train_loss"].iloc[-1] < 0.5 * curve["train_loss"].iloc[0]
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    classifier = Baseline.load(weights)
    assert classifier.metadata.phantom_only
    assert classifier.metadata.settings_hash
    assert classifier.metadata.prevalence[2] == pytest.approx(0.5, abs=0.1)
    probability = classify_dataset(make_sagittal_dataset(tmp_path / "new", 8, seed=5), classifier)
    truth = np.arange(8) % 2 == 0
    assert probability["C2"][truth].min() > probability["C2"][~truth].max()
    assert probability["C5"].max() < 0.2


def test_probabilities_have_the_weight_of_positives_removed(weights: Path) -> None:
    classifier = Baseline.load(weights)
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)

    probability, weighted = classifier.image_probabilities(images), classifier.run(images)

    np.testing.assert_allclose(2 * probability / (1 + probability), weighted)
    assert probability.shape == (3, len(TARGETS))


def test_split_is_by_patient_and_written(tmp_path: Path, exports: dict[Path, Export]) -> None:
    train_baseline(make_sagittal_dataset(tmp_path / "data"), tmp_path / "run", QUICK)

    split = pd.read_csv(tmp_path / "run" / "split.csv", dtype=str)
    assert split["part"].value_counts().to_dict() == {"train": 18, "validation": 6}
    assert split["StudyInstanceUID"].is_unique
    assert exports[tmp_path / "run" / "weights.onnx"].metadata.trained_on.startswith("18 phantom studies")


def test_interrupted_run_resumes_to_the_same_weights(tmp_path: Path, exports: dict[Path, Export]) -> None:
    dataset = make_sagittal_dataset(tmp_path / "data")
    settings = QUICK.model_copy(update={"augment": True})
    complete = train_baseline(dataset, tmp_path / "complete", settings)
    with interrupted_after(2, tmp_path / "resumed"):
        train_baseline(dataset, tmp_path / "resumed", settings)
    resumed = train_baseline(dataset, tmp_path / "resumed", settings)

    assert complete is not None
    assert resumed is not None
    assert (complete.resumed_from, resumed.resumed_from) == (0, 2)
    assert resumed.epochs == complete.epochs == 3
    expected = exports[complete.weights[0]].state
    for name, value in exports[resumed.weights[0]].state.items():
        assert torch.equal(value, expected[name]), name


def test_training_stops_early_without_improvement(tmp_path: Path, exports: dict[Path, Export]) -> None:
    settings = QUICK.model_copy(update={"epochs": 30, "patience": 2, "learning_rate": 1.0})

    summary = train_baseline(make_sagittal_dataset(tmp_path / "data"), tmp_path / "run", settings)

    assert summary is not None
    assert summary.epochs == summary.best_epoch + 2 < 30
    assert list(exports) == list(summary.weights)
    assert summary.best_loss == pytest.approx(pd.read_csv(tmp_path / "run" / "curves.csv")["val_loss"].min(), rel=1e-4)


def test_other_settings_and_damaged_checkpoints_are_refused(tmp_path: Path, exports: dict[Path, Export]) -> None:
    dataset = make_sagittal_dataset(tmp_path / "data")
    settings = QUICK.model_copy(update={"epochs": 1})
    train_baseline(dataset, tmp_path / "run", settings)

    with pytest.raises(OutputTakenError, match="settings"):
        train_baseline(dataset, tmp_path / "run", settings.model_copy(update={"seed": 7}))
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match="delete it to train from epoch 1"):
        train_baseline(dataset, tmp_path / "run", settings)
    assert len(exports) == 1


def test_dataset_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="0 studies have labels"):
        train_baseline(make_sagittal_dataset(tmp_path / "data", 4, labeled=False), tmp_path / "run", QUICK)


def test_augmentation_depends_on_its_seed_only() -> None:
    augment, image = Augmentation(), torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))

    first, other, again = augment(image, 1), augment(image, 2), augment(image, 1)

    assert first.shape == image.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0.0 <= float(first.min()) <= float(first.max()) <= 1.0


@pytest.mark.parametrize(("n_images", "sizes"), [(10, [4, 4, 2]), (9, [4, 4]), (8, [4, 4])])
def test_only_a_single_last_image_is_left_out_of_an_epoch(n_images: int, sizes: list[int]) -> None:
    images = torch.arange(n_images, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 64, 64)
    data = BaselineDataset(images, torch.zeros(n_images, 8))
    task = BaselineTask(data, data, QUICK.model_copy(update={"batch_size": 4}))

    epochs = [[batch["images"][:, 0, 0, 0] for batch in task.train_loader(epoch)] for epoch in (0, 1)]

    assert [[len(batch) for batch in epoch] for epoch in epochs] == [sizes, sizes]
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))
    assert len(set(torch.cat(epochs[0]).tolist())) == sum(sizes)


def test_locked_split_assigns_training_and_validation_set(tmp_path: Path, exports: dict[Path, Export]) -> None:
    dataset = make_sagittal_dataset(tmp_path / "data")
    split = make_split(
        read_reference_standard(dataset.folder), {"train": 0.5, "validation": 0.25, "holdout": 0.25}, seed=1
    )

    train_baseline(dataset, tmp_path / "run", QUICK, split=split)

    parts = pd.read_csv(tmp_path / "run" / "split.csv", dtype=str).set_index("StudyInstanceUID")["part"]
    assert set(parts.index[parts == "train"]) == set(split.studies("train"))
    assert set(parts.index[parts == "validation"]) == set(split.studies("validation"))
    assert not set(parts.index) & set(split.studies("holdout"))
    assert exports
    with pytest.raises(OutputTakenError):
        train_baseline(dataset, tmp_path / "run", QUICK)
