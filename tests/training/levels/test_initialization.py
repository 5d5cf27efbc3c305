"""Fine-tuning: a level network initialized with pretrained weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.support.views import VIEWS, make_level_dataset
from tests.training.conftest import Export
from tests.training.levels.conftest import ONE_EPOCH, Run

from cspine.classification.level_classifier import LevelClassifier
from cspine.core.errors import LabelError, OutputTakenError, WeightsError
from cspine.models.metadata import LevelsMetadata
from cspine.training.levels.initialization import export_encoder, load_pretrained
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from cspine.training.levels.train import train_levels
from cspine.training.levels.training_data import LevelTrainingData


def test_fine_tuning_continues_from_weights_and_records_them(
    tmp_path: Path, one_epoch: Run, exports: dict[Path, Export]
) -> None:
    pretrained, classifier = load_pretrained(one_epoch.weights), LevelClassifier.load(one_epoch.weights)
    tiny_steps = ONE_EPOCH.model_copy(update={"learning_rate": 1e-12, "ema_decay": 0.0})
    other = make_level_dataset(tmp_path / "other", 16, seed=7)

    summary = train_levels(other, tmp_path / "run", tiny_steps, init_weights=one_epoch.weights)

    assert summary is not None
    export = exports[summary.weights[0]]
    assert isinstance(export.metadata, LevelsMetadata)
    assert export.metadata.pretrained_sha256 == pretrained.sha256 == classifier.members[0].sha256
    assert export.metadata.trained_on.endswith(f"; before that on {classifier.metadata.trained_on}")
    for name, value in pretrained.state.items():
        if "running" not in name:  # statistics of batch norms follow the images
            torch.testing.assert_close(export.state[name], value, atol=2e-3, rtol=2e-3, msg=name)


def test_network_with_loaded_weights_computes_the_exported_outputs(one_epoch: Run) -> None:
    pretrained, network = load_pretrained(one_epoch.weights), LevelNetwork(1, half_mm=VIEWS.half_mm)
    graph = level_graph(network, VIEWS, ONE_EPOCH.train_views)

    pretrained.load_into(network, pretrained.metadata.fracture_types)

    with torch.no_grad():
        outputs = graph.network.eval()(*graph.example)
    inputs = {name: value.numpy() for name, value in zip(graph.inputs, graph.example, strict=True)}
    expected = LevelClassifier.load(one_epoch.weights).members[0].session.run(list(graph.outputs), inputs)
    for output, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output.numpy(), other, atol=1e-4)


def test_fracture_type_head_takes_over_common_types_only(one_epoch: Run) -> None:
    pretrained, network = load_pretrained(one_epoch.weights), LevelNetwork(2)
    initial = network.fracture_types.weight[0].clone()

    pretrained.load_into(network, ("burst", "lamina"))

    torch.testing.assert_close(network.fracture_types.weight[1], pretrained.state["fracture_types.weight"][0])
    torch.testing.assert_close(network.fracture_types.weight[0], initial)
    torch.testing.assert_close(network.fracture.weight, pretrained.state["fracture.weight"])


def test_unsuitable_initial_weights_are_refused(tmp_path: Path, one_epoch: Run) -> None:
    dataset, weights = one_epoch.dataset, one_epoch.weights
    with pytest.raises(WeightsError, match="holds the network localizer; name weights of levels"):
        load_pretrained("localizer")
    for other in ({"fold": 1}, {"fold": None}, {"seed": 5}):  # patients of its training set would be held out
        with pytest.raises(LabelError, match=r"were trained on \d+ of the patients that are held out now"):
            train_levels(dataset, tmp_path / "again", ONE_EPOCH.model_copy(update=other), init_weights=weights)
    assert len(load_pretrained(weights).metadata.training_patients) == 12
    with pytest.raises(
        LabelError, match="its views were compiled with other settings than those of the initial weights"
    ):
        train_levels(dataset, tmp_path / "again", ONE_EPOCH, init_weights="levels")
    with pytest.raises(OutputTakenError):  # a run from random weights is another run
        train_levels(dataset, one_epoch.folder, ONE_EPOCH, init_weights=weights)


def test_weights_of_more_planes_initialize_a_network_of_fewer(one_epoch: Run) -> None:
    pretrained = load_pretrained(one_epoch.weights)
    views = pretrained.metadata.views.model_copy(update={"sagittal": 9, "axial": 9})
    denser = replace(pretrained, metadata=pretrained.metadata.model_copy(update={"views": views}))

    data = LevelTrainingData.load(one_epoch.dataset, [], denser)

    assert data.views == one_epoch.dataset.settings.levels != views


def test_files_with_other_parameters_are_refused(tmp_path: Path, one_epoch: Run) -> None:
    short, text, other = tmp_path / "short.onnx", tmp_path / "text.onnx", tmp_path / "other.onnx"
    model = onnx.load(one_epoch.weights)
    unused = onnx.helper.make_tensor("network.unused", onnx.TensorProto.STRING, [1], [b"x"])
    model.graph.initializer.append(unused)  # ONNX Runtime ignores what no node uses
    onnx.save(model, text)
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(np.zeros(8, np.float32), "network.unused"))
    model.graph.initializer[-1].raw_data = b"123"
    onnx.save(model, short)
    renamed = onnx.load(one_epoch.weights)
    old, new = "network.attention_gate.", "merged.attention_gate."
    for tensor in renamed.graph.initializer:
        tensor.name = tensor.name.replace(old, new)
    for node in renamed.graph.node:
        node.input[:] = [name.replace(old, new) for name in node.input]
        node.output[:] = [name.replace(old, new) for name in node.output]
    onnx.save(renamed, other)

    assert load_pretrained(text).state.keys() == load_pretrained(one_epoch.weights).state.keys()
    with pytest.raises(WeightsError, match=r"short\.onnx: its parameters cannot be read"):
        load_pretrained(short)
    with pytest.raises(WeightsError, match=r"other\.onnx: does not hold the parameters of this version's network"):
        load_pretrained(other)


def test_exported_encoder_keeps_the_encoder_and_draws_a_new_head(
    tmp_path: Path, one_epoch: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained, states = load_pretrained(one_epoch.weights), []
    monkeypatch.setattr(
        "cspine.training.levels.initialization.export_onnx",
        lambda graph, metadata, path: states.append((graph.network.network.state_dict(), metadata, path)),
    )

    path = export_encoder(pretrained, tmp_path, VIEWS.model_copy(update={"axial": 2}), seed=3)

    ((state, metadata, written),) = states
    assert written == path
    assert path.name.endswith("-1-1-2-3.onnx")
    assert metadata.inference_views == (1, 1, 2)
    torch.testing.assert_close(state["encoder.evidence.weight"], pretrained.state["encoder.evidence.weight"])
    assert not torch.allclose(state["fracture.weight"], pretrained.state["fracture.weight"])


def test_fracture_types_are_united_with_those_of_the_initial_weights(one_epoch: Run) -> None:
    pretrained = load_pretrained(one_epoch.weights)
    richer = pretrained.metadata.model_copy(
        update={"fracture_types": ("burst", "lamina"), "fracture_types_by_level": {"C5": ("burst",)}}
    )
    data = LevelTrainingData.load(one_epoch.dataset, (), replace(pretrained, metadata=richer))

    assert data.fracture_types == ("burst", "lamina")
    assert data.fracture_types_by_level["C5"] == ("burst", "lamina")
    assert data.fracture_types_by_level["C1"] == ("lamina",)
    assert "C7" not in data.fracture_types_by_level
