"""The level network and its losses."""

import numpy as np
import pytest
import torch

from cspine.training.levels.network import LevelNetwork, LevelOutputs, PositionPrior, TransformerBlock, overall_logit
from cspine.training.levels.task import evidence_loss, level_loss


def inputs(cases: int = 2, views: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return random inputs of a network."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(cases, 7, views, 3, 32, 32, generator=generator)
    present = torch.ones(cases, 7, dtype=torch.bool)
    return images, torch.arange(views).expand(cases, -1) % 3, torch.zeros(cases, views), present


def test_outputs_have_the_documented_shapes() -> None:
    outputs = LevelNetwork(5).eval()(*inputs())

    assert outputs.levels.shape == (2, 7)
    assert outputs.overall.shape == (2,)
    assert outputs.fracture_types.shape == (2, 7, 5)
    assert outputs.evidence.shape == (2, 7, 3, 3, 4, 4)


def test_absent_vertebra_does_not_change_other_outputs() -> None:
    network = LevelNetwork(2).eval()
    images, planes, offsets, present = inputs()
    present[:, 6] = False
    changed = images.clone()
    changed[:, 6] = 1.0 - changed[:, 6]

    first, second = network(images, planes, offsets, present), network(changed, planes, offsets, present)

    torch.testing.assert_close(first.levels[:, :6], second.levels[:, :6])
    torch.testing.assert_close(first.overall, second.overall)
    assert not torch.allclose(first.levels[:, 6], second.levels[:, 6])


def test_attention_is_finite_without_any_vertebra() -> None:
    vectors = torch.rand(2, 7, 16, generator=torch.Generator().manual_seed(1))

    outputs = TransformerBlock(16, 0.0).eval()(vectors, torch.zeros(2, 7, dtype=torch.bool))

    assert torch.isfinite(outputs).all()


def test_order_of_views_does_not_matter() -> None:
    network = LevelNetwork(2).eval()
    images, planes, offsets, present = inputs()
    order = torch.tensor([2, 0, 1])

    first = network(images, planes, offsets, present)
    second = network(images[:, :, order], planes[:, order], offsets[:, order], present)

    torch.testing.assert_close(first.levels, second.levels, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dependence", [-20.0, 0.0, 20.0])
def test_patient_probability_lies_between_maximum_and_independent_levels(dependence: float) -> None:
    levels = torch.randn(200, 7, generator=torch.Generator().manual_seed(3)) * 2
    present = torch.ones(200, 7, dtype=torch.bool)

    overall = torch.sigmoid(overall_logit(levels, torch.full((200,), dependence), present))

    probability = torch.sigmoid(levels)
    assert torch.all(overall >= probability.amax(dim=1) - 1e-6)
    assert torch.all(overall <= 1 - torch.prod(1 - probability, dim=1) + 1e-6)


def test_absent_vertebra_does_not_raise_the_patient_probability() -> None:
    levels = torch.full((1, 7), -4.0)
    levels[0, 6] = 8.0
    present = torch.ones(1, 7, dtype=torch.bool)
    present[0, 6] = False

    assert torch.sigmoid(overall_logit(levels, torch.zeros(1), present)).item() < 0.15


def test_position_prior_is_the_same_in_all_planes_and_on_both_sides() -> None:
    torch.manual_seed(3)
    prior = PositionPrior()
    initial = prior(torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 5.0, -5.0]]), (14, 14))
    torch.nn.init.normal_(prior.layers[-1].get_parameter("weight"))
    centers_mm = (torch.arange(14) - 6.5) / 7 * 33.6
    right, behind, up = 3, 10, 4  # cells from the patient's right, from the front, from below
    offsets = torch.stack([centers_mm[right], centers_mm[behind], centers_mm[up], -centers_mm[right]])[None]

    logits = prior(torch.tensor([[0, 1, 2, 0]]), offsets, (14, 14))[0, 2]

    assert not initial.any()
    sagittal, coronal, axial = logits[0, 13 - up, behind], logits[1, 13 - up, right], logits[2, behind, right]
    torch.testing.assert_close(torch.stack([coronal, axial]), sagittal.expand(2))
    torch.testing.assert_close(logits[3], logits[0])
    torch.testing.assert_close(logits[1], logits[1].flip(1))
    assert logits[0].std() > 0.01


def test_level_loss_has_the_challenge_weights_and_excludes_absent_vertebrae() -> None:
    truth = torch.tensor([[1.0, 0, 1, 0, 0, 0, 0, 0]])
    present = torch.ones(1, 7, dtype=torch.bool)
    outputs = LevelOutputs(torch.zeros(1, 7), torch.zeros(1), torch.zeros(1, 7, 1), torch.zeros(1, 7, 1, 3, 1, 1))

    complete = level_loss(outputs, {"truth": truth, "present": present})
    present[0, 1] = False  # C2, which is fractured, weighs 2
    without = level_loss(outputs, {"truth": truth, "present": present})

    unit = float(np.log(2.0)) / 14
    assert complete.item() == pytest.approx((14 + 2 + 6) * unit)
    assert (complete - without).item() == pytest.approx(2 * unit)


def test_evidence_loss_counts_only_known_cells() -> None:
    negative = torch.full((1, 7, 2, 3, 4, 4), -3.0)
    outputs = LevelOutputs(torch.zeros(1, 7), torch.zeros(1), torch.zeros(1, 7, 1), negative)
    batch = {
        "cells": torch.zeros(1, 7, 2, 3, 4, 4),
        "has_cells": torch.ones(1, 7, dtype=torch.bool),
        "present": torch.ones(1, 7, dtype=torch.bool),
    }
    before = evidence_loss(outputs, batch)
    batch["cells"][0, 3] = 1.0
    batch["has_cells"][0, 3] = False

    assert evidence_loss(outputs, batch).item() == pytest.approx(before.item(), rel=0.05)
    batch["has_cells"][0, 3] = True
    assert evidence_loss(outputs, batch).item() > 2 * before.item()
