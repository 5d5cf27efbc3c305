"""The level network in the form in which it is exported: views are encoded one after the other, of all vertebrae."""

from functools import partial
from typing import Any, Final

import onnx
import torch
from onnx import helper
from torch import nn

from cspine.training.export import Graph, translate
from cspine.training.levels.network import LEVELS, STRIDE, LevelNetwork, LevelOutputs
from cspine.training.onnx_scan import ScannedPart, scan_model
from cspine.views.level_views import CHANNELS, PLANES, LevelViewSettings

_INPUTS: Final = ("views", "planes", "offsets", "present")
_OUTPUTS: Final = ("levels", "overall", "fracture_types", "evidence")
_VIEW_AXIS: Final = 2
"""The axis along which views are counted, of the images, the prior, the vectors and the logits of evidence."""

_PRIOR, _VECTORS, _LOGITS = "prior", "vectors", "evidence_logits"
"""Values between the parts."""


class _Part(nn.Module):
    """A part of the network; its parameters have the names that they have in the network."""

    def __init__(self, network: LevelNetwork) -> None:
        super().__init__()
        self.network = network


class _Probabilities(_Part):
    """The whole network, with the sigmoid of its logits."""

    def forward(
        self, views: torch.Tensor, planes: torch.Tensor, offsets: torch.Tensor, present: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        return _probabilities(self.network(views, planes, offsets, present))


class _PositionPrior(_Part):
    """The prior of all cells."""

    def __init__(self, network: LevelNetwork, cells: tuple[int, int]) -> None:
        super().__init__(network)
        self.cells = cells

    def forward(self, planes: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        prior: torch.Tensor = self.network.position_prior(planes, offsets, self.cells)
        return prior


class _Encoding(_Part):
    """The encoding of one view of each vertebra."""

    def forward(self, views: torch.Tensor, prior: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.network.encode(views, prior)


class _Classification(_Part):
    """Probabilities from encoded views."""

    def forward(
        self,
        planes: torch.Tensor,
        offsets: torch.Tensor,
        present: torch.Tensor,
        vectors: torch.Tensor,
        evidence: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        return _probabilities(self.network.classify(planes, offsets, present, vectors, evidence))


def _probabilities(outputs: LevelOutputs) -> tuple[torch.Tensor, ...]:
    logits = (outputs.levels, outputs.overall, outputs.fracture_types, outputs.evidence)
    return tuple(torch.sigmoid(values) for values in logits)


def level_graph(network: LevelNetwork, views: LevelViewSettings, counts: tuple[int, int, int]) -> Graph:
    """Return the network as it is exported, for any number of cases and any number of views.

    Parameters
    ----------
    network : LevelNetwork
        A trained network.
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
    by_level: dict[int, Any] = {0: n_cases, 2: n_views}
    by_view: dict[int, Any] = {0: n_cases, 1: n_views}
    shapes = (by_level, by_view, by_view, {0: n_cases})

    assemble = partial(_assemble, network, example, shapes)
    return Graph(_Probabilities(network), example, _INPUTS, _OUTPUTS, shapes, assemble)


def _assemble(
    network: LevelNetwork, example: tuple[torch.Tensor, ...], shapes: tuple[dict[int, Any], ...]
) -> onnx.ModelProto:
    """Return the network's ONNX graph: the prior, the encoding of one view after the other, the classification."""
    views, planes, offsets, _ = example
    rows, columns = views.shape[4:]
    cells = rows // STRIDE, columns // STRIDE
    by_level, by_view = shapes[:2]
    with torch.no_grad():
        prior = network.position_prior(planes, offsets, cells)
        one = views[:, :, 0], prior[:, :, 0]
        count = views.shape[_VIEW_AXIS]
        encoded = [values.unsqueeze(_VIEW_AXIS).repeat_interleave(count, _VIEW_AXIS) for values in network.encode(*one)]
    before = Graph(_PositionPrior(network, cells), (planes, offsets), _INPUTS[1:3], (_PRIOR,), (by_view, by_view))
    encoding = Graph(
        _Encoding(network), one, ("views_of_one", "prior_of_one"), ("vectors_of_one", "logits_of_one"),
        ({0: by_level[0]},) * 2,
    )  # fmt: skip
    after = Graph(
        _Classification(network), (*example[1:], *encoded), (*_INPUTS[1:], _VECTORS, _LOGITS), _OUTPUTS,
        (*shapes[1:], by_level, by_level),
    )  # fmt: skip
    classification = translate(after)
    shape = ["cases", LEVELS, "views", CHANNELS, rows, columns]
    views_input = helper.make_tensor_value_info(_INPUTS[0], onnx.TensorProto.FLOAT, shape)
    return scan_model(
        "levels",
        [views_input, *(value for value in classification.graph.input if value.name in _INPUTS)],
        before=translate(before),
        scanned=ScannedPart(translate(encoding), (_INPUTS[0], _PRIOR), (_VECTORS, _LOGITS), _VIEW_AXIS),
        after=classification,
    )
