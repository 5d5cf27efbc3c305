"""Two acquisitions of a case: the same posture and labels, another scanner, and a loss of the difference of logits."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from tests.support.views import VIEWS, make_level_dataset
from tests.training.levels.conftest import QUICK, train

from cspine.training.levels.dataset import AGAIN, LevelDataset, list_cases
from cspine.training.levels.network import LevelOutputs
from cspine.training.levels.task import consistency_loss


def outputs(levels: torch.Tensor, overall: torch.Tensor) -> LevelOutputs:
    return LevelOutputs(levels, overall, torch.zeros(0), torch.zeros(0))


def test_the_second_acquisition_differs_in_gray_values_alone(tmp_path: Path) -> None:
    cases = list_cases(make_level_dataset(tmp_path, 4))

    once = LevelDataset(cases, VIEWS, ("lamina",), None, 3)[1]
    twice = LevelDataset(cases, VIEWS, ("lamina",), None, 3, is_acquired_twice=True)[1]

    assert AGAIN not in once
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert not torch.equal(twice[AGAIN], twice["images"])
    present = twice["images"][twice["present"]].flatten(), twice[AGAIN][twice["present"]].flatten()
    assert torch.corrcoef(torch.stack(present))[0, 1] > 0.7


def test_the_loss_is_that_of_the_differences_of_vertebrae_that_are_present() -> None:
    first = torch.tensor([[1.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    overall, present = torch.tensor([0.5]), torch.tensor([[True, True, False, False, False, False, False]])
    absent_differs = first + torch.tensor([[0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0]])
    moved = first + torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])

    def loss(second: torch.Tensor, second_overall: float) -> float:
        both = outputs(torch.cat([first, second]), torch.cat([overall, torch.tensor([second_overall])]))
        return float(consistency_loss(both, {"present": present}))

    assert loss(absent_differs, 0.5) == 0.0
    assert loss(moved, 0.5) == pytest.approx(0.5 * 0.5**2 / 3)  # two vertebrae and the patient
    assert loss(first, 3.5) == pytest.approx((3.0 - 0.5) / 3)  # linear above 1


def test_a_run_with_the_loss_trains_and_validates(tmp_path: Path) -> None:
    dataset = make_level_dataset(tmp_path / "data", 16)
    settings = QUICK.model_copy(update={"epochs": 2, "consistency_weight": 0.5})

    train(dataset, tmp_path / "run", settings)

    curve = pd.read_csv(tmp_path / "run" / "curves.csv")
    assert len(curve) == 2
    assert curve["train_loss"].notna().all()
