"""Patch pretraining: half of the patches hold a fracture, the others show the same position of intact vertebrae."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from tests.support.views import VIEWS, make_level_dataset
from tests.training.conftest import Export
from tests.training.levels.conftest import ONE_EPOCH

from cspine.training.levels.dataset import list_cases
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.patch_pretraining import FracturePatchDataset, FracturePatchNetwork, FracturePatchTask
from cspine.training.levels.train import PRETRAINING_FOLDER, train_levels
from cspine.views.level_views import LevelViewSettings


def test_half_of_the_patches_hold_a_fracture(tmp_path: Path) -> None:
    data = FracturePatchDataset(list_cases(make_level_dataset(tmp_path, 8)), VIEWS, 3, is_augmented=False)

    assert len(data) == 4  # every second case is fractured
    for number in range(4):
        batch = data[number]
        assert batch["planes"].shape == (16, 1, 32, 32)
        assert batch["cells"].shape == (16, 4, 4)
        assert batch["cells"][:8].flatten(1).amax(dim=1).eq(1.0).all()
        assert not batch["cells"][8:].any()
        bar = batch["planes"][:, 0, 12:20, 4:28].mean(dim=(1, 2))
        assert (bar[:8] < 0.2).all()
        assert (bar[8:] > 0.5).all()


def test_patches_of_large_views_are_cut_around_the_fracture(tmp_path: Path) -> None:
    views = LevelViewSettings(sagittal=1, coronal=1, axial=1, pixels=112)
    images, cells = np.zeros((9, 112, 112), np.float32), np.zeros((9, 28, 28), np.float32)
    images[4, 8:16, 96:108], cells[4, 2:4, 24:27] = 1.0, 1.0  # one plane shows it
    cases = list_cases(make_level_dataset(tmp_path, 4))
    fractured = {(case.study, level) for case in cases for level in case.cells}
    intact = np.zeros_like(images), np.zeros_like(cells)
    with patch(
        "cspine.training.levels.patch_pretraining.read_planes",
        lambda case, level, _: (images, cells) if (case.study, level) in fractured else intact,
    ):
        batches = [FracturePatchDataset(cases, views, seed, is_augmented=False)[0] for seed in range(4)]

    for batch in batches:
        assert batch["planes"].shape == (16, 1, 48, 48)
        brightest = batch["planes"][:8].amax(dim=(1, 2, 3))
        assert (brightest == 1.0).all()
        bright = torch.nn.functional.avg_pool2d(batch["planes"][:8, 0], 8) > 0
        assert torch.equal(bright & (batch["cells"][:8] > 0), batch["cells"][:8] > 0)  # cells lie on the fracture
    assert len({batch["cells"].sum().item() for batch in batches}) > 1


def test_patches_depend_on_the_seed_of_the_epoch(tmp_path: Path) -> None:
    cases = list_cases(make_level_dataset(tmp_path, 4))

    one, same, other = (FracturePatchDataset(cases, VIEWS, seed, is_augmented=True)[0]["planes"] for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_pretrained_encoder_detects_fractures_and_initializes_the_network(
    tmp_path: Path, exports: dict[Path, Export]
) -> None:
    dataset = make_level_dataset(tmp_path / "data", 24)
    settings = ONE_EPOCH.model_copy(update={"batch_size": 2, "folds": 3, "ema_decay": 0.5})

    train_levels(dataset, tmp_path / "pretrained", settings.model_copy(update={"pretrain_epochs": 16}))
    train_levels(dataset, tmp_path / "random", settings)

    curve = pd.read_csv(tmp_path / "pretrained" / PRETRAINING_FOLDER / "curves.csv")
    assert curve["patch_auc"].iloc[-1] > 0.95
    assert not (tmp_path / "random" / PRETRAINING_FOLDER).exists()
    loss = [pd.read_csv(tmp_path / run / "curves.csv")["evidence_loss"].iloc[0] for run in ("pretrained", "random")]
    assert loss[0] < loss[1]
    assert len(exports) == 2


def test_task_is_empty_where_fractured_cells_are_not_known(tmp_path: Path) -> None:
    cases = list_cases(make_level_dataset(tmp_path, 9))
    without_cells = [case for case in cases if not case.cells]

    assert FracturePatchTask(without_cells, cases, VIEWS, ONE_EPOCH).is_empty
    assert FracturePatchTask(cases, without_cells, VIEWS, ONE_EPOCH).is_empty
    assert not FracturePatchTask(cases, cases, VIEWS, ONE_EPOCH).is_empty


def test_encoder_weights_load_into_another_network() -> None:
    network = FracturePatchNetwork(LevelNetwork(1).encoder)

    LevelNetwork(3).encoder.load_state_dict(FracturePatchNetwork.encoder_of(network))
