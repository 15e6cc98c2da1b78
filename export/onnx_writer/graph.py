"""A graph under construction, and the few nodes that every form of it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.numerics import FEWEST_BITS, QMIN, Activation, QuantParams

INT4_OPSET = 21  # the first with tensors of 4-bit integers


class Graph:
    """Nodes and initializers, in the order in which they are added. Tensors are referred to by name."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
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

    def int4(self, name: str, array: NDArray[np.int8]) -> str:
        """Add an initializer of 4-bit integers, array in -8..7; its name. From `INT4_OPSET` on."""
        codes = np.zeros(array.size + array.size % 2, np.uint8)  # ONNX packs neighbours in memory, the first one low
        codes[: array.size] = array.reshape(-1).view(np.uint8) & 0x0F
        packed = (codes[0::2] | codes[1::2] << 4).tobytes()
        self.initializers[name] = onnx.TensorProto(
            name=name, data_type=onnx.TensorProto.INT4, dims=array.shape, raw_data=packed
        )
        return name

    def grid(self, name: str, grid: QuantParams) -> list[str]:
        """Add the scale and the zero point of a grid; their names."""
        scale = self.constant(f"{name}_scale", np.float32(grid.scale))
        return [scale, self.constant(f"{name}_zero_point", np.uint8(grid.zero_point))]

    def quantize(self, value: str, grid: QuantParams, output: str) -> str:
        """QuantizeLinear onto a uint8 grid; of more bits, uint16, its arithmetic, which QuantizeLinear has from 21 on.

        NaN is not above the lowest value, and so becomes that: Clip leaves it to the engine.
        """
        if grid.bits == FEWEST_BITS:
            return self.node("QuantizeLinear", [value, *self.grid(output, grid)], output)
        low, high = (
            self.scalar(output, name, end - grid.zero_point) for name, end in (("low", QMIN), ("high", grid.top))
        )
        steps = self.node("Div", [value, self.scalar(output, "scale", grid.scale)], f"{output}.steps")
        is_above = self.node("GreaterOrEqual", [steps, low], f"{output}.is_above")
        clipped = self.node("Where", [is_above, steps, low], f"{output}.at_least")
        clipped = self.node("Min", [clipped, high], f"{output}.clipped")
        rounded = self.node("Round", [clipped], f"{output}.rounded")
        codes = self.node(
            "Add", [rounded, self.scalar(output, "zero_point", grid.zero_point)], f"{output}.codes_float32"
        )
        return self.node("Cast", [codes], output, to=TensorProto.UINT16)

    def activation(self, activation: Activation, value: str, output: str) -> str:
        """A float32 activation; Identity for linear, so that `output` exists."""
        name, attributes = activation.name, dict(activation.params)
        if name in _COMPOSED:
            return _COMPOSED[name](self, value, output, **attributes)
        axis = {"axis": -1} if activation.definition.is_over_row else {}
        return self.node(activation.definition.onnx or _OTHERS[name], [value], output, **attributes, **axis)

    def mean(self, value: str, output: str) -> str:
        """ReduceMean over the last axis, which is kept; from opset 18 on the axes are an input."""
        if self.opset < 18:
            return self.node("ReduceMean", [value], output, axes=[-1], keepdims=1)
        return self.node("ReduceMean", [value, self.constant(f"{output}_axes", np.array([-1]))], output, keepdims=1)

    def scalar(self, output: str, name: str, value: float) -> str:
        """A float32 constant that belongs to the tensor `output`; its name."""
        return self.constant(f"{output}.{name}", np.float32(value))


def _clip(graph: Graph, value: str, output: str, *, min: float, max: float) -> str:
    return graph.node("Clip", [value, graph.scalar(output, "min", min), graph.scalar(output, "max", max)], output)


def _gelu(graph: Graph, value: str, output: str) -> str:
    """x * (1 + erf(x / sqrt(2))) / 2."""
    inside = graph.node("Div", [value, graph.scalar(output, "sqrt2", np.sqrt(2))], f"{output}.inside")
    return _half_of_product(graph, value, graph.node("Erf", [inside], f"{output}.erf"), output)


def _gelu_tanh(graph: Graph, value: str, output: str) -> str:
    """x * (1 + tanh(sqrt(2 / pi) * x * (1 + 0.044715 * x^2))) / 2."""
    square = graph.node("Mul", [value, value], f"{output}.square")
    cubic = graph.node("Mul", [square, graph.scalar(output, "cubic", 0.044715)], f"{output}.cubic_term")
    factor = graph.node("Add", [cubic, graph.scalar(output, "unit", 1)], f"{output}.factor")
    inside = graph.node("Mul", [factor, value], f"{output}.inside")
    scaled = graph.node("Mul", [inside, graph.scalar(output, "slope", np.sqrt(2 / np.pi))], f"{output}.scaled")
    return _half_of_product(graph, value, graph.node("Tanh", [scaled], f"{output}.tanh"), output)


def _half_of_product(graph: Graph, value: str, gate: str, output: str) -> str:
    """value * (1 + gate) / 2."""
    above = graph.node("Add", [gate, graph.scalar(output, "one", 1)], f"{output}.gate")
    product = graph.node("Mul", [value, above], f"{output}.product")
    return graph.node("Mul", [product, graph.scalar(output, "half", 0.5)], output)


def _swish(graph: Graph, value: str, output: str, *, alpha: float) -> str:
    inside = value
    if alpha != 1.0:
        inside = graph.node("Mul", [value, graph.scalar(output, "alpha", alpha)], f"{output}.inside")
    return graph.node("Mul", [value, graph.node("Sigmoid", [inside], f"{output}.gate")], output)


def _mish(graph: Graph, value: str, output: str) -> str:
    softplus = graph.node("Softplus", [value], f"{output}.softplus")
    return graph.node("Mul", [value, graph.node("Tanh", [softplus], f"{output}.gate")], output)


def _hard_swish(graph: Graph, value: str, output: str) -> str:
    return graph.node(
        "Mul", [value, graph.node("HardSigmoid", [value], f"{output}.gate", alpha=1 / 6, beta=0.5)], output
    )


def _threshold(graph: Graph, x: str, output: str, *, threshold: float, value: float) -> str:
    is_below = graph.node("LessOrEqual", [x, graph.scalar(output, "threshold", threshold)], f"{output}.is_below")
    return graph.node("Where", [is_below, graph.scalar(output, "value", value), x], output)


def _log_sigmoid(graph: Graph, value: str, output: str) -> str:
    """-softplus(-x): the logarithm of Sigmoid would be -inf below -17."""
    minus = graph.node("Neg", [value], f"{output}.minus")
    return graph.node("Neg", [graph.node("Softplus", [minus], f"{output}.softplus")], output)


def _square(graph: Graph, value: str, output: str) -> str:
    return graph.node("Mul", [value, value], output)


# Those whose operator opset 13 has not, or whose operator has no attributes of these names.
_COMPOSED: dict[str, Callable[..., str]] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "swish": _swish,
    "mish": _mish,
    "hard_swish": _hard_swish,
    "clip": _clip,
    "threshold": _threshold,
    "log_sigmoid": _log_sigmoid,
    "square": _square,
}
_OTHERS = {"linear": "Identity", "softmax": "Softmax", "log_softmax": "LogSoftmax"}
