"""A level network as it is exported."""

from typing import Any

import torch
from torch import nn

from cspine.training.export import Graph
from cspine.training.levels.network import LEVELS, LevelOutputs
from cspine.views.level_views import CHANNELS, PLANES, LevelViewSettings


class _Answer(nn.Module):
    """The network with its logits as chances."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, views: torch.Tensor, planes: torch.Tensor, offsets: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        found: LevelOutputs = self.network(views, planes, offsets, present)
        chances = (found.levels, found.overall, found.fracture_types, found.evidence)
        levels, overall, fracture_types, evidence = (torch.sigmoid(values) for values in chances)
        return levels, overall, fracture_types, evidence


def level_graph(network: nn.Module, views: LevelViewSettings, seen: tuple[int, int, int]) -> Graph:
    """Return the network as it is exported: any number of necks, any number of views."""
    count, side = sum(seen), views.pixels
    chance = torch.Generator().manual_seed(0)
    example = (
        torch.rand(2, LEVELS, count, CHANNELS, side, side, generator=chance),
        torch.arange(count).remainder(len(PLANES)).expand(2, -1).contiguous(),
        torch.linspace(-30.0, 30.0, count).expand(2, -1).contiguous(),
        torch.ones(2, LEVELS, dtype=torch.bool),
    )
    cases, several = torch.export.Dim("necks", min=1, max=64), torch.export.Dim("views", min=1, max=128)
    vary: tuple[dict[int, Any], ...] = (
        {0: cases, 2: several},
        {0: cases, 1: several},
        {0: cases, 1: several},
        {0: cases},
    )
    inputs, outputs = ("views", "planes", "offsets", "present"), ("levels", "overall", "fracture_types", "evidence")
    return Graph(_Answer(network), example, inputs, outputs, vary)
