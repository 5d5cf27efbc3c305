"""Execution providers: which one runs, what is said where it cannot, and that answers agree."""

import warnings
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from cspine.core.errors import InputError
from cspine.core.typing import Floats32
from cspine.models.onnx_runtime import Session
from cspine.models.providers import (
    CPU,
    PROVIDER_VARIABLE,
    PROVIDERS,
    ProviderName,
    choose_providers,
    requested_provider,
)
from cspine.models.weights import embedded_bytes
from cspine.pipelines.predict import Detector

TOLERANCE = 1e-3
"""Largest difference of a probability between execution providers that compute in 32 bits."""


def test_the_option_precedes_the_environment_which_precedes_the_cpu() -> None:
    assert requested_provider("cuda", {PROVIDER_VARIABLE: "coreml"}) == "cuda"
    assert requested_provider(None, {PROVIDER_VARIABLE: " CoreML "}) == "coreml"
    assert requested_provider(None, {PROVIDER_VARIABLE: ""}) == "cpu"
    with pytest.raises(InputError, match=r"^CSPINE_PROVIDER=gpu: is no provider; set it to one of cpu, cuda, "):
        requested_provider(None, {PROVIDER_VARIABLE: "gpu"})


def test_auto_takes_the_first_that_is_installed() -> None:
    assert [name for name, _ in choose_providers("auto", [CPU, "DmlExecutionProvider", "CUDAExecutionProvider"])] == [
        "CUDAExecutionProvider",
        CPU,
    ]
    assert choose_providers("auto", [CPU]) == [(CPU, {})]


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_that_is_not_installed_is_refused_with_the_remedy(name: ProviderName) -> None:
    runtime_name = PROVIDERS[name].runtime_name

    with pytest.raises(InputError) as caught:
        choose_providers(name, [CPU])

    sentence = str(caught.value)
    assert sentence.startswith(f"--provider {name}: the installed ONNX Runtime has no {runtime_name}; it needs ")
    assert sentence.endswith("Here: cpu")


def test_the_session_states_what_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = embedded_bytes("baseline-cnn.onnx")
    monkeypatch.delenv(PROVIDER_VARIABLE, raising=False)
    session = Session(data, "weights.onnx", 1)
    assert (session.execution_provider, session.requested_provider, session.fallback_warning) == (CPU, "cpu", ())
    monkeypatch.setenv(PROVIDER_VARIABLE, "auto")
    session = Session(data, "weights.onnx", 1)
    assert session.requested_provider == "auto"


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is there")
def test_a_provider_whose_libraries_cannot_be_loaded_falls_back_to_the_cpu_and_says_so(
    monkeypatch: pytest.MonkeyPatch, study: Path
) -> None:
    """ONNX Runtime is told that CUDA were compiled in: its own session then falls back, as without a driver."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = Detector.load("baseline-cnn", provider="cuda")

    findings = detector.predict(study)

    assert findings.weights.execution_provider == CPU
    assert any("CUDAExecutionProvider could not be loaded" in warning for warning in findings.warnings)


def _probabilities(detector: Detector, folder: Path) -> Floats32:
    findings = detector.predict(folder)
    assert findings.patient_overall is not None
    levels = [vertebra.probability or 0.0 for vertebra in findings.vertebrae]
    return np.array([findings.patient_overall.probability, *levels], np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVIDERS)
def test_answers_agree_with_those_of_the_cpu(name: ProviderName, study: Path) -> None:
    """With the ONNX Runtime package of the provider installed; the one that cspine installs has the CPU's alone."""
    runtime_name = PROVIDERS[name].runtime_name
    if runtime_name not in onnxruntime.get_available_providers():
        pytest.skip(f"the installed ONNX Runtime has no {runtime_name}")
    cpu, other = Detector.load(provider="cpu"), Detector.load(provider=name)
    if other.classifier.identity.execution_provider != runtime_name:
        pytest.skip(f"{runtime_name} could not be loaded")

    assert np.abs(_probabilities(cpu, study) - _probabilities(other, study)).max() <= TOLERANCE


def test_answers_agree_between_threads_and_levels_of_optimization_of_the_cpu() -> None:
    """A stand-in for a second provider: kernels that fuse and sum otherwise, of the same CPU provider."""
    data, generator = embedded_bytes("levels.onnx"), np.random.default_rng(0)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain.intra_op_num_threads = 2
    session = Session(data, "levels.onnx", 1)
    reference = onnxruntime.InferenceSession(data, plain, providers=[CPU])
    inputs = {each.name: _example(each, generator) for each in reference.get_inputs()}

    for ours, theirs in zip(session.run(None, inputs), reference.run(None, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


def _example(each: Any, generator: np.random.Generator) -> Any:
    sides = [side if isinstance(side, int) else 2 for side in each.shape]
    kinds = {"tensor(bool)": bool, "tensor(int64)": np.int64}
    return np.ones(sides, kinds[each.type]) if each.type in kinds else generator.random(sides).astype(np.float32)


@pytest.fixture(scope="module")
def study() -> Iterator[Path]:
    with resources.as_file(resources.files("cspine.phantom").joinpath("embedded", "study.zip")) as path:
        yield path
