"""The shipped weights' predictions are those that were recorded, on the demo, on phantoms and on real CT."""

import json
import platform
from importlib import resources
from pathlib import Path

import onnxruntime
import pytest
from tests.support.reference import REFERENCE, describe, differences, draw_phantoms, read_reference

from cspine import Detector

CASES = read_reference()
REAL_CT = [name for name in CASES if name.startswith("realct/")]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


def tolerance() -> float:
    """Return 1e-6 with the runtime and machine type of the record; others may round otherwise."""
    recorded = json.loads(REFERENCE.read_text("utf-8"))["recorded_with"]
    here = {"onnxruntime": onnxruntime.__version__, "machine": platform.machine()}
    return 1e-6 if recorded == here else 1e-3


def check(detector: Detector, name: str, path: Path) -> None:
    (result,) = detector.predict_all(path)
    assert not list(differences(CASES[name], json.loads(json.dumps(describe(result))), tolerance=tolerance()))


def test_demo_study(detector: Detector) -> None:
    with resources.as_file(resources.files("cspine.phantom").joinpath("embedded", "study.zip")) as study:
        check(detector, "demo", study)


@pytest.mark.parametrize("domain", ["source", "shifted"])
def test_phantoms(detector: Detector, domain: str, tmp_path: Path) -> None:
    for index, folder in enumerate(draw_phantoms(tmp_path, domain)):
        check(detector, f"phantom/{domain}/{index}", folder)


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL_CT)
def test_real_ct(detector: Detector, name: str, real_data: Path) -> None:
    check(detector, name, real_data / name.removeprefix("realct/"))
