"""An ONNX graph that runs a part of a network over an axis, slice by slice, by the operator Scan.

All slices at once take as many times the memory, and no less time: a convolution keeps two cores busy with the planes
of a single slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import helper


@dataclass(frozen=True)
class ScannedPart:
    """A part of a network, and the values of the whole network that its inputs and outputs are slices of.

    Attributes
    ----------
    model : ModelProto
        The part, for one slice.
    inputs, outputs : sequence of str
        Names of the whole values, in the order of the model's inputs and outputs.
    axis : int
        The axis of all of them that is sliced; `model` gets and returns values without it.
    """

    model: onnx.ModelProto
    inputs: Sequence[str]
    outputs: Sequence[str]
    axis: int


def scan_model(
    name: str,
    inputs: Sequence[onnx.ValueInfoProto],
    *,
    before: onnx.ModelProto,
    scanned: ScannedPart,
    after: onnx.ModelProto,
) -> onnx.ModelProto:
    """Return a network of three parts: one that is run before, one that is run slice by slice, and one after it.

    Parameters
    ----------
    name : str
        Name of the graph.
    inputs : sequence of ValueInfoProto
        Inputs of the network, by whose names the parts take them.
    before, after : ModelProto
        Parts of the network; what `after` takes beside `inputs` are outputs of the other two.
    scanned : ScannedPart
        What is run slice by slice.

    Returns
    -------
    ModelProto
        With the outputs of `after`, and the parameters of all parts under their own names.

    Raises
    ------
    ValueError
        The parts have functions, other versions of operators, or parameters of the same names.
    """
    part, models = scanned.model.graph, (before, scanned.model, after)
    parameters = [tensor for model in models for tensor in model.graph.initializer]
    versions = {str(model.opset_import) for model in models}
    names = {tensor.name for tensor in parameters}
    if any(model.functions for model in models) or len(versions) > 1 or len(names) < len(parameters):
        raise ValueError(f"{name}: the parts of the graph cannot be joined")
    for prefix, model in (("before/", before), ("scan/", scanned.model), ("after/", after)):
        _prefix_values(model.graph, prefix)
    scan = helper.make_node(
        "Scan",
        scanned.inputs,
        scanned.outputs,
        num_scan_inputs=len(scanned.inputs),
        scan_input_axes=[scanned.axis] * len(scanned.inputs),
        scan_output_axes=[scanned.axis] * len(scanned.outputs),
        # Its parameters are those of the graph around it, where ONNX Runtime merges batch norms as in any other.
        body=helper.make_graph(list(part.node), f"{name}, one of axis {scanned.axis}", part.input, part.output),
    )
    nodes = [*before.graph.node, scan, *after.graph.node]
    graph = helper.make_graph(nodes, name, inputs, after.graph.output, parameters)
    return helper.make_model(graph, opset_imports=after.opset_import, ir_version=after.ir_version)


def _prefix_values(graph: onnx.GraphProto, prefix: str) -> None:
    """Rename nodes and the values between them; inputs, outputs and parameters keep their names."""
    outputs = {value.name for value in graph.output}
    inner = {name for node in graph.node for name in node.output} - outputs
    for node in graph.node:
        node.name = prefix + node.name
        for names in (node.input, node.output):
            names[:] = [prefix + value if value in inner else value for value in names]
