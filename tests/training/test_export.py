"""Tests of the check of exported networks, on networks of one layer."""

from pathlib import Path

import pytest
import torch
from torch import nn

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import WeightsError
from cspine.models.metadata import BaselineMetadata
from cspine.models.weights import load_weights
from cspine.training.export import Graph, export_onnx
from cspine.views.sagittal import SagittalSettings

METADATA = BaselineMetadata(
    image_size=16,
    sagittal=SagittalSettings(),
    trained_on="nothing",
    phantom_only=True,
    software="0",
    training={},
    settings_hash="0",
    data_hash="0",
    statement=RESEARCH_USE_ONLY,
    prevalence=(0.5,) * 8,
    best_constants=(0.5,) * 8,
)


def graph_with_weights(weights: torch.Tensor) -> Graph:
    """Return a network of one layer with the given weights, (out, in)."""
    layer = nn.Linear(weights.shape[1], weights.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weights)
    return Graph(layer.eval(), (torch.ones(1, weights.shape[1]),), ("image",), ("values",), ({},))


def test_weights_that_half_precision_rounds_pass(tmp_path: Path) -> None:
    weights = 300.0 + torch.rand(64, 64, generator=torch.Generator().manual_seed(1))  # each is rounded by up to 0.125

    export_onnx(graph_with_weights(weights), METADATA, tmp_path / "w.onnx")

    assert load_weights(BaselineMetadata, tmp_path / "w.onnx").metadata == METADATA


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the file was deleted"), pytest.warns(RuntimeWarning, match="overflow"):
        export_onnx(graph_with_weights(torch.full((64, 64), 1e5)), METADATA, tmp_path / "w.onnx")

    assert not (tmp_path / "w.onnx").exists()
