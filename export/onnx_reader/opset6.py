"""A graph of opset 6 as one of opset 7, which is the oldest that onnxruntime runs.

Few operators changed between the two: arithmetic named the axis that its second operand is aligned with, and now aligns
the last axes; Gemm, Dropout and BatchNormalization lost attributes that say nothing at inference. onnx's own converter
fails where the shape of any tensor is unknown; this needs the number of axes, and of few tensors.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.onnx_reader.nodes import Unsupported, described

_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
_GONE = {
    **dict.fromkeys(_BROADCAST, ("axis", "broadcast")),
    "Gemm": ("broadcast",),
    "Dropout": ("is_test",),
    "BatchNormalization": ("is_test",),
}


def in_opset_7(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A converted copy. Raises Unsupported, naming the node, where an operand's number of axes is unknown."""
    converted = onnx.ModelProto()
    converted.CopyFrom(proto)
    for entry in converted.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = 7
    axes = _axes_of_tensors(proto)
    graph = converted.graph
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.domain in ("", "ai.onnx"):
            graph.node.extend(_moved_operand(node, axes))
            kept = [entry for entry in node.attribute if entry.name not in _GONE.get(node.op_type, ())]
            del node.attribute[:]
            node.attribute.extend(kept)
        graph.node.append(node)
    return converted


def _axes_of_tensors(proto: onnx.ModelProto) -> dict[str, int]:
    """The number of axes of each tensor, where onnx's shape inference finds it."""
    try:
        graph = onnx.shape_inference.infer_shapes(proto).graph
    except Exception:  # its own types, and whatever its C++ code throws at a graph that it does not understand
        graph = proto.graph
    values: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
    found = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    found.update((tensor.name, len(tensor.dims)) for tensor in graph.initializer)
    found.update((node.output[0], _axes_of_constant(node)) for node in graph.node if node.op_type == "Constant")
    return found


def _axes_of_constant(node: onnx.NodeProto) -> int:
    return next((len(entry.t.dims) for entry in node.attribute if entry.name == "value"), 0)


def _moved_operand(node: onnx.NodeProto, axes: dict[str, int]) -> list[onnx.NodeProto]:
    """The nodes that give a second operand the axes of size 1 that the attribute `axis` stands for."""
    named = next((entry.i for entry in node.attribute if entry.name == "axis"), None)
    if node.op_type == "PRelu":
        named = 1  # its slope belonged to the channels
    elif node.op_type not in _BROADCAST or named is None:
        return []
    first, second = node.input[:2]
    if first not in axes and node.op_type == "PRelu":
        return []
    if first not in axes or second not in axes:
        unknown = first if first not in axes else second
        name = described(node.name or node.output[0], node.op_type, node.domain, node.output)
        raise Unsupported(
            f"{name}: it aligns its operands along axis {named}, "
            f"and how many axes '{unknown}' has is unknown; give the graph shapes, or save it with opset 7"
        )
    missing = axes[first] - (named + axes[first] if named < 0 else named) - axes[second]
    if missing <= 0 or axes[second] == 0:
        return []
    name = f"{node.output[0]}.{second}"
    shape = numpy_helper.from_array(np.array([0] * axes[second] + [1] * missing, np.int64))
    node.input[1] = f"{name}.moved"
    return [
        helper.make_node("Constant", [], [f"{name}.shape"], value=shape),
        helper.make_node("Reshape", [second, f"{name}.shape"], [node.input[1]]),
    ]
