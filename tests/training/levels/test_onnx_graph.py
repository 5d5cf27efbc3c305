"""Tests of the exported graph of the level network."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from cspine.models.onnx_runtime import Session
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from cspine.views.level_views import LevelViewSettings

VIEWS = LevelViewSettings(sagittal=2, coronal=1, axial=1, pixels=32)


@pytest.fixture(scope="module")
def network() -> LevelNetwork:
    torch.manual_seed(0)
    return LevelNetwork(2, half_mm=VIEWS.half_mm).eval()


@pytest.fixture(scope="module")
def model(network: LevelNetwork) -> onnx.ModelProto:
    graph = level_graph(network, VIEWS, (2, 1, 1))
    assert graph.assemble is not None
    return graph.assemble()


@pytest.mark.parametrize(("n_cases", "n_views"), [(1, 7), (3, 1)])
def test_any_number_of_cases_and_views_gives_the_outputs_of_the_network(
    network: LevelNetwork, model: onnx.ModelProto, n_cases: int, n_views: int
) -> None:
    rng = np.random.default_rng(1)
    inputs = {
        "views": rng.random((n_cases, 7, n_views, 3, 32, 32), np.float32),
        "planes": rng.integers(0, 3, (n_cases, n_views)),
        "offsets": rng.uniform(-30, 30, (n_cases, n_views)).astype(np.float32),
        "present": rng.random((n_cases, 7)) < 0.7,
    }

    levels, overall, fracture_types, evidence = Session(model.SerializeToString(), "levels").run(None, inputs)

    with torch.no_grad():
        expected = network(*(torch.from_numpy(value) for value in inputs.values()))
    for values, logits in zip((levels, overall, fracture_types, evidence), expected, strict=True):
        np.testing.assert_allclose(values, torch.sigmoid(logits).numpy(), atol=1e-5)


def scan_of(model: onnx.ModelProto) -> onnx.NodeProto:
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    return scan


def scanned_axes(model: onnx.ModelProto) -> set[int]:
    return {axis for each in scan_of(model).attribute if each.name.endswith("put_axes") for axis in each.ints}


def test_views_are_convolved_one_after_the_other(model: onnx.ModelProto) -> None:
    (body,) = (attribute.g for attribute in scan_of(model).attribute if attribute.name == "body")

    assert [node for node in body.node if node.op_type == "Conv"]
    assert not [node for node in model.graph.node if node.op_type == "Conv"]
    assert not body.initializer
    assert scanned_axes(model) == {2}


def test_parameters_have_the_names_of_the_network(network: LevelNetwork, model: onnx.ModelProto) -> None:
    names = {tensor.name for tensor in model.graph.initializer}

    assert {f"network.{name}" for name, _ in network.named_parameters()} <= names


def test_the_shipped_file_has_this_graph() -> None:
    folder = Path(__file__).parents[3] / "src" / "cspine" / "models" / "embedded"
    shipped = onnx.load(folder / "levels.onnx")

    assert scanned_axes(shipped) == {2}
