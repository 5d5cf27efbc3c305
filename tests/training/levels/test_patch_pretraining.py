"""Pieces of views: half of them hold a crack, the others are of the same place of whole vertebrae."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from tests.support.views import VIEWS, make_views

from cspine.training.levels.dataset import list_cases
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.patch_pretraining import FracturePatchDataset, FracturePatchNetwork, FracturePatchTask
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.views.level_views import LevelViewSettings

QUICK = LevelTrainSettings(
    pretrain_epochs=2,
    epochs=1,
    batch_size=2,
    folds=3,
    workers=0,
    train_views=(1, 1, 1),
    precision="32-true",
    ema_decay=0.5,
)


def test_half_of_the_pieces_hold_a_crack_and_none_of_the_others_does(tmp_path: Path) -> None:
    pieces = FracturePatchDataset(list_cases(make_views(tmp_path, 8)), VIEWS, 3, change=False)

    assert len(pieces) == 4  # every second neck is broken
    for number in range(4):
        batch = pieces[number]
        assert batch["planes"].shape == (16, 1, 32, 32)
        assert batch["cells"].shape == (16, 4, 4)
        assert batch["cells"][:8].flatten(1).amax(dim=1).eq(1.0).all()
        assert not batch["cells"][8:].any()
        dark = batch["planes"][:, 0, 12:20, 4:28].mean(dim=(1, 2))
        assert (dark[:8] < 0.2).all()
        assert (dark[8:] > 0.5).all()


def test_pieces_of_large_views_are_cut_about_the_crack(tmp_path: Path) -> None:

    views = LevelViewSettings(sagittal=1, coronal=1, axial=1, pixels=112)
    images, cells = np.zeros((9, 112, 112), np.float32), np.zeros((9, 28, 28), np.float32)
    images[4, 8:16, 96:108], cells[4, 2:4, 24:27] = 1.0, 1.0  # one plane shows it
    cases = list_cases(make_views(tmp_path, 4))
    broken = {(case.study, level) for case in cases for level in case.cells}
    nothing = np.zeros_like(images), np.zeros_like(cells)
    with patch(
        "cspine.training.levels.patch_pretraining.read_planes",
        lambda case, level, _: (images, cells) if (case.study, level) in broken else nothing,
    ):
        pieces = [FracturePatchDataset(cases, views, seed, change=False)[0] for seed in range(4)]

    for batch in pieces:
        assert batch["planes"].shape == (16, 1, 48, 48)
        shown = batch["planes"][:8].amax(dim=(1, 2, 3))
        assert (shown == 1.0).all()
        seen = torch.nn.functional.avg_pool2d(batch["planes"][:8, 0], 8) > 0
        assert torch.equal(seen & (batch["cells"][:8] > 0), batch["cells"][:8] > 0)  # truth lies where the crack does
    assert len({batch["cells"].sum().item() for batch in pieces}) > 1


def test_an_epochs_pieces_depend_on_its_seed(tmp_path: Path) -> None:
    cases = list_cases(make_views(tmp_path, 4))

    one, same, other = (FracturePatchDataset(cases, VIEWS, seed, change=True)[0]["planes"] for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_an_encoder_learns_to_see_cracks_and_whole_necks_begin_with_it(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 24)

    summary = train_levels(store, tmp_path / "run", QUICK.model_copy(update={"cracks": 6}))

    assert summary is not None
    curve = pd.read_csv(tmp_path / "run" / "cracks" / "curves.csv")
    assert curve["piece_auc"].iloc[-1] > 0.95
    without = train_levels(store, tmp_path / "without", QUICK.model_copy(update={"cracks": 0}))
    assert without is not None
    assert not (tmp_path / "without" / "cracks").exists()
    evidence = [pd.read_csv(tmp_path / run / "curves.csv")["evidence_loss"].iloc[0] for run in ("run", "without")]
    assert evidence[0] < evidence[1]


def test_where_it_is_not_known_what_is_broken_nothing_is_learnt_of_pieces(tmp_path: Path) -> None:
    cases = list_cases(make_views(tmp_path, 9))
    whole = [case for case in cases if not case.cells]

    assert FracturePatchTask(whole, cases, VIEWS, QUICK).is_empty
    assert FracturePatchTask(cases, whole, VIEWS, QUICK).is_empty
    assert not FracturePatchTask(cases, cases, VIEWS, QUICK).is_empty


def test_the_encoders_weights_come_back_out() -> None:
    network = FracturePatchNetwork(LevelNetwork(1).encoder)

    LevelNetwork(3).encoder.load_state_dict(FracturePatchNetwork.encoder_of(network))
