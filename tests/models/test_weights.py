"""Weights: what is embedded, and which files are rejected."""

import json
from pathlib import Path

import onnx
import pytest
from scripts.localizer_stages import STAGES

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.core.errors import WeightsError
from cspine.localization.localizer import Localizer
from cspine.models.metadata import LevelsMetadata
from cspine.models.registry import EMBEDDED, METADATA_TYPES, embedded_sha256, list_weights, resolve_weights
from cspine.models.weights import embedded_bytes

RECIPES = Path(__file__).parents[2] / "scripts" / "recipes"


def save_network(path: Path, metadata: str | None = None) -> Path:
    """Write an ONNX file of one layer, with a metadata property of cspine where text is given."""
    shape = [1, 1, 64, 64]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["a"], ["b"])],
        "other",
        [onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    if metadata is not None:
        model.metadata_props.append(onnx.StringStringEntryProto(key="cspine", value=metadata))
    onnx.save(model, path)
    return path


def test_embedded_weights_are_declared_as_trained_on_phantoms_only() -> None:
    weights = Baseline.load().weights

    assert weights.metadata.phantom_only
    assert "phantom" in weights.metadata.trained_on
    assert len(weights.sha256) == 64
    assert weights.metadata.name == "baseline-cnn"


def test_embedded_weights_hold_no_path_of_the_machine_that_made_them() -> None:
    data = embedded_bytes("baseline-cnn.onnx")

    assert b"site-packages" not in data
    assert b"/src/cspine" not in data


@pytest.mark.parametrize("name", ["levels", "localizer"])
def test_embedded_weights_are_those_of_their_recipe(name: str) -> None:
    recipe = json.loads((RECIPES / f"{name}.json").read_text("utf-8"))

    assert recipe["sha256"] == embedded_sha256()[f"{name}.onnx"]


@pytest.mark.parametrize("run", ["levels-1", "levels-2", "levels-3", *(f"localizer-{stage}" for stage in STAGES)])
def test_recipes_have_training_curves(run: str) -> None:
    assert (RECIPES / f"{run}-curves.csv").read_text("utf-8").startswith("epoch,")


def test_embedded_level_network_was_trained_or_evaluated_with_the_embedded_localizer() -> None:
    metadata = LevelClassifier.load().metadata

    assert Localizer.load().sha256 in {metadata.localizer_sha256, *metadata.evaluated_localizers}


def test_embedded_weights_are_intact_and_small() -> None:
    assert sum(len(embedded_bytes(f"{name}.onnx")) for name in ("levels", "localizer")) < 25e6
    assert not [each.fault for each in list_weights() if each.path is None and each.fault]


def test_file_that_is_no_network_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"\x80\x04 a pickle, say")

    with pytest.raises(WeightsError, match=r"w\.onnx: is not an ONNX file"):
        Baseline.load(tmp_path / "w.onnx")
    with pytest.raises(WeightsError, match=r"none\.onnx: cannot be read"):
        Baseline.load(tmp_path / "none.onnx")


def test_network_without_metadata_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has no metadata of cspine"):
        Baseline.load(save_network(tmp_path / "w.onnx"))


@pytest.mark.parametrize("metadata", ['{"format": 99}', "no JSON"])
def test_network_with_invalid_metadata_is_rejected(tmp_path: Path, metadata: str) -> None:
    with pytest.raises(WeightsError, match="metadata are not valid"):
        Baseline.load(save_network(tmp_path / "w.onnx", metadata))


def test_network_of_another_name_is_rejected(tmp_path: Path) -> None:
    path = save_network(tmp_path / "w.onnx", '{"format": 2, "name": "localizer"}')

    with pytest.raises(WeightsError, match="holds another network than baseline-cnn"):
        Baseline.load(path)


def test_weights_of_cspine_0_1_are_rejected(tmp_path: Path) -> None:
    path = save_network(tmp_path / "w.onnx", '{"format": 1, "name": "baseline-cnn", "software": "0.1.0"}')

    with pytest.raises(WeightsError, match=r"w\.onnx: was written by cspine 0\.1; train again with this version"):
        Baseline.load(path)


def test_a_network_without_embedded_weights_is_neither_listed_nor_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSPINE_WEIGHTS", str(tmp_path))
    monkeypatch.setitem(METADATA_TYPES, "other", LevelsMetadata)

    assert [weights.name for weights in list_weights()] == list(EMBEDDED)
    with pytest.raises(WeightsError, match="other: is neither a file nor registered weights"):
        resolve_weights("other")
