"""ONNX Runtime, imported with its telemetry switched off, and the sessions that run networks.

From version 1.29 on, ONNX Runtime writes an identifier of the device and a store of events into the user's cache when
it is imported, and knows an address to send them to. Its variable is set before the import, whatever the environment
says. A program that imports onnxruntime before cspine has to set ``ORT_DISABLE_TELEMETRY=1`` itself; from here on no
event is recorded all the same.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

TELEMETRY_VARIABLE: Final = "ORT_DISABLE_TELEMETRY"
os.environ[TELEMETRY_VARIABLE] = "1"

import onnxruntime  # noqa: E402 - after its variable

from cspine.core.errors import OUT_OF_MEMORY, OutOfMemoryError, WeightsError, is_memory_error  # noqa: E402
from cspine.core.processors import inference_threads  # noqa: E402

_LOG_ERRORS_ONLY: Final = 4
"""ONNX Runtime's log level of fatal errors; others are raised as exceptions."""

if hasattr(onnxruntime, "disable_telemetry_events"):
    onnxruntime.disable_telemetry_events()


class Session:
    """A network that is ready to run on the processors.

    Parameters
    ----------
    data : bytes
        An ONNX file.
    name : str
        Its name, for messages.
    threads : int
        Threads of an operator; as many as this process may use where 0.

    Raises
    ------
    WeightsError
        It is no ONNX file that can be run.
    OutOfMemoryError
        There is too little memory.
    """

    def __init__(self, data: bytes, name: str, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or inference_threads()
        options.enable_cpu_mem_arena = False  # it keeps 0.3 to 0.6 GB after the first study, for 10 % of speed
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may want the processor
        options.log_severity_level = _LOG_ERRORS_ONLY
        self._name = name
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
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
