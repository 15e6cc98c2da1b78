"""Constants: the Constant node in all its forms, and what can be computed from constants alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import Budget, Node, OfNoise, Unsupported
from export.onnx_reader.steps import Affine
from export.onnx_reader.values import ANY_ROWS, Const, Flow, Handler, Noise, Origin, Value

# NumPy's functions for operators that work place by place, on constants and, in float64, on functions of one number
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": lambda *values: reduce(np.maximum, values),
    "Min": lambda *values: reduce(np.minimum, values),
    "Sum": lambda *values: reduce(np.add, values),
    "Mean": lambda *values: reduce(np.add, values) / len(values),
    "Neg": np.negative,
    "Abs": np.abs,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Sign": np.sign,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Equal": np.equal,
    "Not": np.logical_not,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Where": np.where,
}

RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def settled(value: Value) -> Value:
    """A constant in place of a flow that is the same for every row, being something times 0; else the value itself."""
    if not isinstance(value, Flow) or value.batch != 0:
        return value
    step = value.chain.step
    if not isinstance(step, Affine) or step.scale.any():
        return value
    return Const(np.broadcast_to(step.shift, (value.chain.width,))[value.order].astype(np.float32))


def noise(node: Node, inputs: list[Value]) -> Value:
    """Random numbers, or what constants make of them. Raises Unsupported where they go into the input's values."""
    zeros = [value for value in map(settled, inputs) if isinstance(value, Const) and not value.array.any()]
    if node.operator == "Mul" and zeros:
        return Const(zeros[0].array, origin=zeros[0].origin)
    if node.operator not in RANDOM and not all(value is None or isinstance(value, Const | Noise) for value in inputs):
        raise OfNoise("it adds random numbers, which no artifact gives; expected an output without, such as a mean")
    return Noise()


def elementwise_function(node: Node, operands: int) -> Callable[..., Any]:
    """NumPy's function for a node of `ELEMENTWISE`. Raises Unsupported for another number of operands than it takes.

    NumPy would take one more for the array to write its results into.
    """
    function = ELEMENTWISE[node.operator]
    expected = 3 if function is np.where else getattr(function, "nin", operands)  # of one, `where` gives the places
    if operands != expected:
        raise Unsupported(f"it has {operands} inputs, expected {expected}")
    return function


def constant_node(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """The value of a Constant node, its tensors read already. Raises Unsupported."""
    given = {key: value for key, value in node.attributes.items() if value is not None}
    if len(given) != 1:
        raise Unsupported(f"it has the attributes {sorted(given)}, expected one value")
    key, value = next(iter(given.items()))
    if key == "value" and isinstance(value, np.ndarray):
        return [Const(value)]
    kinds = {"float": np.float32, "int": np.int64, "string": object}
    kind = kinds.get(key.removeprefix("value_").removesuffix("s"))
    if kind is None:
        raise Unsupported(f"its attribute '{key}' is not a tensor, a number or a list")
    return [Const(np.array(value, kind))]


def fold_elementwise(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """An elementwise operator on constants, in their own dtype, with ONNX's rules for integers."""
    arrays = [value.array for value in inputs if isinstance(value, Const)]
    if any(array.dtype == object for array in arrays) or not arrays:
        raise Unsupported("its inputs are texts")
    count = math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    budget.charge(count)
    if node.operator == "Div" and arrays[0].dtype.kind in "iu":
        if (arrays[1] == 0).any():
            raise Unsupported("it divides by zero")
        first, second = arrays
        result = first // second  # rounds down; ONNX rounds to zero
        result = result + ((result * second != first) & ((first < 0) != (second < 0)))
    else:
        result = elementwise_function(node, len(arrays))(*arrays)
    if result.dtype.kind != "b":
        result = result.astype(arrays[-1].dtype if node.operator == "Where" else arrays[0].dtype)
    return [Const(np.asarray(result))]


def product(first: Array, second: Array, budget: Budget) -> Array:
    """A product of constants."""
    inner = first.shape[-1] if first.ndim else 0
    count = first.size // max(1, inner) * (second.size // max(1, inner))
    budget.charge(count)
    budget.charge_products(count * inner)
    return np.asarray(np.matmul(first, second))


def constant_of_shape(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """One value, repeated."""
    shape = inputs[0].array.ravel().tolist() if isinstance(inputs[0], Const) else []
    filled = node.attribute("value", np.ndarray, np.zeros(1, np.float32))
    if filled.size != 1 or any(not isinstance(size, int) or not 0 <= size < 1 << 31 for size in shape):
        raise Unsupported(f"its shape {shape[:16]} is not possible")
    shape, origin = once_for_all_rows(inputs[0], shape)
    budget.charge(math.prod(shape))
    return [Const(np.full(shape, filled.ravel()[0]), origin=origin)]


def once_for_all_rows(given: Value, shape: list[int]) -> tuple[list[int], Origin]:
    """A shape whose first axis is a batch of any size with one row in its place, and the origin of what has that shape.

    given: the constant that the shape is. Raises Unsupported where the number of rows is elsewhere in it.
    """
    origin = given.origin if isinstance(given, Const) else Origin.FILE
    if origin is not Origin.SIZES:
        return shape, origin
    if any(size >= ANY_ROWS for size in shape[1:]) or shape[0] > ANY_ROWS:
        raise Unsupported("its shape has the number of rows in it, expected that as its first axis alone")
    return [1, *shape[1:]], Origin.PER_ROW


def range_(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Numbers from, to, by."""
    start, limit, delta = (value.array.ravel()[0] for value in inputs if isinstance(value, Const))
    if delta == 0:
        raise Unsupported("its step is zero")
    budget.charge(max(0, math.ceil((float(limit) - float(start)) / float(delta))))
    return [Const(np.arange(start, limit, delta))]


HANDLERS: dict[str, Handler] = {"Constant": constant_node}
