"""A graph under construction, and the few nodes that every form of it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_runtime.activations import Activation
from edge_runtime.quantization import QuantParams

_OPERATORS = {"relu": "Relu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax"}


class Graph:
    """Nodes and initializers, in the order in which they are added. Tensors are referred to by name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; the name of its one output."""
        self.add_node(operator, inputs, [output], **attributes)
        return output

    def add_node(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Add a node with any number of outputs; it is named after the first."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))

    def constant(self, name: str, array: Any) -> str:
        """Add an initializer; its name."""
        self.initializers[name] = numpy_helper.from_array(np.array(array), name)  # a copy: protobuf wants it writable
        return name

    def grid(self, name: str, grid: QuantParams) -> list[str]:
        """Add the scale and the zero point of a grid; their names."""
        scale = self.constant(f"{name}_scale", np.float32(grid.scale))
        return [scale, self.constant(f"{name}_zero_point", np.uint8(grid.zero_point))]

    def quantize(self, value: str, grid: QuantParams, output: str) -> str:
        """QuantizeLinear onto a uint8 grid."""
        return self.node("QuantizeLinear", [value, *self.grid(output, grid)], output)

    def activation(self, activation: Activation, value: str, output: str) -> str:
        """A float32 activation; Identity for linear, so that `output` exists."""
        if activation.name == "linear":
            return self.node("Identity", [value], output)
        attributes: dict[str, Any] = dict(activation.params)
        if activation.name == "softmax":
            attributes["axis"] = -1
        return self.node(_OPERATORS[activation.name], [value], output, **attributes)
