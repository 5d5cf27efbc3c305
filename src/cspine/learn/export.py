"""A trained network to an ONNX file that carries its own card."""

import warnings
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from cspine.detect.weights import METADATA_KEY, WeightsCard, load_weights
from cspine.errors import WeightsError
from cspine.files import write_bytes

_HALF_FROM: Final = 1024
"""Tensors with at least this many numbers are stored in half precision."""

_TOLERANCE: Final = 5e-3
"""How far a probability may move by storing weights in half precision."""


def export_onnx(network: nn.Module, card: WeightsCard, path: Path) -> None:
    """Write a network with its sigmoid as ONNX, and check that it computes the same.

    Large tensors are stored in half precision and computed with in single precision, which halves the file.

    Parameters
    ----------
    network : nn.Module
        Images (n, 1, size, size) to logits (n, 8).
    card : WeightsCard
        Kept inside the file.
    path : Path
        Where to write, atomically.

    Raises
    ------
    WeightsError
        ONNX Runtime computes something else than the network.
    """
    network = network.eval().cpu()
    example = torch.rand(2, 1, card.image_size, card.image_size, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's advice to itself
        program = torch.onnx.export(
            nn.Sequential(network, nn.Sigmoid()),
            (example,),
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("images_count")},),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise WeightsError(f"{path}: the exporter gave no network")
    model = program.model_proto
    _store_in_half(model)
    _forget_origin(model)
    model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA_KEY, value=card.model_dump_json()))
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString(deterministic=True))
    _check_same(network, example, path)


def _store_in_half(model: onnx.ModelProto) -> None:
    """Replace large float32 tensors by float16 ones and a cast back."""
    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or int(np.prod(tensor.dims)) < _HALF_FROM:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.half")
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


def _check_same(network: nn.Module, example: torch.Tensor, path: Path) -> None:
    grey = (example * 255.0).to(torch.uint8)
    with torch.no_grad():
        expected = torch.sigmoid(network(grey.float() / 255.0)).numpy()
    found = load_weights(path).run(grey[:, 0].numpy())
    difference = float(np.abs(found - expected).max())
    if difference > _TOLERANCE:
        path.unlink()
        raise WeightsError(f"{path}: the exported network's probabilities are off by {difference:.4f}; not kept")
