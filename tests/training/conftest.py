"""Fixtures of training tests: exports that are recorded, since an export to ONNX takes longer than most trainings."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from cspine.models.metadata import ModelMetadata
from cspine.training.export import Graph


@dataclass(frozen=True)
class Export:
    """A network that would have been exported.

    Attributes
    ----------
    state : dict of str to Tensor
        Parameters and buffers of the network, without that of the export's final sigmoid.
    metadata : ModelMetadata
        What the file would carry.
    """

    state: dict[str, torch.Tensor]
    metadata: ModelMetadata


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> dict[Path, Export]:
    """Record networks and metadata by path, in place of ONNX files."""
    recorded = {}

    def record(graph: Graph, metadata: ModelMetadata, path: Path) -> None:
        network = graph.network.get_submodule("network" if hasattr(graph.network, "network") else "0")
        state = {name: value.clone() for name, value in network.state_dict().items()}
        recorded[path] = Export(state, metadata)

    for network in ("levels", "localizer", "baseline"):
        monkeypatch.setattr(f"cspine.training.{network}.train.export_onnx", record)
    return recorded
