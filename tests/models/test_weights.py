import json
from pathlib import Path

import onnx
import pytest

from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.core.errors import WeightsError
from cspine.localization.localizer import Localizer
from cspine.models.registry import embedded_sums, list_weights
from cspine.models.weights import embedded_bytes


def test_embedded_weights_say_that_they_have_seen_phantoms_only() -> None:
    weights = Baseline.load().weights

    assert weights.metadata.phantom_only
    assert "phantom" in weights.metadata.trained_on
    assert len(weights.sha256) == 64
    assert weights.metadata.name == "baseline-cnn"


def test_embedded_weights_hold_no_path_of_the_machine_that_made_them() -> None:
    data = embedded_bytes("baseline-cnn.onnx")

    assert b"site-packages" not in data
    assert b"/src/cspine" not in data


def test_what_is_shipped_is_what_its_recipes_made_and_fits_together() -> None:
    recipes = Path(__file__).parents[2] / "benchmarks" / "recipes"

    assert LevelClassifier.load().metadata.localizer_sha256 == Localizer.load().sha256
    for name in ("levels", "localizer"):
        recipe = json.loads((recipes / f"{name}.json").read_text("utf-8"))
        assert recipe["sha256"] == embedded_sums()[f"{name}.onnx"]
    for run in ("levels-1", "levels-2", "levels-3", "localizer"):
        assert (recipes / f"{run}-curves.csv").read_text("utf-8").startswith("epoch,")
    assert sum(len(embedded_bytes(f"{name}.onnx")) for name in ("levels", "localizer")) < 25e6
    assert not [each.fault for each in list_weights() if each.path is None and each.fault]


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"\x80\x04 a pickle, say")

    with pytest.raises(WeightsError, match=r"w\.onnx: is not an ONNX file"):
        Baseline.load(tmp_path / "w.onnx")
    with pytest.raises(WeightsError, match=r"none\.onnx: cannot be read"):
        Baseline.load(tmp_path / "none.onnx")


def test_a_network_of_others_is_refused(tmp_path: Path) -> None:
    shape = [1, 1, 64, 64]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["a"], ["b"])],
        "other",
        [onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, shape)],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.save(model, tmp_path / "w.onnx")

    with pytest.raises(WeightsError, match="carries no card"):
        Baseline.load(tmp_path / "w.onnx")
    model.metadata_props.append(onnx.StringStringEntryProto(key="cspine", value='{"format": 99}'))
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(WeightsError, match="card is not valid"):
        Baseline.load(tmp_path / "x.onnx")
