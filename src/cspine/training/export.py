"""A trained network to an ONNX file that carries its own card."""

import logging
import warnings
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
from cspine.models.metadata import METADATA_KEY, ModelMetadata
from cspine.models.weights import load_weights

HALF: Final = ".half"
"""Ends the name of a tensor that is stored in half precision."""

_HALF_FROM: Final = 1024
"""Tensors with at least this many numbers are stored in half precision."""

_FILLS: Final = ("Expand", "ConstantOfShape")
"""What repeats one number; `_check_same` would see one that is not zero."""

_TOLERANCE: Final = 5e-3
"""How far an output may move by storing weights in half precision."""


@dataclass(frozen=True)
class Graph:
    """How a network's ONNX file is to look.

    Attributes
    ----------
    network : Module
        With its last sigmoid or softmax.
    example : tuple of Tensor
        Inputs of a size that it takes.
    inputs, outputs : tuple of str
        Names.
    vary : tuple
        Of each input, the sides that may vary, as ``torch.export`` takes them.
    """

    network: nn.Module
    example: tuple[torch.Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    vary: tuple[dict[int, Any], ...]


def export_onnx(graph: Graph, metadata: ModelMetadata, path: Path) -> None:
    """Write a network as ONNX, and check that it computes the same.

    Large tensors are stored in half precision and computed with in single precision, which halves the file.

    Parameters
    ----------
    graph : Graph
        The network and its inputs.
    metadata : Card
        Kept inside the file.
    path : Path
        Where to write, atomically.

    Raises
    ------
    WeightsError
        ONNX Runtime computes something else than the network.
    """
    network = graph.network.eval().cpu()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it would tell that torchvision is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's advice to itself
        program = torch.onnx.export(
            network,
            graph.example,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=graph.vary,
            dynamo=True,
            verbose=False,
            optimize=False,  # ONNX Runtime does; parameters keep their names, and a training can start from them
        )
    if program is None:
        raise WeightsError(f"{path}: the exporter gave no network")
    model = program.model_proto
    _drop_no_biases(model)
    _store_in_half(model)
    _forget_origin(model)
    model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA_KEY, value=metadata.model_dump_json()))
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString(deterministic=True))
    _check_same(graph, metadata, path)


def _drop_no_biases(model: onnx.ModelProto) -> None:
    """Take away the zeros that the exporter computes where a convolution has no bias.

    ONNX Runtime merges a batch norm into the convolution before it only where that has no bias, or a stored one;
    merged, the level network takes half the time.
    """
    filled = {name for node in model.graph.node if node.op_type in _FILLS for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in filled:
            del node.input[2]
    remove_unused_nodes(model)


def _store_in_half(model: onnx.ModelProto) -> None:
    """Replace large float32 tensors by float16 ones and a cast back."""
    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or int(np.prod(tensor.dims)) < _HALF_FROM:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + HALF)
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(half)
        casts.append(helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes, which name source files of the machine that trained."""
    model.doc_string = ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        value.doc_string = ""
        del value.metadata_props[:]


def _check_same(graph: Graph, metadata: ModelMetadata, path: Path) -> None:
    with torch.no_grad():
        expected = graph.network(*graph.example)
    expected = expected if isinstance(expected, tuple) else (expected,)
    given = {name: value.numpy() for name, value in zip(graph.inputs, graph.example, strict=True)}
    found = load_weights(type(metadata), path).session.run(list(graph.outputs), given)
    difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True))
    if difference > _TOLERANCE:
        path.unlink()
        raise WeightsError(f"{path}: the exported network's outputs are off by {difference:.4f}; not kept")
