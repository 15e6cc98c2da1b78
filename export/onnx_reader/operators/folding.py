"""Constants computed from constants: reductions, functions of one number, tiling, quantization, products.

What an exporter leaves of weight normalization, spectral normalization or quantized weights. It is a table of NumPy
functions and not an engine run on a piece of the graph: the file may be hostile, every result is charged to the budget
before it is allocated, and what the table does not hold is refused by name. Results have the dtype that ONNX gives
them; sums are taken in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.activations import activation_of
from export.onnx_reader.operators.constants import ELEMENTWISE, constant_of_shape, fold_elementwise, product, range_
from export.onnx_reader.operators.shapes import listed, resolved_axis, whole_numbers
from export.onnx_reader.protobuf import element_type
from export.onnx_reader.values import Const, Handler, Value, optional

_REDUCTIONS: dict[str, Callable[[Array, tuple[int, ...], bool], Array]] = {
    "ReduceSum": lambda x, axes, keep: x.sum(axis=axes, keepdims=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axis=axes, keepdims=keep),
    "ReduceMax": lambda x, axes, keep: x.max(axis=axes, keepdims=keep),
    "ReduceMin": lambda x, axes, keep: x.min(axis=axes, keepdims=keep),
    "ReduceProd": lambda x, axes, keep: x.prod(axis=axes, keepdims=keep),
    "ReduceL1": lambda x, axes, keep: np.abs(x).sum(axis=axes, keepdims=keep),
    "ReduceL2": lambda x, axes, keep: np.sqrt(np.square(x).sum(axis=axes, keepdims=keep)),
    "ReduceSumSquare": lambda x, axes, keep: np.square(x).sum(axis=axes, keepdims=keep),
    "ReduceLogSum": lambda x, axes, keep: np.log(x.sum(axis=axes, keepdims=keep)),
    "ReduceLogSumExp": lambda x, axes, keep: np.log(np.exp(x).sum(axis=axes, keepdims=keep)),
}
_UNARY: dict[str, Callable[[Array], Array]] = {
    **{name: getattr(np, name.lower()) for name in ("Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh")},
    "Asin": np.arcsin,
    "Acos": np.arccos,
    "Atan": np.arctan,
    "Round": np.rint,
}
_FUNCTIONS = ("Relu", "LeakyRelu", "Elu", "Sigmoid", "Softplus", "Softsign", "HardSigmoid", "Erf")  # that NumPy lacks


def first_constant(inputs: list[Value]) -> Const:
    """The constant that an operator works on. Raises Unsupported for texts."""
    value = inputs[0]
    if not isinstance(value, Const) or value.array.dtype == object:
        raise Unsupported("its input holds texts, expected numbers")
    return value


def _of_numbers(function: Callable[[Node, Array, list[Value]], Any]) -> Handler:
    """A fold whose result has the dtype of its first input, which `function` gets in float64 where it is real."""

    def fold(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
        array = first_constant(inputs).array
        budget.charge(array.size)
        result = function(node, array.astype(np.float64) if array.dtype.kind == "f" else array, inputs)
        return [Const(np.asarray(result).astype(array.dtype))]

    return fold


@_of_numbers
def reduction(node: Node, array: Array, inputs: list[Value]) -> Any:
    """Sums, means, norms and extremes along axes, all where none are named."""
    axes = listed(node, inputs, 1, "axes")
    if not axes and node.attribute("noop_with_empty_axes", int, 0):
        return array
    along = tuple(resolved_axis(axis, array.ndim) for axis in axes or range(array.ndim))
    return _REDUCTIONS[node.operator](array, along, bool(node.attribute("keepdims", int, 1)))


@_of_numbers
def unary(node: Node, array: Array, inputs: list[Value]) -> Any:
    """A function of each number."""
    return _UNARY[node.operator](array)


@_of_numbers
def activation(node: Node, array: Array, inputs: list[Value]) -> Any:
    """An activation of a constant, as of weights that are kept positive by Softplus."""
    if array.dtype.kind != "f":
        raise Unsupported(f"it is applied to {array.dtype}, expected float numbers")
    return activation_of(node, node.operator)(array)


@_of_numbers
def clip(node: Node, array: Array, inputs: list[Value]) -> Any:
    """Limits as attributes (before opset 11) or inputs."""
    for position, name, limit in ((1, "min", np.maximum), (2, "max", np.minimum)):
        given = optional(inputs, position)
        number = given.array if isinstance(given, Const) else node.attribute(name, float, None)
        if number is not None:
            array = limit(array, np.asarray(number).astype(array.dtype))
    return array


@_of_numbers
def softmax(node: Node, array: Array, inputs: list[Value]) -> Any:
    """Along one axis, or before opset 13 along all from that axis on."""
    axis = resolved_axis(node.attribute("axis", int, -1 if node.opset >= 13 else 1), array.ndim)
    along = (axis,) if node.opset >= 13 else tuple(range(axis, array.ndim))
    powers = np.exp(array - array.max(axis=along, keepdims=True))
    shares = powers / powers.sum(axis=along, keepdims=True)
    return np.log(shares) if node.operator == "LogSoftmax" else shares


def tile(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The array side by side with itself."""
    value, repeats = first_constant(inputs), whole_numbers(inputs[1], "repeats")
    if len(repeats) != value.array.ndim or any(not 0 <= count < 1 << 31 for count in repeats):
        raise Unsupported(f"its repeats {repeats[:16]} do not fit a tensor of {value.array.ndim} axes")
    budget.charge(value.array.size * math.prod(repeats), value.array.dtype.itemsize)
    return [Const(np.tile(value.array, repeats))]


def quantize_linear(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """x / scale, rounded half to even, plus the zero point, saturated; one scale, or one for each place of an axis."""
    value, scale = first_constant(inputs), inputs[1]
    zero = optional(inputs, 2)
    if not isinstance(scale, Const) or node.attribute("block_size", int, 0):
        raise Unsupported("its scale is not one constant for the tensor or one for each channel, as expected")
    zeros = zero.array if isinstance(zero, Const) else np.zeros(1, stored_type(node) or np.uint8)
    if zeros.dtype.kind not in "iu":
        raise Unsupported(f"it quantizes to {zeros.dtype}, expected integers")
    budget.charge(value.array.size * 2)
    rank, axis = value.array.ndim, node.attribute("axis", int, 1)
    steps = np.rint(value.array.astype(np.float32) / along(scale.array.astype(np.float32), axis, rank))
    limits = np.iinfo(zeros.dtype)
    codes = np.clip(steps.astype(np.float64) + along(zeros.astype(np.float64), axis, rank), limits.min, limits.max)
    return [Const(np.nan_to_num(codes, nan=0.0).astype(zeros.dtype))]


def stored_type(node: Node) -> str | None:
    """The NumPy name of the dtype that QuantizeLinear names for where it has no zero point; None where it does not."""
    code = node.attribute("output_dtype", int, 0)
    return element_type(code).name if code else None


def along(array: Array, axis: int, rank: int) -> Array:
    """One number for all places, or one for each along an axis, with as many axes as the tensor."""
    if array.size == 1:
        return array.reshape([1] * rank)
    if not -rank <= axis < rank or array.ndim != 1:
        raise Unsupported(f"its scales or zero points of shape {array.shape} do not fit axis {axis}")
    shape = [1] * rank
    shape[axis] = array.size
    return array.reshape(shape)


def matmul(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """A product of two constants."""
    return [Const(product(first_constant(inputs).array, first_constant(inputs[1:]).array, budget))]


def gemm(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """alpha * A' @ B' + beta * C of constants."""
    first, second = first_constant(inputs).array, first_constant(inputs[1:]).array
    a = first.T if node.attribute("transA", int, 0) else first
    b = second.T if node.attribute("transB", int, 0) else second
    result: Array = product(a, b, budget) * np.float32(node.attribute("alpha", float, 1.0))
    bias = optional(inputs, 2)
    if isinstance(bias, Const):
        result = result + bias.array * np.float32(node.attribute("beta", float, 1.0))
    return [Const(np.asarray(result).astype(first.dtype))]


def modulo(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The rest of a division: with the sign of the divisor, or with fmod that of what is divided."""
    first, second = first_constant(inputs), first_constant(inputs[1:])
    budget.charge(math.prod(np.broadcast_shapes(first.array.shape, second.array.shape)))
    if (second.array == 0).any():
        raise Unsupported("it divides by zero")
    rest = (np.fmod if node.attribute("fmod", int, 0) else np.mod)(first.array, second.array)
    return [Const(np.asarray(rest))]


def size(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The number of elements."""
    return [Const(np.array(first_constant(inputs).array.size, np.int64))]


HANDLERS: tuple[dict[str, Handler], ...] = (
    dict.fromkeys(ELEMENTWISE, fold_elementwise),
    dict.fromkeys(_REDUCTIONS, reduction),
    dict.fromkeys(_UNARY, unary),
    dict.fromkeys(_FUNCTIONS, activation),
    dict.fromkeys(("Softmax", "LogSoftmax"), softmax),
    {
        "Clip": clip,
        "ConstantOfShape": constant_of_shape,
        "Gemm": gemm,
        "MatMul": matmul,
        "Mod": modulo,
        "QuantizeLinear": quantize_linear,
        "Range": range_,
        "Size": size,
        "Tile": tile,
    },
)
