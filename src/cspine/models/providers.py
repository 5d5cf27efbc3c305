"""ONNX Runtime's execution providers: on which processor networks run, as the user names it.

Which providers there are depends on the package of ONNX Runtime that is installed. An operator that a provider cannot
run is run on the CPU by ONNX Runtime; a provider whose libraries cannot be loaded is left out altogether, and findings
say so.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from cspine.core.errors import InputError

if TYPE_CHECKING:
    from cspine.core.findings import WeightsIdentity

ProviderName = Literal["cpu", "cuda", "directml", "coreml", "openvino", "auto"]

PROVIDER_VARIABLE: Final = "CSPINE_PROVIDER"
"""Environment variable that names the provider where no option does."""

CPU: Final = "CPUExecutionProvider"


@dataclass(frozen=True)
class ExecutionProvider:
    """An execution provider of ONNX Runtime.

    Attributes
    ----------
    runtime_name : str
        ONNX Runtime's name.
    options : dict
        Options of the provider. Those of CUDA and CoreML keep to 32-bit arithmetic: TensorFloat-32 and half precision
        are faster and change probabilities in the third digit.
    needs : str
        What has to be installed for it.
    """

    runtime_name: str
    options: Mapping[str, str]
    needs: str


PROVIDERS: Final[dict[ProviderName, ExecutionProvider]] = {
    "cuda": ExecutionProvider(
        "CUDAExecutionProvider",
        {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
        "onnxruntime-gpu in place of onnxruntime, an NVIDIA GPU and its driver",
    ),
    "directml": ExecutionProvider("DmlExecutionProvider", {}, "onnxruntime-directml in place of onnxruntime, Windows"),
    "coreml": ExecutionProvider(
        "CoreMLExecutionProvider",
        {"ModelFormat": "MLProgram", "AllowLowPrecisionAccumulationOnGPU": "0"},
        "macOS, whose onnxruntime has it",
    ),
    "openvino": ExecutionProvider(
        "OpenVINOExecutionProvider",
        {"device_type": "CPU", "precision": "FP32"},
        "onnxruntime-openvino in place of onnxruntime, an Intel processor",
    ),
}
"""Providers other than the CPU by the names of `ProviderName`; ``auto`` takes the first that is there."""


def requested_provider(name: ProviderName | None = None, environment: Mapping[str, str] | None = None) -> ProviderName:
    """Return the provider that networks are to run on: the one given, or else that of the environment, or the CPU.

    Parameters
    ----------
    name : str, optional
        As given by an option.
    environment : mapping of str to str, optional
        Environment variables; those of this process where omitted.

    Raises
    ------
    InputError
        The environment variable names none.

    Examples
    --------
    >>> requested_provider(None, {}), requested_provider(None, {"CSPINE_PROVIDER": "CUDA"})
    ('cpu', 'cuda')
    """
    value = name or (os.environ if environment is None else environment).get(PROVIDER_VARIABLE, "").strip() or "cpu"
    names = get_args(ProviderName)
    for each in names:
        if each == value.lower():
            return each  # type: ignore[no-any-return]
    raise InputError(f"{PROVIDER_VARIABLE}={value}: is no provider; set it to one of {', '.join(names)}")


def choose_providers(name: ProviderName, available: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Return what a session of ONNX Runtime is opened with: names and options of providers, the CPU last.

    Parameters
    ----------
    name : str
        As of `requested_provider`.
    available : sequence of str
        ``onnxruntime.get_available_providers()``.

    Raises
    ------
    InputError
        The installed ONNX Runtime has no such provider.

    Examples
    --------
    >>> choose_providers("auto", ["AzureExecutionProvider", "CPUExecutionProvider"])
    [('CPUExecutionProvider', {})]
    """
    cpu: tuple[str, dict[str, str]] = (CPU, {})
    if name == "auto":
        name = next((each for each, it in PROVIDERS.items() if it.runtime_name in available), "cpu")
    if name == "cpu":
        return [cpu]
    provider = PROVIDERS[name]
    if provider.runtime_name not in available:
        usable = ["cpu", *(each for each, it in PROVIDERS.items() if it.runtime_name in available)]
        raise InputError(
            f"--provider {name}: the installed ONNX Runtime has no {provider.runtime_name}; it needs {provider.needs}. "
            f"Here: {', '.join(usable)}"
        )
    return [(provider.runtime_name, dict(provider.options)), cpu]


def fixed_provider(requested: ProviderName, runtime_name: str) -> ProviderName:
    """Return the provider that other processes are to use: of ``auto`` the one that was found here.

    Parameters
    ----------
    requested : str
        As of `requested_provider`.
    runtime_name : str
        ONNX Runtime's name of the one that runs the network.

    Examples
    --------
    >>> fixed_provider("auto", "CPUExecutionProvider"), fixed_provider("cuda", "CPUExecutionProvider")
    ('cpu', 'cuda')
    """
    if requested != "auto":
        return requested
    return next((name for name, it in PROVIDERS.items() if it.runtime_name == runtime_name), "cpu")


def provider_of(identity: "WeightsIdentity") -> dict[str, str]:
    """Return what a job's identity and a study's record hold of the execution provider; nothing of the CPU's.

    Parameters
    ----------
    identity : WeightsIdentity
        Of the weights that a session was opened with.
    """
    name = identity.execution_provider
    return {"provider": name} if name and name != CPU else {}


def adapt_session_options(options: Any, runtime_name: str) -> None:  # noqa: ANN401 - ONNX Runtime has no types
    """Set what a provider demands of a session: DirectML runs operators in order and without memory patterns.

    Parameters
    ----------
    options : onnxruntime.SessionOptions
        Changed in place.
    runtime_name : str
        ONNX Runtime's name of the first provider.

    References
    ----------
    ONNX Runtime, "DirectML Execution Provider", Configuration options.
    """
    if runtime_name == PROVIDERS["directml"].runtime_name:
        options.enable_mem_pattern = False
