"""The level network in the form in which it is exported."""

from typing import Any

import torch
from torch import nn

from cspine.training.export import Graph
from cspine.training.levels.network import LEVELS, LevelOutputs
from cspine.views.level_views import CHANNELS, PLANES, LevelViewSettings


class _ProbabilityNetwork(nn.Module):
    """The network with the sigmoid of its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, views: torch.Tensor, planes: torch.Tensor, offsets: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        outputs: LevelOutputs = self.network(views, planes, offsets, present)
        logits = (outputs.levels, outputs.overall, outputs.fracture_types, outputs.evidence)
        levels, overall, fracture_types, evidence = (torch.sigmoid(values) for values in logits)
        return levels, overall, fracture_types, evidence


def level_graph(network: nn.Module, views: LevelViewSettings, counts: tuple[int, int, int]) -> Graph:
    """Return the network as it is exported, for any number of cases and any number of views.

    Parameters
    ----------
    network : Module
        A trained `LevelNetwork` that is exported.
    views : LevelViewSettings
        Size of the views.
    counts : (int, int, int)
        Sagittal, coronal and axial views of each vertebra in the example.
    """
    count, side = sum(counts), views.pixels
    generator = torch.Generator().manual_seed(0)
    example = (
        torch.rand(2, LEVELS, count, CHANNELS, side, side, generator=generator),
        torch.arange(count).remainder(len(PLANES)).expand(2, -1).contiguous(),
        torch.linspace(-30.0, 30.0, count).expand(2, -1).contiguous(),
        torch.ones(2, LEVELS, dtype=torch.bool),
    )
    n_cases, n_views = torch.export.Dim("cases", min=1, max=64), torch.export.Dim("views", min=1, max=128)
    dynamic_shapes: tuple[dict[int, Any], ...] = (
        {0: n_cases, 2: n_views},
        {0: n_cases, 1: n_views},
        {0: n_cases, 1: n_views},
        {0: n_cases},
    )
    inputs, outputs = ("views", "planes", "offsets", "present"), ("levels", "overall", "fracture_types", "evidence")
    return Graph(_ProbabilityNetwork(network), example, inputs, outputs, dynamic_shapes)
