"""Scripts: the settings that they train with are valid and those of the recorded recipes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from scripts import level_folds
from scripts.localizer_stages import STAGES as LOCALIZER_STAGES
from scripts.localizer_stages import real_files
from scripts.make_weights import (
    AUXILIARY_SETTINGS,
    CASE_SETTINGS,
    RECIPES,
    SHIPPED,
    STAGES,
)
from scripts.mean_folds import write_mean

from cspine.core.errors import InputError
from cspine.models.metadata import LevelsMetadata
from cspine.models.weights import load_weights
from cspine.phantom import PhantomSettings
from cspine.training.export import export_onnx
from cspine.training.levels.initialization import load_pretrained
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.onnx_graph import level_graph
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.settings import TrainerSettings


def _recipe(name: str) -> Any:
    return json.loads((RECIPES / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("settings", [CASE_SETTINGS, AUXILIARY_SETTINGS])
def test_phantom_settings_are_valid(settings: dict[str, Any]) -> None:
    drawn = PhantomSettings(**settings).model_dump()

    assert {name: drawn[name] for name in settings} == settings


@pytest.mark.parametrize("name", list(LOCALIZER_STAGES))
def test_localizer_stages_are_those_of_the_recipe(name: str) -> None:
    stage, recipe = LOCALIZER_STAGES[name], _recipe("localizer")["stages"][name]

    rows = (RECIPES / f"localizer-{name}-curves.csv").read_text("utf-8").splitlines()
    assert len(rows) - 1 == TrainerSettings(**stage.settings).epochs
    assert json.loads(json.dumps(asdict(stage))) == recipe
    assert stage.init is None or LOCALIZER_STAGES[stage.init].network == stage.network


def test_stages_on_real_scans_say_what_they_miss(tmp_path: Path) -> None:
    stage = LOCALIZER_STAGES["frames-2"]
    (tmp_path / "fine").mkdir()
    for scan in ("a", "b"):
        (tmp_path / "fine" / f"{scan}.npz").touch()

    assert [path.stem for path in real_files(tmp_path, stage, ["a"])] == ["b"]
    with pytest.raises(InputError, match="pt_1: to be held out, but not among the real scans"):
        real_files(tmp_path, stage, ["pt_1"])
    with pytest.raises(InputError, match="--real: holds no real scans"):
        real_files(None, stage, [])
    assert not real_files(None, LOCALIZER_STAGES["frames-1"], [])


@pytest.mark.parametrize("number", range(len(STAGES)))
def test_training_stages_are_those_of_the_recipe(number: int) -> None:
    stage, recipe = STAGES[number], _recipe("levels")["stages"][number]

    fit = LevelTrainSettings(**stage.settings).model_dump(mode="json")

    assert recipe["data"] == {
        **asdict(stage.cases),
        **CASE_SETTINGS,
        "views": [stage.views] * 3,
        "auxiliary": {**asdict(stage.auxiliary), **AUXILIARY_SETTINGS},
    }
    assert stage.settings == {name: recipe["fit"][name] for name in stage.settings}
    assert set(recipe["fit"]) <= set(fit)


def test_the_last_stage_is_that_of_the_recipe() -> None:
    recorded, stage = _recipe("levels")["last_stages"], json.loads(json.dumps(level_folds.recipe()))

    assert [each["initial_stage"] for each in recorded] == list(level_folds.INITIAL_STAGES)
    assert {name: recorded[0][name] for name in stage} == {**stage, "views": [5, 5, 5]}
    assert {name: recorded[1][name] for name in stage} == stage
    assert LevelTrainSettings(**stage["fit"]).epochs == 5
    assert {scan for fold in level_folds.FOLDS.values() for scan in fold} == set(level_folds.NECKS)
    assert set(level_folds.SOURCES) == set(level_folds.NECKS)


def test_shipped_weights_name_the_scans_that_they_have_learnt_from() -> None:
    metadata = load_weights(LevelsMetadata, SHIPPED / "levels.onnx").metadata

    assert metadata.synthetic_only
    assert not metadata.phantom_only
    for source in level_folds.SOURCES.values():
        assert source in metadata.trained_on
    for name in ("fullHead", "demo-archive", "Visible Human Project"):
        assert name in (Path(__file__).parents[1] / "NOTICE").read_text("utf-8").split("levels.onnx")[1]


def test_shipped_weights_lie_in_the_package() -> None:
    assert {"localizer.onnx", "levels.onnx", "SHA256SUMS"} <= {path.name for path in SHIPPED.iterdir()}


def test_parameters_are_averaged_with_the_outputs_that_all_networks_have(tmp_path: Path) -> None:
    shipped = load_pretrained(SHIPPED / "levels.onnx")
    views, counts = shipped.metadata.views, (1, 1, 1)
    states = []
    for number, types in enumerate([("facet", "lamina"), ("facet", "hangman", "lamina")]):
        torch.manual_seed(number)
        network = LevelNetwork(len(types), half_mm=views.half_mm).eval()
        metadata = shipped.metadata.model_copy(
            update={
                "fracture_types": types,
                "fracture_types_by_level": {"C2": types, "C3": types[:1]},
                "inference_views": counts,
                "training_patients": (f"patient-{number}", "patient"),
            }
        )
        export_onnx(level_graph(network, views, counts), metadata, tmp_path / f"{number}.onnx")
        states.append(network.state_dict())

    write_mean([tmp_path / "0.onnx", tmp_path / "1.onnx"], tmp_path / "run" / "weights.onnx")

    written = load_pretrained(tmp_path / "run" / "weights.onnx")
    assert written.metadata.fracture_types == ("facet", "lamina")
    assert written.metadata.fracture_types_by_level == {"C2": ("facet", "lamina"), "C3": ("facet",)}
    assert written.metadata.inference_views == counts
    assert written.metadata.training_patients == ("patient", "patient-0", "patient-1")
    rows = (states[0]["fracture_types.weight"] + states[1]["fracture_types.weight"][[0, 2]]) / 2
    assert torch.allclose(written.state["fracture_types.weight"], rows)
    kernels = (states[0]["encoder.evidence.weight"] + states[1]["encoder.evidence.weight"]) / 2
    assert torch.allclose(written.state["encoder.evidence.weight"], kernels)
