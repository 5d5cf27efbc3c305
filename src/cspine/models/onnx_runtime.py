"""ONNX Runtime, imported with its telemetry switched off, and the sessions that run networks.

From version 1.29 on, ONNX Runtime writes an identifier of the device and a store of events into the user's cache when
it is imported, and knows an address to send them to. Its variable is set before the import, whatever the environment
says. A program that imports onnxruntime before cspine has to set ``ORT_DISABLE_TELEMETRY=1`` itself; from here on no
event is recorded all the same.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

TELEMETRY_VARIABLE: Final = "ORT_DISABLE_TELEMETRY"
os.environ[TELEMETRY_VARIABLE] = "1"

import onnxruntime  # noqa: E402 - after its variable

from cspine.core.errors import OUT_OF_MEMORY, OutOfMemoryError, WeightsError, is_memory_error  # noqa: E402
from cspine.core.processors import inference_threads  # noqa: E402
from cspine.models.providers import (  # noqa: E402
    CPU,
    PROVIDERS,
    ProviderName,
    adapt_session_options,
    choose_providers,
    requested_provider,
)

_LOG_ERRORS_ONLY: Final = 4
"""ONNX Runtime's log level of fatal errors; others are raised as exceptions."""

if hasattr(onnxruntime, "disable_telemetry_events"):
    onnxruntime.disable_telemetry_events()


class Session:
    """A network that is ready to run on the processors, or on a GPU.

    Parameters
    ----------
    data : bytes
        An ONNX file.
    name : str
        Its name, for messages.
    threads : int
        Threads of an operator; as many as this process may use where 0.
    provider : str, optional
        The execution provider, as of `cspine.models.providers.requested_provider`.

    Raises
    ------
    InputError
        The installed ONNX Runtime has no such execution provider.
    WeightsError
        It is no ONNX file that can be run.
    OutOfMemoryError
        There is too little memory.
    """

    def __init__(self, data: bytes, name: str, threads: int = 0, provider: ProviderName | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or inference_threads()
        options.enable_cpu_mem_arena = False  # it keeps 0.3 to 0.6 GB after the first study, for 10 % of speed
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may want the processor
        options.log_severity_level = _LOG_ERRORS_ONLY
        self._name = name
        self._requested = requested_provider(provider)
        providers = choose_providers(self._requested, onnxruntime.get_available_providers())
        self._intended = providers[0][0]
        adapt_session_options(options, self._intended)
        try:
            self._session = _open_session(data, options, providers)
        except Exception as error:
            if is_memory_error(error):
                raise self._out_of_memory() from error
            raise WeightsError(
                f"{name}: is not an ONNX file that can be run; get it again or train with `cspine train`"
            ) from error

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Any]) -> list[Any]:
        """Run the network.

        Parameters
        ----------
        outputs : sequence of str or None
            Names of the outputs to return; all where None.
        inputs : mapping of str to array
            The inputs by name.

        Returns
        -------
        list of array

        Raises
        ------
        OutOfMemoryError
            There is too little memory.
        """
        try:
            values: list[Any] = self._session.run(outputs, inputs)
        except Exception as error:
            if is_memory_error(error):
                raise self._out_of_memory() from error
            raise
        return values

    @property
    def execution_provider(self) -> str:
        """ONNX Runtime's name of the execution provider that runs the network, as the session itself states it.

        Operators that a provider other than the CPU's cannot run are run on the CPU all the same.
        """
        names: list[str] = self._session.get_providers()
        return names[0] if names else CPU

    @property
    def requested_provider(self) -> ProviderName:
        """The provider that was asked for."""
        return self._requested

    @property
    def fallback_warning(self) -> tuple[str, ...]:
        """One sentence where the CPU runs the network in place of the provider that was asked for; else nothing."""
        if not self.has_fallen_back:
            return ()
        return (f"{self._intended} could not be loaded (driver or libraries are missing): the CPU ran the network",)

    @property
    def has_fallen_back(self) -> bool:
        """Whether the CPU runs the network, since the libraries of another provider could not be loaded."""
        return self._intended != self.execution_provider

    @property
    def input_shapes(self) -> dict[str, tuple[int | str | None, ...]]:
        """The shape of each input by its name; dynamic sides are names."""
        return {each.name: tuple(each.shape) for each in self._session.get_inputs()}

    @property
    def output_axes(self) -> dict[str, int]:
        """The number of axes of each output by its name."""
        return {each.name: len(each.shape) for each in self._session.get_outputs()}

    @property
    def metadata(self) -> dict[str, str]:
        """The properties that the file carries."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def _out_of_memory(self) -> OutOfMemoryError:
        return OutOfMemoryError(f"{self._name}: {OUT_OF_MEMORY}")


def _open_session(data: bytes, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """Return a session with these providers; without the first one where its libraries cannot be loaded."""
    if providers[0][0] == PROVIDERS["cuda"].runtime_name and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN as packages of PyPI, which are not on the system's search path
    if providers[0][0] == CPU:
        return onnxruntime.InferenceSession(data, options, providers=[CPU])
    with warnings.catch_warnings():  # that it falls back to the CPU; `Session.has_fallen_back` says so
        warnings.simplefilter("ignore")
        return onnxruntime.InferenceSession(data, options, providers=providers)
