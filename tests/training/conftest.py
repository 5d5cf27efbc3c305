"""Fixtures of training tests: exports that are recorded, since an export to ONNX takes longer than most trainings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from cspine.models.metadata import ModelMetadata
from cspine.training import trainer
from cspine.training.checkpoint import save_checkpoint
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


@contextmanager
def interrupted_after(epoch: int, folder: Path) -> Iterator[None]:
    """Interrupt the training in a folder, in the block, once the checkpoint of an epoch is written."""

    def save_and_stop(out: Path, state: dict[str, Any]) -> None:
        save_checkpoint(out, state)
        if state["epoch"] == epoch and out == folder:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            yield
