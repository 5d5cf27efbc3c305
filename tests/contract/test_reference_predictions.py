"""The shipped weights' predictions are those that were recorded, on the demo, on phantoms and on real CT."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.support.reference import (
    AT_A_THRESHOLD,
    REFERENCE,
    describe,
    differences,
    draw_phantoms,
    predict_script,
    read_reference,
)

from cspine import Detector

CASES = read_reference()
REAL_CT = [name.removeprefix("realct/") for name in CASES if name.startswith("realct/")]
PARTS = [REAL_CT[start::4] for start in range(4)]
"""Each part is predicted by a process of its own: a field of 68 cm takes a gigabyte, which the test runner need not."""


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    """As many threads as the record was made with: ONNX Runtime rounds sums by their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "2")
        yield


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


def tolerance() -> float:
    """Return 1e-5 with the runtime and machine type of the record, whose processors round by 3e-6; 1e-3 with others."""
    recorded = json.loads(REFERENCE.read_text("utf-8"))["recorded_with"]
    here = {"onnxruntime": version("onnxruntime"), "machine": platform.machine()}
    return 1e-5 if recorded == here else 1e-3


def check(name: str, case: dict[str, Any]) -> None:
    assert not list(differences(CASES[name], json.loads(json.dumps(case)), tolerance=tolerance(), where=name))


def test_demo_study(detector: Detector) -> None:
    with resources.as_file(resources.files("cspine.phantom").joinpath("embedded", "study.zip")) as study:
        (result,) = detector.predict_all(study)

    check("demo", describe(result))


@pytest.mark.parametrize("domain", ["source", "shifted"])
def test_phantoms(detector: Detector, domain: str, tmp_path: Path) -> None:
    for index, folder in enumerate(draw_phantoms(tmp_path, domain)):
        if (name := f"phantom/{domain}/{index}") not in AT_A_THRESHOLD:
            (result,) = detector.predict_all(folder)
            check(name, describe(result))


@pytest.mark.real_data
@pytest.mark.parametrize("part", range(len(PARTS)))
def test_real_ct(part: int, real_data: Path) -> None:
    paths = [str(real_data / name) for name in PARTS[part]]

    done = subprocess.run(
        [sys.executable, "-c", predict_script(), *paths], capture_output=True, text=True, check=True, timeout=580
    )

    for name, case in zip(PARTS[part], json.loads(done.stdout), strict=True):
        check(f"realct/{name}", case)
