"""Export of a trained network to an ONNX file that carries its metadata."""

import copy
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnxscript.optimizer import remove_unused_nodes
from torch import nn

from cspine.core.errors import WeightsError
from cspine.core.files import write_bytes
from cspine.core.logging import quiet_logger
from cspine.models.metadata import METADATA_KEY, ModelMetadata
from cspine.models.weights import load_weights

StateDict = dict[str, torch.Tensor]
"""Parameters and buffers of a network by name."""

_HALF_SUFFIX: Final = ".half"
"""Suffix of the names of tensors that are stored in half precision."""

_TENSOR_TYPES: Final = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)

_MIN_HALF_SIZE: Final = 1024
"""Tensors with at least this many elements are stored in half precision."""

_CONSTANT_OPERATORS: Final = ("Expand", "ConstantOfShape")
"""Operators that repeat one number; one that is not zero would fail `_check_outputs`."""

_TOLERANCE: Final = 1e-3
"""Largest accepted difference of an output from that of the network with the same rounded weights."""


@dataclass(frozen=True)
class Graph:
    """A network with the names and shapes of its inputs and outputs.

    Attributes
    ----------
    network : Module
        The network, its final sigmoid or softmax included.
    example : tuple of Tensor
        One valid input each.
    inputs, outputs : tuple of str
        Names in the ONNX file.
    dynamic_shapes : tuple of dict
        For each input, the axes of variable length, as ``torch.export.export`` takes them.
    assemble : callable, optional
        Returns the ONNX graph, assembled from parts; where omitted the network is translated as a whole.
    """

    network: nn.Module
    example: tuple[torch.Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic_shapes: tuple[dict[int, Any], ...]
    assemble: Callable[[], onnx.ModelProto] | None = None


def export_onnx(graph: Graph, metadata: ModelMetadata, path: Path) -> None:
    """Write a network as ONNX, and check that ONNX Runtime computes the same outputs.

    Large tensors are stored in half precision and cast to single precision when loaded, which halves the file.

    Parameters
    ----------
    graph : Graph
        The network and its inputs.
    metadata : ModelMetadata
        Stored inside the file.
    path : Path
        The file to write, atomically.

    Raises
    ------
    WeightsError
        ONNX Runtime's outputs differ from the network's.
    DiskFullError, OutputError
        `path` cannot be written.
    """
    graph.network.eval().cpu()
    model = graph.assemble() if graph.assemble else translate(graph)
    _store_half_precision(model)
    model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA_KEY, value=metadata.model_dump_json()))
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString(deterministic=True))
    _check_outputs(graph, metadata, path)


def translate(graph: Graph) -> onnx.ModelProto:
    """Return a network, or a part of one, as an ONNX graph.

    Parameters
    ----------
    graph : Graph
        The network and its inputs.

    Raises
    ------
    WeightsError
        The exporter returned none.
    """
    with quiet_logger("torch.onnx", logging.ERROR), warnings.catch_warnings():  # it warns of a missing torchvision
        warnings.simplefilter("ignore")  # the exporter's advice to itself
        program = torch.onnx.export(
            graph.network.eval().cpu(),
            graph.example,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=graph.dynamic_shapes,
            dynamo=True,
            verbose=False,
            optimize=False,  # ONNX Runtime does; parameters keep their names, and training can be initialized from them
        )
    if program is None:
        raise WeightsError("the exporter returned no network; install the torch version that cspine requires")
    model: onnx.ModelProto = program.model_proto
    _remove_zero_biases(model)
    _remove_source_notes(model)
    return model


def read_parameters(data: bytes, prefix: str) -> StateDict:
    """Return the tensors of an exported network in single precision.

    Parameters
    ----------
    data : bytes
        An ONNX file written by `export_onnx`.
    prefix : str
        Of tensors whose names begin with it, under the rest of the name.
    """
    parameters = {}
    for tensor in onnx.load_model_from_string(data).graph.initializer:
        is_stored = tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.data_type in _TENSOR_TYPES
        if is_stored and tensor.name.startswith(prefix):
            value = numpy_helper.to_array(tensor).astype(np.float32)
            parameters[tensor.name.removeprefix(prefix).removesuffix(_HALF_SUFFIX)] = torch.from_numpy(value)
    return parameters


def _remove_zero_biases(model: onnx.ModelProto) -> None:
    """Remove the zeros that the exporter computes where a convolution has no bias.

    ONNX Runtime fuses a batch norm into the preceding convolution only if that has no bias or a stored one; the fused
    level network takes half the time.
    """
    constants = {name for node in model.graph.node if node.op_type in _CONSTANT_OPERATORS for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in constants:
            del node.input[2]
    remove_unused_nodes(model)


def _store_half_precision(model: onnx.ModelProto) -> None:
    """Replace large float32 tensors by float16 ones and a cast back."""
    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or int(np.prod(tensor.dims)) < _MIN_HALF_SIZE:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + _HALF_SUFFIX)
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(half)
        casts.append(helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def _remove_source_notes(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes, which name source files of the machine that trained."""
    model.doc_string = ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        value.doc_string = ""
        del value.metadata_props[:]


def _check_outputs(graph: Graph, metadata: ModelMetadata, path: Path) -> None:
    with torch.no_grad():
        expected = _half_precision_network(graph.network)(*graph.example)
    expected = expected if isinstance(expected, tuple) else (expected,)
    inputs = {name: value.numpy() for name, value in zip(graph.inputs, graph.example, strict=True)}
    outputs = load_weights(type(metadata), path, provider="cpu").session.run(list(graph.outputs), inputs)
    with np.errstate(invalid="ignore"):  # weights beyond half precision are infinite
        difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(outputs, expected, strict=True))
    if not difference <= _TOLERANCE:  # also if it is not a number
        path.unlink()
        raise WeightsError(f"{path}: the exported network's outputs differ by {difference:.4f}; the file was deleted")


def _half_precision_network(network: nn.Module) -> nn.Module:
    """Return a copy of a network whose large tensors are rounded to half precision, as the stored ones."""
    rounded = copy.deepcopy(network)
    for tensor in (*rounded.parameters(), *rounded.buffers()):
        if tensor.dtype == torch.float32 and tensor.numel() >= _MIN_HALF_SIZE:
            tensor.copy_(tensor.half())
    return rounded
