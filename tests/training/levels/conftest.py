"""A trained level network that tests share: training and export take several seconds."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.views import make_level_dataset

from cspine.datasets.compiled import CompiledDataset
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.training.summary import TrainingSummary

QUICK = LevelTrainSettings(
    pretrain_epochs=2,
    epochs=6,
    batch_size=4,
    folds=4,
    workers=0,
    train_views=(1, 1, 1),
    precision="32-true",
    ema_decay=0.9,
)

ONE_EPOCH = QUICK.model_copy(update={"pretrain_epochs": 0, "epochs": 1})


@dataclass(frozen=True)
class Run:
    """A finished run."""

    dataset: CompiledDataset
    folder: Path
    summary: TrainingSummary

    @property
    def weights(self) -> Path:
        """The exported network."""
        return self.summary.weights[0]


def train(dataset: CompiledDataset, folder: Path, settings: LevelTrainSettings) -> Run:
    """Train in this process."""
    summary = train_levels(dataset, folder, settings)
    assert summary is not None
    return Run(dataset, folder, summary)


@pytest.fixture(scope="session")
def one_epoch(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network trained for one epoch on 12 of 16 cases."""
    folder = tmp_path_factory.mktemp("one-epoch")
    return train(make_level_dataset(folder / "data", 16), folder / "run", ONE_EPOCH)
