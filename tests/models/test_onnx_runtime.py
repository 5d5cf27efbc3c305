"""ONNX Runtime: its telemetry is off, its threads are bounded, and too little memory is reported as such."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cspine.core.errors import OutOfMemoryError, WeightsError
from cspine.models.onnx_runtime import TELEMETRY_VARIABLE, Session
from cspine.models.weights import embedded_bytes

SOURCE = Path(__file__).parents[2] / "src" / "cspine"


def test_onnx_runtime_is_imported_in_one_place_after_its_telemetry_is_off() -> None:
    importers = [path.name for path in SOURCE.rglob("*.py") if "import onnxruntime" in path.read_text("utf-8")]
    text = (SOURCE / "models" / "onnx_runtime.py").read_text("utf-8")

    assert importers == ["onnx_runtime.py"]
    assert text.index('os.environ[TELEMETRY_VARIABLE] = "1"') < text.index("\nimport onnxruntime")


def test_loading_a_network_leaves_nothing_in_the_home_of_the_user(tmp_path: Path) -> None:
    script = "from cspine.models.registry import list_weights; print(len(list_weights()))"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": "", "XDG_DATA_HOME": "", "PYTHONPATH": ""}
    environment.pop(TELEMETRY_VARIABLE, None)

    subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)

    assert list(tmp_path.iterdir()) == []


class _Failing:
    def __init__(self, text: str) -> None:
        self.text = text

    def run(self, *_: object) -> None:
        raise RuntimeError(self.text)


@pytest.mark.parametrize("text", ["[ONNXRuntimeError] : 1 : FAIL : std::bad_alloc", "6 : bad allocation"])
def test_a_network_without_memory_names_the_fact_and_the_remedy(text: str) -> None:
    session = Session(embedded_bytes("baseline-cnn.onnx"), "weights.onnx", 1)
    session._session = _Failing(text)

    with pytest.raises(OutOfMemoryError, match=r"^weights\.onnx: memory or threads ran out; close other programs"):
        session.run(None, {})


def test_other_errors_of_a_network_are_not_about_memory() -> None:
    session = Session(embedded_bytes("baseline-cnn.onnx"), "weights.onnx", 1)

    with pytest.raises(Exception, match="wrong"):
        session.run(None, {"wrong": np.zeros(1, np.float32)})


def test_too_little_memory_is_no_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Exception during initialization: std::bad_alloc")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(OutOfMemoryError):
        Session(b"", "weights.onnx")
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="is not an ONNX file"):
        Session(b"", "weights.onnx")


def test_threads_are_those_of_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    options = []
    monkeypatch.setattr("cspine.models.onnx_runtime.inference_threads", lambda: 3)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda _, given, **__: options.append(given))

    Session(b"", "weights.onnx")

    assert options[0].intra_op_num_threads == 3
