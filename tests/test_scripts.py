"""Scripts: the settings that they train with are valid and those of the recorded recipes."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from scripts.make_weights import (
    AUXILIARY_SETTINGS,
    CASE_SETTINGS,
    COARSE,
    LOCALIZER_SETTINGS,
    RECIPES,
    SHIPPED,
    STAGES,
)

from cspine.phantom import PhantomSettings
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.settings import TrainerSettings


def _recipe(name: str) -> Any:
    return json.loads((RECIPES / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("settings", [CASE_SETTINGS, AUXILIARY_SETTINGS])
def test_phantom_settings_are_valid(settings: dict[str, Any]) -> None:
    drawn = PhantomSettings(**settings).model_dump()

    assert {name: drawn[name] for name in settings} == settings


def test_localizer_settings_are_those_of_its_recipe() -> None:
    recipe = _recipe("localizer")

    fit = TrainerSettings(**LOCALIZER_SETTINGS).model_dump(mode="json")

    assert {name: recipe["data"][name] for name in asdict(COARSE)} == asdict(COARSE)
    assert {name: fit[name] for name in LOCALIZER_SETTINGS} == {
        name: recipe["fit"][name] for name in LOCALIZER_SETTINGS
    }
    assert set(recipe["fit"]) <= set(fit)


@pytest.mark.parametrize("number", range(len(STAGES)))
def test_training_stages_are_those_of_the_recipe(number: int) -> None:
    stage, recipe = STAGES[number], _recipe("levels")["stages"][number]

    fit = LevelTrainSettings(**stage.settings).model_dump(mode="json")

    assert recipe["data"] == {
        **asdict(stage.cases),
        **CASE_SETTINGS,
        "auxiliary": {**asdict(stage.auxiliary), **AUXILIARY_SETTINGS},
    }
    assert stage.settings == {name: recipe["fit"][name] for name in stage.settings}
    assert set(recipe["fit"]) <= set(fit)


def test_shipped_weights_lie_in_the_package() -> None:
    assert {"localizer.onnx", "levels.onnx", "SHA256SUMS"} <= {path.name for path in SHIPPED.iterdir()}
